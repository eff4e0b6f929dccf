//! The Parquet files of a table: written whole and synced, read batch by batch.

use std::fs::{File, OpenOptions};
use std::path::Path;

use datafusion::arrow::array::{BooleanArray, RecordBatch};
use datafusion::arrow::compute::filter_record_batch;
use datafusion::arrow::compute::kernels::boolean::not;
use datafusion::arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::columns::aligned;
use super::gone::Gone;
use super::manifest::{FileEntry, is_missing};
use crate::error::{Error, Kind, Result};
use crate::report::deadline::Deadline;
use crate::store::failpoint;

/// Rows in a row group: what is held in memory before it is written, and what a question about some hours reads at least.
const ROW_GROUP_ROWS: usize = 128 * 1024;

/// A file that is being written.
pub(super) struct NewFile {
    name: String,
    writer: ArrowWriter<File>,
    schema: SchemaRef,
    rows: u64,
}

impl NewFile {
    /// Begins a file in the table's folder; one of the name must not be there.
    pub fn create(folder: &Path, name: String, schema: SchemaRef) -> Result<Self> {
        let path = folder.join(&name);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        let file = file.map_err(|error| Error::io(format!("cannot write {}", path.display()), error))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties)).map_err(|e| unwritable(&name, e))?;
        Ok(Self { name, writer, schema, rows: 0 })
    }

    /// Adds rows, of which columns may be missing.
    pub fn write(&mut self, rows: &RecordBatch) -> Result<()> {
        self.rows += rows.num_rows() as u64;
        self.writer.write(&aligned(rows, &self.schema)?).map_err(|error| unwritable(&self.name, error))
    }

    /// Ends the file; it is durable once its folder is.
    pub fn finish(self) -> Result<FileEntry> {
        failpoint("record_file");
        let file = self.writer.into_inner().map_err(|error| unwritable(&self.name, error))?;
        let synced = file.sync_all().and_then(|()| file.metadata());
        let bytes = synced.map_err(|error| Error::io(format!("cannot write {}", self.name), error))?.len();
        Ok(FileEntry { name: self.name, bytes, rows: self.rows })
    }
}

fn unwritable(name: &str, error: ParquetError) -> Error {
    match error {
        ParquetError::External(cause) => match cause.downcast::<std::io::Error>() {
            Ok(cause) => Error::io(format!("cannot write {name}"), *cause),
            Err(cause) => Error::new(Kind::BadInput, format!("cannot write {name}: {cause}")),
        },
        other => Error::new(Kind::BadInput, format!("cannot write {name}: {other}")),
    }
}

/// Opens a file of a manifest. `None` when it is not there any more: then the manifest is another by now.
pub(super) fn open(folder: &Path, entry: &FileEntry) -> Result<Option<File>> {
    let path = folder.join(&entry.name);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(Error::io(format!("cannot read {}", path.display()), error)),
    };
    let bytes = file.metadata().map_err(|error| Error::io(path.display(), error))?.len();
    match bytes == entry.bytes {
        true => Ok(Some(file)),
        false => Err(damaged(&path, &format!("it has {bytes} bytes and should have {}", entry.bytes))),
    }
}

/// The columns of a file.
pub(super) fn columns(folder: &Path, entry: &FileEntry, file: &File) -> Result<SchemaRef> {
    let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new());
    let metadata = metadata.map_err(|error| damaged(&folder.join(&entry.name), &error))?;
    let schema = metadata.schema();
    Ok(std::sync::Arc::new(schema.as_ref().clone().with_metadata(Default::default())))
}

/// The rows of a file; only one column of them when `only` names it.
pub(super) fn batches(
    folder: &Path,
    entry: &FileEntry,
    only: Option<&str>,
) -> Result<impl Iterator<Item = Result<RecordBatch>> + use<>> {
    let path = folder.join(&entry.name);
    let file = open(folder, entry)?.ok_or_else(|| damaged(&path, &"it is not there"))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| damaged(&path, &error))?;
    let builder = match only.map(|column| builder.schema().index_of(column)) {
        None => builder,
        // None of its rows has a value there.
        Some(Err(_)) => builder.with_limit(0),
        Some(Ok(at)) => {
            let mask = parquet::arrow::ProjectionMask::roots(builder.parquet_schema(), [at]);
            builder.with_projection(mask)
        }
    };
    let reader = builder.build().map_err(|error| damaged(&path, &error))?;
    Ok(reader.map(move |batch| batch.map_err(|error| damaged(&path, &error))))
}

/// How many rows of a file go.
pub(super) fn count_gone(folder: &Path, entry: &FileEntry, gone: &Gone, deadline: &Deadline) -> Result<u64> {
    let mut count = 0;
    for batch in batches(folder, entry, Some(&gone.column))? {
        deadline.check()?;
        count += gone.covers(&batch?).iter().filter(|covered| *covered == Some(true)).count() as u64;
    }
    Ok(count)
}

/// Copies the rows of a file that stay.
pub(super) fn copy(
    folder: &Path,
    entry: &FileEntry,
    gone: Option<&Gone>,
    into: &mut NewFile,
    deadline: &Deadline,
) -> Result<()> {
    for batch in batches(folder, entry, None)? {
        deadline.check()?;
        let batch = batch?;
        let Some(gone) = gone else {
            into.write(&batch)?;
            continue;
        };
        let covered: BooleanArray = gone.covers(&batch).iter().map(|covered| Some(covered == Some(true))).collect();
        let stays = not(&covered).and_then(|stays| filter_record_batch(&batch, &stays));
        into.write(&stays.map_err(|error| Error::internal(error.to_string()))?)?;
    }
    Ok(())
}

/// The error about a file that is not what was written.
pub(super) fn damaged(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::corrupt(format!("the recorded file {} is damaged: {why}", path.display()))
        .with_hint("move its folder away to begin the table anew")
}
