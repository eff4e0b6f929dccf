//! The traces that match rules, among some spans.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

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

    /// The days that there are entries of, with their places.
    fn days(&self) -> impl Iterator<Item = (i32, Range<usize>)> {
        let mut from = 0;
        std::iter::from_fn(move || {
            let (day, _) = *self.keys.get(from)?;
            let of_day = from..from + self.keys[from..].partition_point(|(other, _)| *other == day);
            from = of_day.end;
            Some((day, of_day))
        })
    }

    /// The rules that spans of the trace matched on the day whose entries these are.
    fn mask(&self, of_day: &Range<usize>, trace: TraceHash) -> u16 {
        let found = self.keys[of_day.clone()].binary_search_by_key(&trace, |(_, trace)| *trace);
        found.map_or(0, |at| self.masks[of_day.start + at])
    }
}

/// Matches, and the places of their entries of one day.
type OfDay = (Arc<Matches>, Range<usize>);

/// The matches of all that is in sight, by day: a file has the spans of one, so that a question goes to few of many files.
#[derive(Debug, Default)]
pub(super) struct MatchesByDay(HashMap<i32, Vec<OfDay>>);

impl MatchesByDay {
    pub fn new(all: Vec<Arc<Matches>>) -> Self {
        let mut by_day: HashMap<i32, Vec<OfDay>> = HashMap::new();
        for matches in all {
            for (day, of_day) in matches.days() {
                by_day.entry(day).or_default().push((matches.clone(), of_day));
            }
        }
        Self(by_day)
    }

    /// The rules that spans of the trace matched that day, a bit a rule.
    pub fn mask(&self, day: i32, trace: TraceHash) -> u16 {
        let of_day = self.0.get(&day).into_iter().flatten();
        of_day.fold(0, |mask, (matches, of_day)| mask | matches.mask(of_day, trace))
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn matches_by_day_are_those_of_every_file() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let hash = |trace: u8| TraceHash::of(&[trace; 16]);
        for files in [0, 1, 30] {
            let (mut all, mut expected) = (Vec::new(), BTreeMap::<(i32, u8), u16>::new());
            for _ in 0..files {
                let mut matching = Matching::new(&[]);
                for _ in 0..random.random_range(0..40) {
                    let (day, trace) = (random.random_range(-2..3), random.random_range(0..20));
                    let mask = 1 << random.random_range(0..16);
                    matching.found.push(((day, hash(trace)), mask));
                    *expected.entry((day, trace)).or_default() |= mask;
                }
                all.push(Arc::new(matching.finish()));
            }
            let by_day = MatchesByDay::new(all);
            for (day, trace) in (-3..4).flat_map(|day| (0..20).map(move |trace| (day, trace))) {
                let expected = expected.get(&(day, trace)).copied().unwrap_or(0);
                assert_eq!(by_day.mask(day, hash(trace)), expected, "day {day}, trace {trace}");
            }
        }
    }
}
