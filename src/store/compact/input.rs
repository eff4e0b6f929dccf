//! Reading a data file batch by batch, on a thread of its own and through the object store.

use std::error::Error as StdError;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::array::{ArrayRef, FixedSizeBinaryArray, Int64Array, RecordBatch, StringViewArray};
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::object_store::ObjectStore;
use datafusion::object_store::path::Path;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::arrow::async_reader::{AsyncFileReader, ParquetRecordBatchStream};
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData};
use tokio::runtime::Handle;

use super::merge::Input;
use super::sum::{FileSum, Pieces};
use crate::error::{Error, Kind, Result};
use crate::model::default_column;
use crate::model::promoted::{Owner, PromotedColumn, whole_batch};
use crate::model::schema::physical_schema;
use crate::store::DataFile;
use crate::store::table::ROW_GROUP_ROWS;

/// The rows of a batch at most.
const BATCH_ROWS: usize = 2 * 1024;
/// What a merge holds decoded of each of its files: a batch of that many rows, where attributes are rich. Where they are huge, a batch has
/// fewer rows.
const BATCH_BYTES: u64 = 2 << 20;

/// What reading a file takes of memory: one row group as it is stored, and one batch.
pub(super) fn memory_bytes(file: &DataFile) -> u64 {
    let row_group = file.rows.min(ROW_GROUP_ROWS as u64);
    file.size_bytes / file.rows.max(1) * row_group + BATCH_BYTES
}

/// The data file that an error is about, in the chain of its causes.
#[derive(Debug, thiserror::Error)]
#[error("in the file {location}")]
pub(crate) struct InFile {
    location: Path,
    #[source]
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl InFile {
    pub(super) fn new(location: &Path) -> Self {
        Self { location: location.clone(), cause: None }
    }

    pub(super) fn because(self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// The file that reading or checking an input found wrong.
    pub(crate) fn of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Path> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if let Some(found) = error.downcast_ref::<Self>() {
                return Some(&found.location);
            }
            cause = error.source();
        }
        None
    }
}

/// A data file that is being read.
pub(crate) struct FileInput {
    file: DataFile,
    runtime: Handle,
    store: Arc<dyn ObjectStore>,
    rows: ParquetRecordBatchStream<StoredFile>,
    row_bytes: u64,
    pieces: Option<Pieces>,
}

impl FileInput {
    /// Opens a file, all of which is read. Blocks; may not run on a thread of `runtime`.
    pub(crate) fn open(runtime: &Handle, store: &Arc<dyn ObjectStore>, file: &DataFile) -> Result<Self> {
        Self::open_some(runtime, store, file, None)
    }

    /// Opens a file of which only these columns of the physical schema are read: the others hold anything.
    pub(crate) fn open_columns(
        runtime: &Handle,
        store: &Arc<dyn ObjectStore>,
        file: &DataFile,
        columns: &[String],
    ) -> Result<Self> {
        Self::open_some(runtime, store, file, Some(columns))
    }

    fn open_some(
        runtime: &Handle,
        store: &Arc<dyn ObjectStore>,
        file: &DataFile,
        columns: Option<&[String]>,
    ) -> Result<Self> {
        let pieces = columns.is_none().then(Pieces::default);
        let stored = StoredFile {
            store: store.clone(),
            location: file.location.clone(),
            size_bytes: file.size_bytes,
            pieces: pieces.clone().filter(|_| file.crc.is_some()),
        };
        let opened = unless_it_panics(|| runtime.block_on(read_rows(stored, columns)));
        let (rows, row_bytes) = opened.map_err(|error| unreadable(&file.location, error))?;
        let (file, runtime, store) = (file.clone(), runtime.clone(), store.clone());
        Ok(Self { file, runtime, store, rows, row_bytes, pieces })
    }

    /// What tells, once all rows have been read, whether they are those that were written; `None` where only some columns are.
    pub(super) fn sum(&self) -> Option<FileSum> {
        let pieces = self.pieces.clone()?;
        let (runtime, store, file) = (self.runtime.clone(), self.store.clone(), self.file.clone());
        Some(FileSum { runtime, store, file, pieces })
    }
}

impl Input for FileInput {
    fn next(&mut self) -> Result<Option<RecordBatch>> {
        let next = unless_it_panics(|| self.runtime.block_on(self.rows.next()).transpose());
        let batch = next.map_err(|error| unreadable(&self.file.location, error))?;
        batch.map(|batch| whole_batch(&padded(batch)?)).transpose()
    }

    fn name(&self) -> &str {
        self.file.location.as_ref()
    }

    fn row_bytes(&self) -> u64 {
        self.row_bytes
    }
}

/// Does what reads bytes that may be damaged: the library may meet lengths in them that it did not think of.
fn unless_it_panics<T>(work: impl FnOnce() -> ParquetResult<T>) -> ParquetResult<T> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Err(ParquetError::General("reading it ended badly".to_owned())))
}

