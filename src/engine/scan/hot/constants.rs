//! Columns of a file that have one value only: they are not read.
//!
//! Most columns of spans are empty in most files, and reading a trace is opening columns above all.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, ListArray, MapArray, RecordBatch, StructArray, new_empty_array};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, Result, ScalarValue, Statistics};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use datafusion::parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use datafusion::physical_expr::utils::collect_columns;

use super::file::Scan;
use crate::model::promoted::{Owner, PromotedColumn};

impl Scan {
    /// The file with what is known of such columns, which the Parquet source puts in their places. The predicate's stay as they are: what a
    /// join learns while it runs does not hold for a value in a column's place.
    pub(super) async fn with_constants(&self, mut file: PartitionedFile) -> Result<PartitionedFile> {
        let constants = self.constants(&file).await?;
        let asked = self.predicate.as_ref().map(collect_columns).unwrap_or_default();
        let before = file.statistics.take();
        let columns = self.file_schema.fields().iter().zip(&constants.columns).enumerate();
        let columns = columns.map(|(at, (field, constant))| {
            let known = before.as_ref().and_then(|before| before.column_statistics.get(at));
            let known = known.cloned().unwrap_or_else(ColumnStatistics::new_unknown);
            let is_asked = asked.iter().any(|column| column.name() == field.name());
            match constant.as_ref().filter(|_| !is_asked) {
                Some(Constant::Null) => ColumnStatistics { null_count: Precision::Exact(constants.rows), ..known },
                Some(Constant::Value(value)) => ColumnStatistics {
                    null_count: Precision::Exact(0),
                    min_value: Precision::Exact(value.clone()),
                    max_value: Precision::Exact(value.clone()),
                    ..known
                },
                // A file of which all spans start at once says so in the table's log already.
                None if is_asked && known.min_value == known.max_value => known.to_inexact(),
                None => known,
            }
        });
        let statistics = Statistics {
            column_statistics: columns.collect(),
            num_rows: Precision::Exact(constants.rows),
            total_byte_size: Precision::Absent,
        };
        file.statistics = Some(Arc::new(statistics));
        Ok(file)
    }

    /// The file's columns that have one value only.
    pub(super) async fn constants(&self, file: &PartitionedFile) -> Result<Arc<Constants>> {
        let name = file.object_meta.location.as_ref();
        if let Some(known) = self.cache.constants(name) {
            return Ok(known);
        }
        let parquet = self.reader(file)?.get_metadata(None).await?;
        let columns = self.file_schema.fields().iter().map(|field| constant(field, &parquet)).collect();
        let known = Arc::new(Constants { rows: rows(&parquet), columns });
        self.cache.insert_constants(name.into(), known.clone());
        Ok(known)
    }
}

/// The columns of a file that have one value only, in the order of the table's.
#[derive(Debug)]
pub(super) struct Constants {
    rows: usize,
    columns: Vec<Option<Constant>>,
}

impl Constants {
    /// The values by the columns' names, for a table of these columns.
    pub(super) fn by_name<'a>(&self, table: &'a Schema) -> Result<HashMap<&'a str, ScalarValue>> {
        let known = table.fields().iter().zip(&self.columns);
        let known = known.filter_map(|(field, constant)| Some((field, constant.as_ref()?)));
        let values = known.map(|(field, constant)| {
            let value = match constant {
                Constant::Null => ScalarValue::try_new_null(field.data_type())?,
                Constant::Value(value) if value.data_type() == *field.data_type() => value.clone(),
                Constant::Value(value) => value.cast_to(field.data_type())?,
            };
            Ok((field.name().as_str(), value))
        });
        values.collect()
    }
}

fn rows(parquet: &ParquetMetaData) -> usize {
    usize::try_from(parquet.file_metadata().num_rows()).unwrap_or(0)
}

#[derive(Debug)]
enum Constant {
    Null,
    Value(ScalarValue),
}

