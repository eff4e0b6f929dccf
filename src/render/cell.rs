//! The cells of a result as the text that PostgreSQL writes: `t` and `f`, `2026-11-21 03:34:59.123456789+00`, `\x0aff`, `{1,NULL}`.

use bytes::BytesMut;
use datafusion::arrow::array::{Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Schema};

use crate::error::{Error, Result};
use crate::pg::{ALL_SECOND_DIGITS, PgType, TextStyle, Values, put_text};

/// How the columns of a result become text.
pub(crate) struct CellStyle {
    types: Vec<PgType>,
    text: TextStyle,
}

impl CellStyle {
    /// # Errors
    /// [`crate::error::Kind::BadInput`] when there is no such time zone.
    pub(crate) fn new(schema: &Schema, zone: &str) -> Result<Self> {
        let types = schema.fields().iter().map(|field| PgType::of_field(field)).collect();
        Ok(Self { types, text: TextStyle::in_zone(zone, ALL_SECOND_DIGITS)? })
    }

    /// Looks at the columns of a batch, once.
    pub(crate) fn cells(&self, batch: &RecordBatch) -> Result<Cells> {
        let columns = batch.columns().iter().zip(&self.types);
        let columns = columns.map(|(column, pg_type)| Values::new(column, *pg_type, self.text.zone));
        Ok(Cells { columns: columns.collect::<Result<_>>()?, style: self.text })
    }
}

/// A batch whose cells can be written.
pub(crate) struct Cells {
    columns: Vec<Values>,
    style: TextStyle,
}

impl Cells {
    pub(crate) fn is_null(&self, row: usize, column: usize) -> bool {
        self.columns[column].is_null(row)
    }

    /// Writes a value that is not NULL.
    pub(crate) fn put(&self, out: &mut BytesMut, row: usize, column: usize) -> Result<()> {
        put_text(out, &self.columns[column], row, &self.style)
    }

    /// The value as text, empty for NULL.
    pub(crate) fn text(&self, row: usize, column: usize) -> Result<String> {
        let mut out = BytesMut::new();
        if !self.is_null(row, column) {
            self.put(&mut out, row, column)?;
        }
        String::from_utf8(out.into()).map_err(|error| Error::internal(format!("a value is no text: {error}")))
    }
}

/// The value of one cell, with times in UTC; empty for NULL.
pub fn cell_text(column: &dyn Array, row: usize) -> Result<String> {
    let style = TextStyle::in_zone("UTC", ALL_SECOND_DIGITS)?;
    let values = Values::new(&column.slice(row, 1), PgType::of(column.data_type()), style.zone)?;
    Cells { columns: vec![values], style }.text(0, 0)
}

/// Whether a column of this type stands to the right in a table.
pub(crate) fn is_number(kind: &DataType) -> bool {
    kind.is_numeric() || matches!(kind, DataType::Duration(_))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::*;
    use datafusion::arrow::datatypes::Int32Type;

    use super::*;

    fn text(array: impl Array) -> String {
        cell_text(&array, 0).expect("shown")
    }

    #[test]
    fn scalars_read_as_postgres_writes_them() {
        assert_eq!(text(BooleanArray::from(vec![true])), "t");
        assert_eq!(text(Int64Array::from(vec![i64::MIN])), "-9223372036854775808");
        assert_eq!(text(Float64Array::from(vec![0.1 + 0.2])), "0.30000000000000004");
        // What PostgreSQL 16 prints for these two.
        assert_eq!(text(Float64Array::from(vec![1e21])), "1e+21");
        assert_eq!(text(Float64Array::from(vec![0.00001])), "1e-05");
        assert_eq!(text(Float32Array::from(vec![0.1])), "0.1");
        assert_eq!(text(Float64Array::from(vec![f64::NEG_INFINITY])), "-Infinity");
        assert_eq!(text(BinaryArray::from(vec![&[0u8, 255][..]])), "\\x00ff");
        assert_eq!(text(Int64Array::from(vec![None])), "");
        assert_eq!(text(Decimal128Array::from(vec![1234]).with_precision_and_scale(9, 2).expect("decimal")), "12.34");
        assert_eq!(text(DurationNanosecondArray::from(vec![90_000_000_000_000])), "1 day 01:00:00");
    }

    #[test]
    fn timestamps_keep_their_nanoseconds() {
        let zoned = TimestampNanosecondArray::from(vec![1_700_000_000_123_456_780]).with_timezone("UTC");
        assert_eq!(text(zoned), "2023-11-14 22:13:20.12345678+00");
        assert_eq!(text(TimestampMillisecondArray::from(vec![-1])), "1969-12-31 23:59:59.999");
    }

    #[test]
    fn lists_are_arrays_and_what_is_nested_is_json() {
        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        map.keys().append_value("http.route");
        map.values().append_value("/cart");
        map.keys().append_value("none");
        map.values().append_null();
        map.append(true).expect("a map");
        assert_eq!(text(map.finish()), r#"{"http.route": "/cart", "none": null}"#);
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
        assert_eq!(text(list.clone()), "{1,NULL}");
        let field = Arc::new(datafusion::arrow::datatypes::Field::new("l", list.data_type().clone(), true));
        let parts: StructArray = vec![(field, Arc::new(list) as ArrayRef)].into();
        assert_eq!(text(parts), r#"{"l": [1, null]}"#);
    }
}
