//! Sealing: when to do it, in which order the rows go, and writing them as data files.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate};
use foldhash::fast::RandomState;

use super::fresh::Part;
use super::gather::{Gatherer, RowAt};
use super::order::{DAY_NS, KeyColumns, SortKey};
use super::table::{Effort, FileName, NewFile, TableDir, WrittenFile, write_new_file};
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

/// How fresh spans become files; tests put others in the place of [`write_sorted`].
pub(crate) type Convert = fn(&TableDir, &[Arc<Part>], &Promoted, &str, Lsn) -> Result<Vec<WrittenFile>>;

/// The most rows of a file: what one reader holds as metadata stays small, and compaction has something to choose from.
const FILE_ROWS: usize = 2 << 20;

/// Where a row is, behind the start by which the rows of a trace are ordered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    start_ns: i64,
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
    let by_date = rows.chunk_by(|a, b| a.start_ns.div_euclid(DAY_NS) == b.start_ns.div_euclid(DAY_NS));
    for (number, rows) in by_date.flat_map(|of_date| of_date.chunks(FILE_ROWS)).enumerate() {
        let name = FileName::sealed(node, mark, number);
        let date = date_of(rows[0].start_ns)?;
        let file = NewFile { date, name, promotion: promotion.clone(), effort: Effort::Quick };
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

/// The rows in the order of their [`SortKey`]s. Traces are ordered, and then the rows of each: there are far fewer traces than rows.
fn sorted_rows(parts: &[Arc<Part>]) -> Result<Vec<Row>> {
    let keys = parts.iter().map(|part| Ok(KeyColumns::new(part.batch.starts()?, part.batch.trace_ids()?)));
    let keys: Vec<KeyColumns<'_>> = keys.collect::<Result<_>>()?;
    let mut traces = Traces::default();
    let mut trace_of = Vec::with_capacity(parts.iter().map(|part| part.batch.num_rows()).sum());
    for (part, keys) in parts.iter().zip(&keys) {
        trace_of.extend((0..part.batch.num_rows()).map(|row| traces.add(keys.key(row))));
    }
    let mut next = traces.first_rows();
    let mut sorted = vec![Row::default(); trace_of.len()];
    let mut trace_of = &trace_of[..];
    for (batch, (part, keys)) in parts.iter().zip(&keys).enumerate() {
        let (of_part, of_others) = trace_of.split_at(part.batch.num_rows());
        trace_of = of_others;
        for (row, trace) in of_part.iter().enumerate() {
            let place = &mut next[*trace as usize];
            let at = RowAt { batch: batch as u32, row: row as u32 };
            sorted[*place] = Row { start_ns: keys.key(row).start_ns, at };
            *place += 1;
        }
    }
    // Where each trace's next row would be is now where its last one is.
    next.sort_unstable();
    let mut first = 0;
    for end in next {
        sorted[first..end].sort_unstable();
        first = end;
    }
    Ok(sorted)
}

/// The traces of some rows, each as often as it has time buckets, numbered as they come.
#[derive(Default)]
struct Traces {
    numbers: HashMap<(i64, u128), u32, RandomState>,
    /// By number: the rows.
    rows: Vec<usize>,
    last: Option<((i64, u128), u32)>,
}

impl Traces {
    /// Counts a row and gives its trace's number.
    fn add(&mut self, key: SortKey) -> u32 {
        let key = (key.bucket, key.trace_id);
        // Spans of a trace mostly come one behind the other.
        let number = match self.last {
            Some((last, number)) if last == key => number,
            _ => *self.numbers.entry(key).or_insert(self.rows.len() as u32),
        };
        if number as usize == self.rows.len() {
            self.rows.push(0);
        }
        self.rows[number as usize] += 1;
        self.last = Some((key, number));
        number
    }

    /// By number: the place of the trace's first row when all are in order.
    fn first_rows(self) -> Vec<usize> {
        let mut traces: Vec<_> = self.numbers.into_iter().collect();
        traces.sort_unstable();
        let mut first_rows = vec![0; traces.len()];
        let mut row = 0;
        for (_, number) in traces {
            first_rows[number as usize] = row;
            row += self.rows[number as usize];
        }
        first_rows
    }
}

fn date_of(start_ns: i64) -> Result<String> {
    let date: Option<NaiveDate> =
        DateTime::from_timestamp(start_ns.div_euclid(1_000_000_000), 0).map(|time| time.date_naive());
    let date = date.ok_or_else(|| Error::internal(format!("{start_ns} ns is no date")))?;
    Ok(date.format("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::store::order::BUCKET_NS;
    use crate::store::testing::{TestSpan, decode, payload};

    #[test]
    fn rows_come_in_the_order_of_their_keys() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        for rows in [0, 1, 50, 400] {
            let mut span = |_| TestSpan {
                trace: random.random_range(1..9) << random.random_range(0..56),
                span: 1,
                start_ns: BUCKET_NS * random.random_range(1..4) + random.random_range(-3..3),
            };
            let batches = [rows, 0, 7].map(|rows| decode(&payload(&(0..rows).map(&mut span).collect::<Vec<_>>())));
            let parts =
                batches.map(|batch| Arc::new(Part::new(Lsn(1), batch.expect("a batch"), 1, 0).expect("a part")));
            let key_of = |at: &RowAt| {
                let batch = &parts[at.batch as usize].batch;
                KeyColumns::new(batch.starts().expect("starts"), batch.trace_ids().expect("ids")).key(at.row as usize)
            };
            let sorted = sorted_rows(&parts).expect("sorted");
            let mut expected: Vec<RowAt> = (0..parts.len())
                .flat_map(|batch| (0..parts[batch].batch.num_rows()).map(move |row| (batch, row)))
                .map(|(batch, row)| RowAt { batch: batch as u32, row: row as u32 })
                .collect();
            expected.sort_by_key(|at| (key_of(at), *at));
            assert_eq!(sorted.iter().map(|row| row.at).collect::<Vec<_>>(), expected);
            assert!(sorted.iter().all(|row| row.start_ns == key_of(&row.at).start_ns));
        }
    }

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
