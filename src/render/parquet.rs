//! A Parquet file with the result's own types.

use std::io::Write;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::error::{Error, Result};

/// Rows in a row group: what is held in memory before it is written.
const ROW_GROUP_ROWS: usize = 128 * 1024;

/// Writes one Parquet file, a row group at a time.
pub(super) struct ParquetRows<W: Write + Send> {
    writer: ArrowWriter<W>,
}

impl<W: Write + Send> ParquetRows<W> {
    pub(super) fn start(schema: SchemaRef, out: W) -> Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        Ok(Self { writer: ArrowWriter::try_new(out, schema, Some(properties)).map_err(failed)? })
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(failed)
    }

    pub(super) fn finish(self) -> Result<W> {
        self.writer.into_inner().map_err(failed)
    }
}

fn failed(cause: parquet::errors::ParquetError) -> Error {
    Error::bad_input(format!("the result cannot be written as parquet: {cause}"))
}
