//! Fresh spans: what is in the log and not yet in the table, as batches in the log's order.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::compute::{max, min};

use super::wal::Lsn;
use crate::error::{Error, Result};
use crate::model::SpanBatch;

/// A batch of fresh spans: one request's, or several neighbours' merged.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub first: Lsn,
    pub last: Lsn,
    pub batch: SpanBatch,
    /// What the part takes of the budget, in its unit.
    pub charged: u32,
    /// When the oldest of its requests came.
    pub received_unix_ms: i64,
    pub min_start_ns: i64,
    pub max_start_ns: i64,
}

impl Part {
    /// A part of one request.
    ///
    /// # Errors
    /// An internal error when the batch has no start times.
    pub(crate) fn new(lsn: Lsn, batch: SpanBatch, charged: u32, received_unix_ms: i64) -> Result<Self> {
        let starts = batch.starts()?;
        let (min_start_ns, max_start_ns) = (min(starts).unwrap_or(i64::MAX), max(starts).unwrap_or(i64::MIN));
        Ok(Self { first: lsn, last: lsn, batch, charged, received_unix_ms, min_start_ns, max_start_ns })
    }

    /// Joins neighbours, in order, into one part.
    pub(crate) fn merge(parts: &[Arc<Part>]) -> Result<Self> {
        let (Some(first), Some(last)) = (parts.first(), parts.last()) else {
            return Err(Error::internal("no parts to merge"));
        };
        let batches: Vec<&SpanBatch> = parts.iter().map(|part| &part.batch).collect();
        let batch = SpanBatch::concat(&batches)?;
        Ok(Self {
            first: first.first,
            last: last.last,
            batch,
            charged: parts.iter().map(|part| part.charged).sum(),
            received_unix_ms: parts.iter().map(|part| part.received_unix_ms).min().unwrap_or_default(),
            min_start_ns: parts.iter().map(|part| part.min_start_ns).min().unwrap_or(i64::MAX),
            max_start_ns: parts.iter().map(|part| part.max_start_ns).max().unwrap_or(i64::MIN),
        })
    }
}

/// How many small neighbours are merged at once: more would let scans drag many batches, fewer would copy each row more often.
const MERGE_PARTS: usize = 16;
/// Parts of this many rows or more are left alone: a scan handles them as well as larger ones.
const SMALL_ROWS: usize = 4096;
/// A merged part has at least this many times the rows of its largest part, so that a row is copied a logarithmic number of times.
const LEAST_GROWTH: usize = 8;

/// Which neighbours among parts of these `rows` to merge next.
pub(crate) fn choose_merge(rows: &[usize]) -> Option<Range<usize>> {
    let pays = |run: &[usize]| {
        let most = run.iter().copied().max().unwrap_or(0);
        most < SMALL_ROWS && run.iter().sum::<usize>() >= LEAST_GROWTH * most
    };
    let start = rows.windows(MERGE_PARTS).position(pays)?;
    Some(start..start + MERGE_PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merging_waits_for_enough_small_neighbours() {
        let cases: &[(Vec<usize>, Option<Range<usize>>)] = &[
            (vec![], None),
            (vec![1; 15], None),
            (vec![1; 16], Some(0..16)),
            (vec![1; 40], Some(0..16)),
            ([vec![9000], vec![1; 16]].concat(), Some(1..17)),
            ([vec![1; 15], vec![9000], vec![1; 15]].concat(), None),
            ([vec![1; 8], vec![300; 8]].concat(), Some(0..16)),
            ([vec![1; 9], vec![300; 7]].concat(), None),
            ([vec![16], vec![1; 15]].concat(), None),
            ([vec![16], vec![1; 16]].concat(), Some(1..17)),
            (vec![5000; 100], None),
        ];
        for (rows, expected) in cases {
            assert_eq!(choose_merge(rows), *expected, "{rows:?}");
        }
    }

    #[test]
    fn parts_stay_few_and_copies_too_whatever_the_sizes() {
        for size in [1, 10, 100, 255, 256, 1000, 4095, 4096] {
            let (mut parts, mut copied, mut total) = (Vec::new(), 0, 0);
            while total < 500_000 {
                parts.push(size);
                total += size;
                while let Some(run) = choose_merge(&parts) {
                    let merged: usize = parts[run.clone()].iter().sum();
                    copied += merged;
                    parts.splice(run, [merged]);
                }
            }
            assert!(parts.len() <= 500_000 / 4096 + 6 * MERGE_PARTS, "{size}: {}", parts.len());
            assert!(copied <= 5 * total, "{size}: {copied} of {total}");
        }
    }
}
