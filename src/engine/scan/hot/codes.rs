//! Columns of text as codes: each row's place in a dictionary of the row group.
//!
//! Grouping by text is then an array access a row, and a column takes an eighth of the memory.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Schema, UInt32Type};
use datafusion::common::Result;
use datafusion::parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use super::cache::{ColumnKey, Values};
use super::distinct::is_told;
use super::file::HotFile;

/// The most values of a dictionary that is small: places in it take two bytes, and what is noted for each stays in the processor's cache.
const MOST_VALUES: usize = 4096;

impl HotFile {
    /// The codes of the scan's column at this place, out of memory where they are; `None` as [`HotFile::decode_codes`] has it.
    pub(super) async fn codes_at(&self, row_group: usize, at: usize) -> Result<Option<ArrayRef>> {
        let key = ColumnKey { of: Values::Codes, ..self.key(row_group, at) };
        if let Some(codes) = self.scan.cache.get(&key) {
            return Ok(Some(codes));
        }
        let codes = self.decode_codes(row_group, at).await?;
        if let Some(codes) = &codes {
            self.scan.cache.insert(key, codes.clone());
        }
        Ok(codes)
    }

    /// A whole column of a row group as a dictionary of text with places of two bytes; `None` when it was not written as one, or has many
    /// values.
    pub(super) async fn decode_codes(&self, row_group: usize, at: usize) -> Result<Option<ArrayRef>> {
        let root = self.columns.roots[at];
        let is_dictionary = self.leaf(root).is_some_and(|leaf| is_told(self.row_group(row_group).column(leaf)));
        if !is_dictionary {
            return Ok(None);
        }
        let batches = self.decode_with(self.as_dictionary(root)?, row_group, vec![root]).await?;
        let [batch] = batches.as_slice() else { return Ok(None) };
        let column = batch.column(0);
        match column.as_dictionary_opt::<UInt32Type>() {
            Some(codes) if codes.values().len() <= MOST_VALUES => {
                Ok(Some(cast(column, &dictionary(DataType::UInt16))?))
            }
            _ => Ok(None),
        }
    }

    /// The file with one of its columns as a dictionary.
    fn as_dictionary(&self, root: usize) -> Result<ArrowReaderMetadata> {
        let mut fields = self.parquet.schema().fields().to_vec();
        if let Some(field) = fields.get_mut(root) {
            *field = Arc::new(field.as_ref().clone().with_data_type(dictionary(DataType::UInt32)));
        }
        let schema = Schema::new_with_metadata(fields, self.parquet.schema().metadata().clone());
        let options = ArrowReaderOptions::new().with_schema(Arc::new(schema));
        Ok(ArrowReaderMetadata::try_new(self.parquet.metadata().clone(), options)?)
    }
}

fn dictionary(places: DataType) -> DataType {
    DataType::Dictionary(Box::new(places), Box::new(DataType::Utf8))
}
