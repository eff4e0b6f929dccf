//! Sealing: when to do it, in which order the rows go, and writing them as data files.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate};

use super::disk::Disk;
use super::fresh::Part;
use super::gather::{Gatherer, RowAt};
use super::table::{FileName, WrittenContent, WrittenFile, date_dir, write_data_file};
use super::wal::Lsn;
use crate::error::{Error, Result};
use crate::model::SpanBatch;

/// What is fresh, as far as the decision to seal needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fresh {
    pub rows: usize,
    pub bytes: u64,
    pub age: Duration,
    /// Whether an export waits for memory.
    pub wanted: bool,
}

/// The limits that start a sealing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealLimits {
    pub rows: usize,
    pub bytes: u64,
    pub age: Duration,
}

/// Whether to seal now.
pub(crate) fn is_due(fresh: Fresh, limits: SealLimits) -> bool {
    let full = fresh.rows >= limits.rows || fresh.bytes >= limits.bytes;
    fresh.rows > 0 && (full || fresh.wanted || fresh.age >= limits.age)
}

/// The width of the time buckets within which rows lie trace by trace: most traces fit into one, and a query over minutes
/// reads few.
const BUCKET_NS: i64 = 300 * 1_000_000_000;
const DAY_NS: i64 = 86_400 * 1_000_000_000;
/// The most rows of a file: what one reader holds as metadata stays small, and compaction has something to choose from.
const FILE_ROWS: usize = 2 << 20;

/// Where a row is, behind the key that rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    bucket: i64,
    trace_id: u128,
    start_ns: i64,
    at: RowAt,
}

/// Orders the rows of `parts` trace by trace within time buckets and writes a file or more for each date, synced with its directory.
pub(crate) fn write_sorted(
    disk: &Arc<dyn Disk>,
    table_root: &Path,
    parts: &[Arc<Part>],
    name: &FileName,
) -> Result<Vec<WrittenFile>> {
    let rows = sorted_rows(parts)?;
    let batches: Vec<&SpanBatch> = parts.iter().map(|part| &part.batch).collect();
    let gatherer = Gatherer::new(&batches)?;
    let mut files = Vec::new();
    let by_date = rows.chunk_by(|a, b| a.start_ns.div_euclid(DAY_NS) == b.start_ns.div_euclid(DAY_NS));
    for (number, rows) in by_date.flat_map(|of_date| of_date.chunks(FILE_ROWS)).enumerate() {
        match write_file(disk, table_root, &gatherer, rows, &FileName { number, ..name.clone() }) {
            Ok(file) => files.push(file),
            Err(error) => {
                remove_files(disk.as_ref(), table_root, &files);
                return Err(error);
            }
        }
    }
    Ok(files)
}

/// Removes files that did not get into the table. A file that stays is an orphan, which the next start removes.
pub(crate) fn remove_files(disk: &dyn Disk, table_root: &Path, files: &[WrittenFile]) {
    for file in files {
        if let Err(error) = disk.remove_file(&table_root.join(&file.location)) {
            tracing::warn!(file = file.location, %error, "cannot remove a data file that is not in the table");
        }
    }
}

fn write_file(
    disk: &Arc<dyn Disk>,
    table_root: &Path,
    gatherer: &Gatherer<'_>,
    rows: &[Row],
    name: &FileName,
) -> Result<WrittenFile> {
    let date = date_of(rows[0].start_ns)?;
    let dir = date_dir(table_root, disk, &date)?;
    let path: PathBuf = dir.join(name.to_unique_text());
    let chunks = rows.chunks(gatherer.most_rows).map(|rows| {
        let rows: Vec<RowAt> = rows.iter().map(|row| row.at).collect();
        gatherer.gather(&rows)
    });
    let written = write_data_file(disk.as_ref(), &path, chunks);
    let WrittenContent { size_bytes, index } = written.inspect_err(|_| {
        // The file is half written and not in the table: what cannot be removed now is removed at the next start.
        let _ = disk.remove_file(&path);
    })?;
    disk.sync_dir(&dir).map_err(|error| Error::io(dir.display(), error))?;
    let below_root = path.strip_prefix(table_root).map_err(|error| Error::internal(error.to_string()))?;
    Ok(WrittenFile {
        location: below_root.to_string_lossy().into_owned(),
        date,
        size_bytes,
        rows: rows.len() as u64,
        min_start_ns: rows.iter().map(|row| row.start_ns).min().unwrap_or(i64::MAX),
        max_start_ns: rows.iter().map(|row| row.start_ns).max().unwrap_or(i64::MIN),
        index,
    })
}

fn sorted_rows(parts: &[Arc<Part>]) -> Result<Vec<Row>> {
    let mut rows = Vec::with_capacity(parts.iter().map(|part| part.batch.num_rows()).sum());
    for (index, part) in parts.iter().enumerate() {
        let (starts, traces) = (part.batch.starts()?, part.batch.trace_ids()?);
        for row in 0..part.batch.num_rows() {
            let start_ns = starts.value(row);
            let trace_id = traces.value(row).try_into().map(u128::from_be_bytes).unwrap_or_default();
            let bucket = start_ns.div_euclid(BUCKET_NS);
            rows.push(Row { bucket, trace_id, start_ns, at: RowAt { batch: index as u32, row: row as u32 } });
        }
    }
    rows.sort_unstable();
    Ok(rows)
}

fn date_of(start_ns: i64) -> Result<String> {
    let date: Option<NaiveDate> =
        DateTime::from_timestamp(start_ns.div_euclid(1_000_000_000), 0).map(|time| time.date_naive());
    let date = date.ok_or_else(|| Error::internal(format!("{start_ns} ns is no date")))?;
    Ok(date.format("%Y-%m-%d").to_string())
}

/// The file name of a sealing by `node` up to `mark`; its number is set for each file.
pub(crate) fn name_of(node: &str, mark: Lsn) -> FileName {
    FileName { node: node.to_owned(), mark, number: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealing_is_due_by_rows_bytes_age_or_want_and_never_for_nothing() {
        let limits = SealLimits { rows: 100, bytes: 1000, age: Duration::from_secs(60) };
        let cases = [
            (0, 0, 3600, true, false),
            (1, 1, 59, false, false),
            (99, 999, 59, false, false),
            (100, 0, 0, false, true),
            (1, 1000, 0, false, true),
            (1, 1, 60, false, true),
            (1, 1, 0, true, true),
        ];
        for (rows, bytes, age_s, wanted, due) in cases {
            let fresh = Fresh { rows, bytes, age: Duration::from_secs(age_s), wanted };
            assert_eq!(is_due(fresh, limits), due, "{fresh:?}");
        }
    }

    #[test]
    fn dates_are_utc_days() {
        for (ns, date) in [(0, "1970-01-01"), (DAY_NS - 1, "1970-01-01"), (DAY_NS, "1970-01-02"), (-1, "1969-12-31")] {
            assert_eq!(date_of(ns).expect("date"), date);
        }
        assert_eq!(date_of(4_102_444_799_999_999_999).expect("date"), "2099-12-31");
    }
}
