//! Sealing: when to do it, in which order the rows go, and writing them as data files.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate};

use super::fresh::Part;
use super::gather::{Gatherer, RowAt};
use super::order::{DAY_NS, KeyColumns, SortKey};
use super::table::{FileName, NewFile, TableDir, WrittenFile, write_new_file};
use super::wal::Lsn;
use crate::error::{Error, Result};
use crate::model::SpanBatch;
use crate::model::promoted::{Promoted, Promotion};

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

/// The most rows of a file: what one reader holds as metadata stays small, and compaction has something to choose from.
const FILE_ROWS: usize = 2 << 20;

/// Where a row is, behind the key that rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    key: SortKey,
    at: RowAt,
}

/// Orders the rows of `parts` trace by trace within time buckets and writes a file or more for each date, synced with its directory.
pub(crate) fn write_sorted(
    dir: &TableDir,
    parts: &[Arc<Part>],
    promoted: &Promoted,
    node: &str,
    mark: Lsn,
) -> Result<Vec<WrittenFile>> {
    let mut promotion = Promotion { known: promoted.clone(), may_grow: true };
    let rows = sorted_rows(parts)?;
    let batches: Vec<&SpanBatch> = parts.iter().map(|part| &part.batch).collect();
    let gatherer = Gatherer::new(&batches)?;
    let mut files = Vec::new();
    let by_date = rows.chunk_by(|a, b| a.key.start_ns.div_euclid(DAY_NS) == b.key.start_ns.div_euclid(DAY_NS));
    for (number, rows) in by_date.flat_map(|of_date| of_date.chunks(FILE_ROWS)).enumerate() {
        let name = FileName::sealed(node, mark, number);
        let file = NewFile { date: date_of(rows[0].key.start_ns)?, name, promotion: promotion.clone() };
        match write_file(dir, &gatherer, rows, file) {
            Ok(file) => {
                promotion.known.extend(&file.columns);
                files.push(file);
            }
            Err(error) => {
                dir.remove(&files);
                return Err(error);
            }
        }
    }
    Ok(files)
}

fn write_file(dir: &TableDir, gatherer: &Gatherer<'_>, rows: &[Row], file: NewFile) -> Result<WrittenFile> {
    let chunks = rows.chunks(gatherer.most_rows).map(|rows| {
        let rows: Vec<RowAt> = rows.iter().map(|row| row.at).collect();
        gatherer.gather(&rows)
    });
    write_new_file(dir, file, chunks)
}

fn sorted_rows(parts: &[Arc<Part>]) -> Result<Vec<Row>> {
    let mut rows = Vec::with_capacity(parts.iter().map(|part| part.batch.num_rows()).sum());
    for (index, part) in parts.iter().enumerate() {
        let keys = KeyColumns::new(part.batch.starts()?, part.batch.trace_ids()?);
        let at = |row| RowAt { batch: index as u32, row: row as u32 };
        rows.extend((0..part.batch.num_rows()).map(|row| Row { key: keys.key(row), at: at(row) }));
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