/// Opens the rows of a file; tells besides what one takes of memory.
async fn read_rows(
    mut stored: StoredFile,
    columns: Option<&[String]>,
) -> ParquetResult<(ParquetRecordBatchStream<StoredFile>, u64)> {
    let options = ArrowReaderOptions::new();
    let found = ArrowReaderMetadata::load_async(&mut stored, options.clone()).await?;
    let wanted = file_schema(found.schema());
    let metadata = ArrowReaderMetadata::try_new(found.metadata().clone(), options.with_schema(wanted))?;
    let mask = columns.map_or_else(ProjectionMask::all, |columns| {
        let fields = metadata.schema().fields().iter().enumerate();
        let places = fields.filter(|(_, field)| is_part_of(field.name(), columns)).map(|(place, _)| place);
        ProjectionMask::roots(metadata.parquet_schema(), places.collect::<Vec<_>>())
    });
    let row_bytes = row_bytes(found.metadata());
    let batch_rows = (BATCH_BYTES / row_bytes).clamp(1, BATCH_ROWS as u64) as usize;
    let rows = ParquetRecordBatchStreamBuilder::new_with_metadata(stored, metadata);
    Ok((rows.with_projection(mask).with_batch_size(batch_rows).build()?, row_bytes))
}

/// What a decoded row takes of memory, one at least, in the row group where rows are largest: texts as long as they are, all else as it is
/// encoded.
fn row_bytes(file: &ParquetMetaData) -> u64 {
    let of_group = |group: &RowGroupMetaData| {
        let bytes = |column: &ColumnChunkMetaData| {
            column.unencoded_byte_array_data_bytes().unwrap_or_default().max(column.uncompressed_size()).max(0) as u64
        };
        group.columns().iter().map(bytes).sum::<u64>() / group.num_rows().max(1) as u64
    };
    file.row_groups().iter().map(of_group).max().unwrap_or_default().max(1)
}

/// Whether a column of a file is one of `columns`, or a part of the attributes that are.
fn is_part_of(name: &str, columns: &[String]) -> bool {
    let is_asked = |name: &str| columns.iter().any(|column| column == name);
    let owner_of_column = PromotedColumn::parse(name).map(|column| column.key.owner);
    let owner_of_map = Owner::ALL.into_iter().find(|owner| name == owner.map_column() || name == owner.types_column());
    match owner_of_column.or(owner_of_map) {
        Some(owner) => is_asked(owner.map_column()) || is_asked(owner.types_column()),
        None => is_asked(name),
    }
}

/// The batch with something in the columns of the physical schema that were not read.
fn padded(batch: RecordBatch) -> Result<RecordBatch> {
    let physical = physical_schema();
    let found = batch.schema();
    let missing: Vec<_> = physical.fields().iter().filter(|field| found.index_of(field.name()).is_err()).collect();
    if missing.is_empty() {
        return Ok(batch);
    }
    let fields: Vec<_> = found.fields().iter().chain(missing.iter().copied()).cloned().collect();
    let padding = missing.iter().map(|field| anything(field, batch.num_rows()));
    let columns = batch.columns().iter().cloned().map(Ok).chain(padding).collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(|error| Error::internal(error.to_string()))
}

fn anything(field: &Field, rows: usize) -> Result<ArrayRef> {
    Ok(match field.data_type() {
        DataType::FixedSizeBinary(len) if !field.is_nullable() => {
            let zeros = Buffer::from_vec(vec![0_u8; rows * *len as usize]);
            Arc::new(FixedSizeBinaryArray::new(*len, zeros, None))
        }
        DataType::Utf8View if !field.is_nullable() => Arc::new(StringViewArray::from(vec![""; rows])),
        DataType::Int64 if !field.is_nullable() => Arc::new(Int64Array::from(vec![0; rows])),
        _ => default_column(field, rows)?,
    })
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

fn unreadable(location: &Path, error: ParquetError) -> Error {
    // The store's own errors come as they are; all else is about the bytes that it gave.
    let kind = if matches!(error, ParquetError::External(_)) { Kind::Io } else { Kind::Corrupt };
    let text = format!("cannot read {location}: {error}");
    Error::new(kind, text).with_source(InFile::new(location).because(error))
}

/// A file of the object store as the Parquet reader wants it.
struct StoredFile {
    store: Arc<dyn ObjectStore>,
    location: Path,
    size_bytes: u64,
    /// Takes the sums of what is read.
    pieces: Option<Pieces>,
}

impl StoredFile {
    async fn read(&self, ranges: &[Range<u64>]) -> ParquetResult<Vec<Bytes>> {
        let read = self.store.get_ranges(&self.location, ranges).await.map_err(external)?;
        if let Some(pieces) = &self.pieces {
            ranges.iter().zip(&read).for_each(|(range, bytes)| pieces.add(range.start, bytes));
        }
        Ok(read)
    }
}

impl AsyncFileReader for StoredFile {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move { Ok(self.read(&[range]).await?.pop().unwrap_or_default()) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move { self.read(&ranges).await }.boxed()
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
