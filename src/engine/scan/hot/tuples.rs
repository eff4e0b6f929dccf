//! Each row of a row group once, where all its columns are places in small dictionaries: worked out once, and kept.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, DictionaryArray, RecordBatch, StructArray, UInt32Array};
use datafusion::arrow::compute::{cast, take};
use datafusion::arrow::datatypes::{DataType, SchemaRef, UInt16Type};
use datafusion::common::Result;

use super::cache::{ColumnKey, Values};
use super::file::{HotFile, Once};
use crate::engine::combined::{combinable, combine};

impl HotFile {
    /// The rows of a row group, each once, for a scan of several columns of text that need not give a row twice; `None` where there are
    /// other columns, or too many different rows.
    pub(super) async fn distinct_rows(&self, row_group: usize) -> Result<Option<RecordBatch>> {
        let schema = &self.columns.schema;
        let is_text = |at: usize| *schema.field(at).data_type() == DataType::Utf8View;
        let columns = self.columns.names.len();
        if self.scan.once != Some(Once::Rows) || columns < 2 || !(0..columns).all(is_text) {
            return Ok(None);
        }
        let key =
            ColumnKey { column: self.columns.names.join("\0").into(), of: Values::Distinct, ..self.key(row_group, 0) };
        if let Some(kept) = self.scan.cache.get(&key) {
            return Ok(kept.as_struct_opt().map(RecordBatch::from));
        }
        let mut codes = Vec::with_capacity(columns);
        for at in 0..columns {
            let Some(of_column) = self.codes_at(row_group, at).await? else { return Ok(None) };
            codes.push(of_column);
        }
        let Some((codes, combinations)) = combinable(&codes) else { return Ok(None) };
        let found = first_rows(&codes, combinations);
        let rows = each_once(&codes, &found, schema)?;
        self.scan.cache.insert(key, Arc::new(StructArray::from(rows.clone())));
        Ok(Some(rows))
    }
}

/// The first row of each combination of places.
fn first_rows(codes: &[&DictionaryArray<UInt16Type>], combinations: usize) -> UInt32Array {
    let mut of_rows = Vec::new();
    combine(codes, &mut of_rows);
    let mut is_met = vec![false; combinations];
    let is_new = |combination: u32| !std::mem::replace(&mut is_met[combination as usize], true);
    (0..).zip(of_rows.into_iter().map(is_new)).filter_map(|(row, is_new)| is_new.then_some(row)).collect()
}

fn each_once(codes: &[&DictionaryArray<UInt16Type>], rows: &UInt32Array, schema: &SchemaRef) -> Result<RecordBatch> {
    let texts = |(codes, field): (&&DictionaryArray<UInt16Type>, _)| -> Result<ArrayRef> {
        let field: &Arc<datafusion::arrow::datatypes::Field> = field;
        Ok(cast(&take(*codes, rows, None)?, field.data_type())?)
    };
    let columns = codes.iter().zip(schema.fields()).map(texts).collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringArray;
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::arrow::util::display::array_value_to_string;

    use super::*;

    #[test]
    fn each_row_is_there_once_with_null_as_a_value() {
        let codes = |values: &[&str], places: &[Option<u16>]| -> ArrayRef {
            let values = Arc::new(StringArray::from(values.to_vec()));
            Arc::new(DictionaryArray::<UInt16Type>::new(places.to_vec().into(), values))
        };
        let services = codes(&["a", "of no row", "b"], &[Some(0), Some(2), None, Some(0), None, Some(2)]);
        let names = codes(&["x", "y"], &[Some(0), Some(0), Some(1), Some(0), Some(1), None]);
        let columns = [services, names];
        let (codes, combinations) = combinable(&columns).expect("few combinations");
        let field = |name| Field::new(name, DataType::Utf8View, true);
        let schema = Arc::new(Schema::new(vec![field("service"), field("name")]));
        let rows = each_once(&codes, &first_rows(&codes, combinations), &schema).expect("rows");
        let shown = |row: usize| {
            let column = |at: usize| array_value_to_string(rows.column(at), row).expect("shown");
            format!("{}/{}", column(0), column(1))
        };
        assert_eq!((0..rows.num_rows()).map(shown).collect::<Vec<_>>(), ["a/x", "b/x", "/y", "b/"]);
    }

    #[test]
    fn too_many_combinations_are_not_looked_for() {
        let many: Vec<String> = (0..4_000).map(|n| n.to_string()).collect();
        let column: ArrayRef =
            Arc::new(DictionaryArray::<UInt16Type>::new(vec![0_u16].into(), Arc::new(StringArray::from(many))));
        assert!(combinable(&[column.clone(), column.clone()]).is_none());
        assert!(combinable(&[column]).is_some());
    }
}
