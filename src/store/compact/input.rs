//! Reading a data file batch by batch, on a thread of its own and through the object store.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::object_store::path::Path;
use datafusion::object_store::{ObjectStore, ObjectStoreExt};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryFutureExt};
use parquet::arrow::ParquetRecordBatchStreamBuilder;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use tokio::runtime::Handle;

use super::merge::Input;
use crate::error::{Error, Kind, Result};
use crate::model::promoted::{PromotedColumn, whole_batch};
use crate::model::schema::physical_schema;
use crate::store::DataFile;
use crate::store::table::ROW_GROUP_ROWS;

/// The rows of a batch: what a merge holds decoded of each of its files.
const BATCH_ROWS: usize = 2 * 1024;
/// What a decoded row takes of memory, where attributes are rich.
const ROW_BYTES: u64 = 1024;

/// What reading a file takes of memory: one row group as it is stored, and one batch.
pub(super) fn memory_bytes(file: &DataFile) -> u64 {
    let row_group = file.rows.min(ROW_GROUP_ROWS as u64);
    let stored = file.size_bytes / file.rows.max(1) * row_group;
    stored + row_group.min(BATCH_ROWS as u64) * ROW_BYTES
}

/// A data file that is being read.
pub(super) struct FileInput {
    name: String,
    runtime: Handle,
    rows: ParquetRecordBatchStream<StoredFile>,
}

impl FileInput {
    /// Opens a file. Blocks; may not run on a thread of `runtime`.
    pub(super) fn open(runtime: &Handle, store: &Arc<dyn ObjectStore>, file: &DataFile) -> Result<Self> {
        let name = file.location.to_string();
        let stored = StoredFile { store: store.clone(), location: file.location.clone(), size_bytes: file.size_bytes };
        let rows = runtime.block_on(read_rows(stored)).map_err(|error| unreadable(&name, error))?;
        Ok(Self { name, runtime: runtime.clone(), rows })
    }
}

impl Input for FileInput {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        let next = self.runtime.block_on(self.rows.next());
        let batch = next.transpose().map_err(|error| unreadable(&self.name, error))?;
        batch.as_ref().map(whole_batch).transpose()
    }

    fn name(&self) -> &str {
        &self.name
    }
}

async fn read_rows(mut stored: StoredFile) -> ParquetResult<ParquetRecordBatchStream<StoredFile>> {
    let options = ArrowReaderOptions::new();
    let found = ArrowReaderMetadata::load_async(&mut stored, options.clone()).await?;
    let wanted = file_schema(found.schema());
    let metadata = ArrowReaderMetadata::try_new(found.metadata().clone(), options.with_schema(wanted))?;
    ParquetRecordBatchStreamBuilder::new_with_metadata(stored, metadata).with_batch_size(BATCH_ROWS).build()
}

/// The types in which a file's columns are read: those of [`physical_schema`] and of promoted attributes.
fn file_schema(found: &Schema) -> SchemaRef {
    let physical = physical_schema();
    let fields = found.fields().iter().map(|field| match PromotedColumn::parse(field.name()) {
        Some(promoted) => FieldRef::from(promoted.field()),
        None => physical.fields().find(field.name()).map_or(field, |(_, known)| known).clone(),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn unreadable(name: &str, error: ParquetError) -> Error {
    Error::new(Kind::Io, format!("cannot read {name}: {error}")).with_source(error)
}

/// A file of the object store as the Parquet reader wants it.
struct StoredFile {
    store: Arc<dyn ObjectStore>,
    location: Path,
    size_bytes: u64,
}

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.store.get_range(&self.location, range).map_err(external).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move { self.store.get_ranges(&self.location, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        options: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let size_bytes = self.size_bytes;
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options);
            reader.load_and_finish(self, size_bytes).await.map(Arc::new)
        }
        .boxed()
    }
}

fn external(error: datafusion::object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
