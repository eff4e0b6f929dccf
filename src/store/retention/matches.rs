//! The traces that match rules, among some spans.

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;

use super::rules::RetentionRule;
use crate::error::{Error, Result};
use crate::model::schema::{DURATION_NS, SERVICE_NAME, START_NS, STATUS_CODE, TRACE_ID};
use crate::store::order::DAY_NS;
use crate::store::trace_index::TraceHash;

/// The columns that [`Matching::add`] reads.
pub(super) const COLUMNS: [&str; 5] = [START_NS, DURATION_NS, TRACE_ID, SERVICE_NAME, STATUS_CODE];
/// Matches that are put together first.
const MERGE_FROM: usize = 1 << 16;
/// The status of a span that is an error.
const ERROR: &str = "ERROR";

/// The traces of some spans that match rules, each with the rules that a span of it matched on one day. Two traces with one
/// 64-bit hash count as one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matches {
    /// (day, trace), ascending.
    keys: Vec<(i32, TraceHash)>,
    masks: Vec<u16>,
}

impl Matches {
    /// What an entry takes of memory.
    const ENTRY_BYTES: u64 = (size_of::<(i32, TraceHash)>() + size_of::<u16>()) as u64;

    pub fn memory_bytes(&self) -> u64 {
        self.keys.len() as u64 * Self::ENTRY_BYTES
    }

    /// The rules that spans of the trace matched that day, a bit a rule.
    pub fn mask(&self, day: i32, trace: TraceHash) -> u16 {
        self.keys.binary_search(&(day, trace)).map_or(0, |at| self.masks[at])
    }
}

/// Matches that are being gathered.
#[derive(Debug)]
pub(super) struct Matching<'a> {
    rules: &'a [RetentionRule],
    found: Vec<((i32, TraceHash), u16)>,
    /// How many of them were there when they were put together last.
    merged: usize,
}

impl<'a> Matching<'a> {
    pub fn new(rules: &'a [RetentionRule]) -> Self {
        Self { rules, found: Vec::new(), merged: 0 }
    }

    /// Looks at spans; the batch has [`COLUMNS`].
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        each_mask(self.rules, batch, |mask, trace, start_ns| {
            if mask != 0 {
                let day = start_ns.div_euclid(DAY_NS) as i32;
                self.found.push(((day, TraceHash::of(trace)), mask));
            }
        })?;
        // Spans of one trace are many: what has been found is put together before it takes much more than it will in the end.
        if self.found.len() >= MERGE_FROM.max(2 * self.merged) {
            self.merge();
        }
        Ok(())
    }

    fn merge(&mut self) {
        self.found.sort_unstable();
        self.found.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            kept.1 |= if same { next.1 } else { 0 };
            same
        });
        self.merged = self.found.len();
    }

    pub fn finish(mut self) -> Matches {
        self.merge();
        let (keys, masks) = self.found.into_iter().unzip();
        Matches { keys, masks }
    }
}

/// Tells of each span which rules it matches, a bit a rule, with its trace and start. The batch has [`COLUMNS`].
pub(super) fn each_mask(
    rules: &[RetentionRule],
    batch: &RecordBatch,
    mut take: impl FnMut(u16, &[u8], i64),
) -> Result<()> {
    let lacks = || Error::internal("a batch of spans lacks what retention rules are about");
    let numbers =
        |name| batch.column_by_name(name).and_then(|column| column.as_primitive_opt::<Int64Type>()).ok_or_else(lacks);
    let texts = |name| batch.column_by_name(name).and_then(|column| column.as_string_view_opt()).ok_or_else(lacks);
    let (starts, durations) = (numbers(START_NS)?, numbers(DURATION_NS)?);
    let (services, statuses) = (texts(SERVICE_NAME)?, texts(STATUS_CODE)?);
    let traces = batch.column_by_name(TRACE_ID).and_then(|column| column.as_fixed_size_binary_opt());
    let traces = traces.ok_or_else(lacks)?;
    for row in 0..batch.num_rows() {
        let matches = |rule: &RetentionRule| {
            rule.slower_than.is_none_or(|limit| durations.value(row) as i128 > limit.as_nanos() as i128)
                && (!rule.errors || statuses.value(row) == ERROR)
                && rule.service.as_deref().is_none_or(|service| services.value(row) == service)
        };
        let bits = rules.iter().enumerate().map(|(bit, rule)| u16::from(matches(rule)) << bit);
        let mask = bits.fold(0, |mask, bit| mask | bit);
        take(mask, traces.value(row), starts.value(row));
    }
    Ok(())
}
