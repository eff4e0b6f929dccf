//! Which attribute keys a file has, without reading any attribute: promoted ones by their columns, others by the dictionary of the map's keys.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, ListArray, RecordBatch, StringViewArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{cast, concat};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderMetadata;
use datafusion::parquet::file::metadata::RowGroupMetaData;

use super::cache::{ColumnKey, Values};
use super::file::{Once, Scan};
use crate::model::promoted::{Owner, PromotedColumn};

impl Scan {
    /// One row with the keys of all attributes in a part of a file; `None` when they are not asked for, or not told without reading rows.
    pub(super) async fn keys(&self, file: &PartitionedFile) -> Result<Option<RecordBatch>> {
        let Some(Once::Keys(owner)) = self.once else { return Ok(None) };
        let DataType::List(item) = self.output_schema.field(0).data_type() else { return Ok(None) };
        let parquet = self.parquet(file).await?;
        let mut found: Vec<ArrayRef> = Vec::new();
        for row_group in 0..parquet.metadata().num_row_groups() {
            let start = parquet.metadata().row_group(row_group).column(0).byte_range().0 as i64;
            let is_in_part = file.range.as_ref().is_none_or(|range| range.contains(start));
            if is_in_part {
                let Some(keys) = self.keys_of(file, &parquet, row_group, owner).await? else { return Ok(None) };
                found.extend(keys);
            }
        }
        let found: Vec<ArrayRef> = found.iter().map(|keys| cast(keys, item.data_type())).collect::<Result<_, _>>()?;
        let parts: Vec<&dyn Array> = found.iter().map(AsRef::as_ref).collect();
        let keys = match parts.is_empty() {
            true => datafusion::arrow::array::new_empty_array(item.data_type()),
            false => concat(&parts)?,
        };
        let list = ListArray::try_new(item.clone(), OffsetBuffer::from_lengths([keys.len()]), keys, None)?;
        Ok(Some(RecordBatch::try_new(self.output_schema.clone(), vec![Arc::new(list)])?))
    }

    async fn keys_of(
        &self,
        file: &PartitionedFile,
        parquet: &ArrowReaderMetadata,
        row_group: usize,
        owner: Owner,
    ) -> Result<Option<[ArrayRef; 2]>> {
        let columns = parquet.metadata().row_group(row_group);
        let Some(promoted) = promoted(columns, owner) else { return Ok(None) };
        let is_key = |path: &[String]| matches!(path, [map, _, key] if map == owner.map_column() && key == "key");
        let Some(of_map) = columns.columns().iter().find(|chunk| is_key(chunk.column_path().parts())) else {
            return Ok(None);
        };
        let key = ColumnKey {
            file: file.object_meta.location.as_ref().into(),
            row_group,
            column: owner.map_column().into(),
            of: Values::Distinct,
        };
        let in_map = self.dictionary(file, key, of_map, &DataType::Utf8View).await?;
        Ok(in_map.map(|in_map| [promoted, in_map]))
    }
}

/// The keys of the columns that have a value in a row group; `None` when that is not known.
fn promoted(row_group: &RowGroupMetaData, owner: Owner) -> Option<ArrayRef> {
    let mut keys = Vec::new();
    for chunk in row_group.columns() {
        let column = PromotedColumn::parse(chunk.column_path().parts().first()?);
        if let Some(column) = column.filter(|column| column.key.owner == owner)
            && chunk.statistics()?.null_count_opt()? < chunk.num_values() as u64
        {
            keys.push(column.key.key);
        }
    }
    Some(Arc::new(StringViewArray::from_iter_values(keys)))
}
