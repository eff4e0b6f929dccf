//! Which spans have expired at one moment.

use std::ops::RangeInclusive;
use std::sync::Arc;

use datafusion::object_store::ObjectStore;
use datafusion::object_store::path::Path;

use super::matches::MatchesByDay;
use super::memory::{MatchMemory, Unknown, days_of};
use super::rules::{Cutoffs, Retention, deciding_days};
use crate::error::{Error, Result};
use crate::model::TraceId;
use crate::store::DataFile;
use crate::store::order::DAY_NS;
use crate::store::state::State;
use crate::store::trace_index::TraceHash;

/// Decides which spans of a snapshot are seen.
#[derive(Debug)]
pub struct Expiry {
    cutoffs: Cutoffs,
    matches: MatchesByDay,
    /// Files of which it is not known what they match: nothing is said about spans that they decide about.
    unknown: Vec<Unknown>,
}

impl Expiry {
    /// A span that starts at this or later is seen.
    pub fn all_from_ns(&self) -> i64 {
        self.cutoffs.all_from_ns()
    }

    /// A span that starts before this is not seen. Between the two, [`Self::is_seen`] decides.
    pub fn none_before_ns(&self) -> i64 {
        self.cutoffs.none_before_ns()
    }

    /// Decides about spans that come trace by trace, fastest.
    pub fn decide(&self) -> Decide<'_> {
        Decide { expiry: self, last: None }
    }

    fn mask(&self, trace_id: &[u8], start_ns: i64) -> Result<u16> {
        let days = deciding_days(start_ns);
        let decides = |file: &&Unknown| file.days.start() <= days.end() && file.days.end() >= days.start();
        if let Some(Unknown { why, .. }) = self.unknown.iter().find(decides) {
            let text = format!("it is not known which spans have expired: {why}");
            let error = Error::new(why.kind, text).with_source(why.clone());
            return Err(match &why.hint {
                Some(hint) => error.with_hint(hint.clone()),
                None => error,
            });
        }
        let trace = TraceHash::of(trace_id);
        let masks = days.map(|day| self.matches.mask(day as i32, trace));
        Ok(masks.fold(0, |all, mask| all | mask))
    }
}

/// Decides about one span after the other.
#[derive(Debug)]
pub struct Decide<'a> {
    expiry: &'a Expiry,
    /// The trace and day that were asked for last, and their cutoff.
    last: Option<([u8; TraceId::LEN], i64, i64)>,
}

impl Decide<'_> {
    /// Whether a span of the trace that starts then is seen.
    ///
    /// # Errors
    /// When a file that decides about it could not be read.
    pub fn is_seen(&mut self, trace_id: &[u8], start_ns: i64) -> Result<bool> {
        if start_ns >= self.expiry.all_from_ns() {
            return Ok(true);
        }
        Ok(start_ns >= self.expiry.none_before_ns() && start_ns >= self.cutoff_ns(trace_id, start_ns)?)
    }

    /// The start before which spans of the trace have expired, for those that start on the same day.
    pub(super) fn cutoff_ns(&mut self, trace_id: &[u8], start_ns: i64) -> Result<i64> {
        let day = start_ns.div_euclid(DAY_NS);
        if let Some((last_trace, last_day, cutoff_ns)) = &self.last
            && last_trace == trace_id
            && *last_day == day
        {
            return Ok(*cutoff_ns);
        }
        let cutoff_ns = self.expiry.cutoffs.of_mask(self.expiry.mask(trace_id, start_ns)?);
        self.last = trace_id.try_into().ok().map(|trace| (trace, day, cutoff_ns));
        Ok(cutoff_ns)
    }
}

/// What has expired at a time of what `state` shows; `None` when nothing can have. `only` are the files that will be asked about, where that is
/// not all that is shown. Must run on a Tokio runtime.
pub(crate) async fn expiry_of(
    retention: &Retention,
    at_unix_ms: i64,
    (state, only): (&State, Option<&[&DataFile]>),
    store: &Arc<dyn ObjectStore>,
    memory: &MatchMemory,
) -> Result<Option<Arc<Expiry>>> {
    let cutoffs = retention.cutoffs(at_unix_ms);
    let all_from_ns = cutoffs.all_from_ns();
    let oldest =
        state.files.iter().map(|file| file.min_start_ns).chain(state.parts.iter().map(|part| part.min_start_ns));
    if oldest.min().is_none_or(|oldest_ns| oldest_ns >= all_from_ns) {
        return Ok(None);
    }
    let mut expiry = Expiry { cutoffs, matches: MatchesByDay::default(), unknown: Vec::new() };
    if !retention.rules.is_empty() {
        // What starts on other days decides about no span between the two cutoffs.
        let first = *deciding_days(expiry.cutoffs.none_before_ns()).start();
        let last = *deciding_days(all_from_ns).end();
        let asked_about: Option<Vec<_>> =
            only.map(|files| files.iter().map(|file| days_of(file.min_start_ns, file.max_start_ns)).collect());
        let decides = |min_ns: i64, max_ns: i64| {
            let days = days_of(min_ns, max_ns);
            let meets = |from: i64, to: i64| *days.end() >= from && *days.start() <= to;
            let about = |asked: &RangeInclusive<i64>| meets(asked.start() - 1, asked.end() + 1);
            meets(first, last) && asked_about.as_ref().is_none_or(|asked| asked.iter().any(about))
        };
        let files = state.files.iter().filter(|file| decides(file.min_start_ns, file.max_start_ns));
        let of_files = memory.of_files(store, &state.files, &files.collect::<Vec<_>>(), &retention.rules).await?;
        let fresh = state.parts.iter().filter(|part| decides(part.min_start_ns, part.max_start_ns));
        let mut matches = of_files.matches;
        matches.extend(memory.of_parts(&fresh.collect::<Vec<_>>(), &retention.rules)?);
        (expiry.matches, expiry.unknown) = (MatchesByDay::new(matches), of_files.unknown);
    }
    Ok(Some(Arc::new(expiry)))
}

/// The files all of whose spans have expired, whatever their traces are.
pub(crate) fn wholly_expired(files: &[DataFile], cutoffs: &Cutoffs) -> Vec<Path> {
    let before_ns = cutoffs.none_before_ns();
    files.iter().filter(|file| file.max_start_ns < before_ns).map(|file| file.location.clone()).collect()
}

/// The files all of whose spans lie before more cutoffs than when they were looked at last, and before how many.
///
/// A file's spans pass a cutoff together, so that each is written anew once for each cutoff at most.
pub(crate) fn newly_past<'a>(
    files: &'a [DataFile],
    cutoffs: &Cutoffs,
    looked_at: impl Fn(&Path) -> usize,
) -> Vec<(&'a DataFile, usize)> {
    let past = files.iter().map(|file| (file, cutoffs.passed(file.max_start_ns)));
    past.filter(|(file, passed)| *passed > looked_at(&file.location)).collect()
}
