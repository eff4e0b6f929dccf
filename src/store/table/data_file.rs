//! One Parquet file of the table: its columns, and writing it durably.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;

use super::encoding::Effort;
use super::row_groups::RowGroups;
use crate::error::{Error, Kind, Result};
use crate::model::SpanBatch;
use crate::model::promoted::{Census, FileLayout, PromotedColumn, Promotion, Splitter};
use crate::model::schema;
use crate::store::disk::{Disk, DiskFile};
use crate::store::failpoint;
use crate::store::trace_index::{self, Head, IndexBuilder, Place};

/// What is known of a file's trace index when it has just been written.
#[derive(Debug, Clone)]
pub(crate) struct WrittenIndex {
    pub place: Place,
    pub head: Arc<Head>,
}

/// The content of a data file that is on disk.
#[derive(Debug)]
pub(crate) struct WrittenContent {
    pub size_bytes: u64,
    /// CRC32C of all its bytes.
    pub crc: u32,
    pub index: WrittenIndex,
    /// See [`super::WrittenFile::columns`].
    pub columns: Vec<PromotedColumn>,
}

/// The rows that are looked at before a file's columns are settled; they are held in memory until then. A file of fewer rows gets
/// exactly the columns that have a value.
const SAMPLE_ROWS: usize = 32 * 1024;
/// What these rows take of memory at most: twice as much as where attributes are rich.
const SAMPLE_BYTES: usize = 64 << 20;

/// Writes batches to a new file, with frequent attributes in columns and a trace index, and syncs it. The
/// directory is not synced yet.
pub(crate) fn write_data_file(
    disk: &dyn Disk,
    path: &Path,
    promotion: &Promotion,
    effort: Effort,
    batches: impl IntoIterator<Item = Result<SpanBatch>>,
) -> Result<WrittenContent> {
    let mut batches = batches.into_iter();
    let (sample, mut splitter) = begin_split(promotion, &mut batches)?;
    let file = create(disk, path).map_err(|error| Error::io(path.display(), error))?;
    let failed = |error| parquet_error(path, error);
    let mut rows =
        RowGroups::new(Counted { file, bytes: 0, synced_bytes: 0, crc: 0 }, splitter.schema().clone(), effort)
            .map_err(failed)?;
    let mut index = IndexBuilder::default();
    for batch in sample.into_iter().map(Ok).chain(batches) {
        let batch = splitter.split(&batch?)?;
        let traces = batch.column_by_name(schema::TRACE_ID).and_then(|column| column.as_fixed_size_binary_opt());
        index.push(traces.ok_or_else(|| Error::internal("a batch of spans lacks its trace ids"))?)?;
        rows.write(&batch).map_err(failed)?;
    }
    let mut writer = rows.finish().map_err(failed)?;
    let index = write_index(&mut writer, index, path)?;
    let (key, note) = splitter.notes().to_metadata();
    writer.append_key_value_metadata(KeyValue::new(key, note));
    let mut file = writer.into_inner().map_err(failed)?;
    failpoint::pass("before_file_sync");
    file.file.sync_data().map_err(|error| Error::io(path.display(), error))?;
    Ok(WrittenContent { size_bytes: file.bytes, crc: file.crc, index, columns: splitter.columns() })
}

/// Creates a file, and its directory again if that was removed as empty meanwhile.
fn create(disk: &dyn Disk, path: &Path) -> io::Result<Box<dyn DiskFile>> {
    match (disk.create_new(path), path.parent()) {
        (Err(error), Some(dir)) if error.kind() == io::ErrorKind::NotFound => {
            disk.create_dir_all(dir)?;
            disk.create_new(path)
        }
        (created, _) => created,
    }
}

/// Settles the columns of a file by its first rows, which it gives back.
fn begin_split(
    promotion: &Promotion,
    batches: &mut impl Iterator<Item = Result<SpanBatch>>,
) -> Result<(Vec<SpanBatch>, Splitter)> {
    let mut census = Census::new(&promotion.known.keys());
    let mut sample = Vec::new();
    let (mut is_whole, mut bytes) = (true, 0);
    for batch in batches {
        let batch = batch?;
        census.count(&batch)?;
        bytes += batch.memory_bytes();
        sample.push(batch);
        if census.rows() >= SAMPLE_ROWS as u64 || bytes >= SAMPLE_BYTES {
            is_whole = false;
            break;
        }
    }
    Ok((sample, Splitter::new(FileLayout::new(promotion, &census, is_whole))))
}

/// Puts the trace index behind the last row group, and its place into the footer.
fn write_index<W: Write + Send>(
    writer: &mut SerializedFileWriter<W>,
    index: IndexBuilder,
    path: &Path,
) -> Result<WrittenIndex> {
    let offset = writer.bytes_written() as u64;
    let built = index.finish()?;
    writer.write_all(&built.bytes).map_err(|error| Error::io(path.display(), error))?;
    let place = Place::at(offset, &built.head);
    writer.append_key_value_metadata(KeyValue::new(trace_index::KEY.to_owned(), place.to_text()));
    Ok(WrittenIndex { place, head: Arc::new(built.head) })
}

/// An error of the disk, or one that these rows will give again.
fn parquet_error(path: &Path, error: ParquetError) -> Error {
    let is_of_disk = matches!(&error, ParquetError::External(cause) if cause.is::<io::Error>());
    let kind = if is_of_disk { Kind::Io } else { Kind::Internal };
    Error::new(kind, format!("cannot write {}: {error}", path.display())).with_source(error)
}

/// So much of a file is written before it is synced. The log's syncs wait for what the disk was given before, so that tens of megabytes at
/// the end of a file would hold up acknowledgements for as long as they take.
const SYNC_BYTES: u64 = 4 << 20;

/// A file that counts and sums up what is written, and is synced as it grows.
struct Counted {
    file: Box<dyn DiskFile>,
    bytes: u64,
    synced_bytes: u64,
    crc: u32,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = SYNC_BYTES - (self.bytes - self.synced_bytes);
        let fitting = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        let written = self.file.write(&bytes[..fitting])?;
        self.bytes += written as u64;
        self.crc = crc32c::crc32c_append(self.crc, &bytes[..written]);
        if self.bytes - self.synced_bytes >= SYNC_BYTES {
            self.file.sync_data()?;
            self.synced_bytes = self.bytes;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::OsDisk;

    #[test]
    fn a_file_is_synced_as_it_grows_and_has_all_that_was_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        let file = create(&OsDisk, &path).expect("created");
        let mut counted = Counted { file, bytes: 0, synced_bytes: 0, crc: 0 };
        let part: Vec<u8> = (0..3_000_001_u32).map(|n| n as u8).collect();
        for _ in 0..5 {
            counted.write_all(&part).expect("written");
            assert!(counted.bytes - counted.synced_bytes < SYNC_BYTES);
        }
        assert_eq!(counted.bytes, 5 * part.len() as u64);
        assert_eq!(counted.synced_bytes, 3 * SYNC_BYTES);
        assert_eq!(std::fs::read(&path).expect("read"), part.repeat(5));
        assert_eq!(counted.crc, crc32c::crc32c(&part.repeat(5)));
    }
}