/// The only value of a column of the file, if its footer says that it has only one.
fn constant(field: &Field, parquet: &ParquetMetaData) -> Option<Constant> {
    // What is read of attributes is put together from several columns.
    let is_parted = |owner: Owner| {
        let columns = parquet.file_metadata().schema_descr().columns();
        let promoted = columns.iter().filter_map(|leaf| PromotedColumn::parse(leaf.path().parts().first()?));
        promoted.map(|column| column.key.owner).any(|of| of == owner)
    };
    let owners = Owner::ALL.into_iter();
    let is_of = |owner: &Owner| [owner.map_column(), owner.types_column()].contains(&field.name().as_str());
    if owners.filter(is_of).any(is_parted) {
        return None;
    }
    let leaves = parquet.file_metadata().schema_descr().columns().iter().enumerate();
    let leaves: Vec<usize> =
        leaves.filter(|(_, leaf)| leaf.path().parts().first() == Some(field.name())).map(|(at, _)| at).collect();
    let chunks = || parquet.row_groups().iter().flat_map(|group| leaves.iter().map(|leaf| group.column(*leaf)));
    if leaves.is_empty() {
        return None;
    }
    if chunks().all(|chunk| nulls(chunk) == Some(chunk.num_values() as u64)) {
        return match field.data_type() {
            list if list.is_nested() => (!field.is_nullable()).then(|| empty(list)).flatten().map(Constant::Value),
            _ => Some(Constant::Null),
        };
    }
    if field.data_type().is_nested() || !chunks().all(|chunk| nulls(chunk) == Some(0) && is_exact(chunk)) {
        return None;
    }
    let ends = ends(field, *leaves.first()?, parquet)?;
    let mut values =
        ends.iter().flat_map(|ends| (0..ends.len()).map(|row| ScalarValue::try_from_array(ends, row).ok()));
    let first = values.next()?.filter(|first| !first.is_null())?;
    values.all(|value| value.as_ref() == Some(&first)).then_some(Constant::Value(first))
}

/// The smallest and the largest value of each row group in the column at `leaf`, which is `field`'s.
fn ends(field: &Field, leaf: usize, parquet: &ParquetMetaData) -> Option<[ArrayRef; 2]> {
    let of = StatisticsConverter::from_column_index(leaf, field, parquet.file_metadata().schema_descr()).ok()?;
    let groups = parquet.row_groups();
    Some([of.row_group_mins(groups).ok()?, of.row_group_maxes(groups).ok()?])
}

fn nulls(chunk: &ColumnChunkMetaData) -> Option<u64> {
    chunk.statistics()?.null_count_opt()
}

/// Whether the smallest and the largest value are told whole.
fn is_exact(chunk: &ColumnChunkMetaData) -> bool {
    chunk.statistics().is_some_and(|known| known.min_is_exact() && known.max_is_exact())
}

/// An empty list or map.
fn empty(data_type: &DataType) -> Option<ScalarValue> {
    let none = OffsetBuffer::from_lengths([0]);
    Some(match data_type {
        DataType::List(item) => {
            let items = new_empty_array(item.data_type());
            ScalarValue::List(Arc::new(ListArray::try_new(item.clone(), none, items, None).ok()?))
        }
        DataType::Map(entries, is_sorted) => {
            let DataType::Struct(fields) = entries.data_type() else { return None };
            let entry = StructArray::from(RecordBatch::new_empty(Arc::new(Schema::new(fields.clone()))));
            ScalarValue::Map(Arc::new(MapArray::try_new(entries.clone(), none, entry, None, *is_sorted).ok()?))
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, StringViewArray};
    use datafusion::parquet::arrow::ArrowWriter;

    use super::*;

    #[test]
    fn a_column_is_told_by_its_own_values() {
        let column = |name, values: [Option<i64>; 2]| (name, Arc::new(Int64Array::from(values.to_vec())) as ArrayRef);
        let text = |name, values: [&str; 2]| (name, Arc::new(StringViewArray::from(values.to_vec())) as ArrayRef);
        let columns = [
            column("first", [Some(1), Some(1)]),
            column("other", [Some(7), Some(7)]),
            column("changing", [Some(1), Some(2)]),
            column("empty", [None, None]),
            column("half", [Some(1), None]),
            text("said", ["yes", "yes"]),
            text("varied", ["no", "yes"]),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        for row in 0..batch.num_rows() {
            writer.write(&batch.slice(row, 1)).unwrap();
            writer.flush().unwrap();
        }
        let parquet = writer.finish().unwrap();
        assert_eq!(parquet.num_row_groups(), 2);

        let schema = batch.schema();
        let told = schema.fields().iter().map(|field| match constant(field, &parquet) {
            Some(Constant::Value(value)) => value.to_string(),
            Some(Constant::Null) => "null".to_owned(),
            None => "-".to_owned(),
        });
        assert_eq!(told.collect::<Vec<_>>(), ["1", "7", "-", "null", "-", "yes", "-"]);
    }
}
