//! The account of an import: what came in, and what was refused and why.

use std::path::PathBuf;
use std::time::Duration;

use super::records::Place;
use super::spans::TraceCount;
use crate::cli::output::{say, tell};
use crate::error::Result;
use crate::render::count;
use crate::render::sanitize;

/// Refusals that are listed; the rest is counted.
const LISTED: usize = 20;

/// One thing that was not taken.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) file: PathBuf,
    pub(super) place: Place,
    /// How many spans of the record; `None` for the whole record.
    pub(super) spans: Option<u64>,
    pub(super) why: String,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) spans: u64,
    pub(super) traces: TraceCount,
    records: u64,
    refused_records: u64,
    refused_spans: u64,
    listed: Vec<Refusal>,
    unlisted: u64,
}

impl Ledger {
    /// Books a record of which so many spans were taken.
    pub(super) fn take(&mut self, spans: u64) {
        self.records += 1;
        self.spans += spans;
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        match refusal.spans {
            Some(spans) => self.refused_spans += spans,
            None => self.refused_records += 1,
        }
        if self.listed.len() < LISTED {
            self.listed.push(refusal);
        } else {
            self.unlisted += 1;
        }
    }

    pub(super) fn refused_nothing(&self) -> bool {
        self.listed.is_empty()
    }

    pub(super) fn print(&self, elapsed: Duration) -> Result<()> {
        for refusal in &self.listed {
            let what = match refusal.spans {
                Some(spans) => format!("{} refused", count(spans, "span")),
                None => "refused".to_owned(),
            };
            // The store's own words count the spans too.
            let why = refusal.why.strip_prefix(&format!("{what}: ")).unwrap_or(&refusal.why);
            tell!("{}: {}: {what}: {}", refusal.file.display(), refusal.place, sanitize(why));
        }
        if self.unlisted > 0 {
            tell!("… and {} more", count(self.unlisted, "refusal"));
        }
        let seconds = elapsed.as_secs_f64();
        let about = if self.traces.is_exact() { "" } else { "about " };
        say!(
            "{} in {about}{} from {} in {seconds:.1} s: {:.0} spans/s",
            count(self.spans, "span"),
            count(self.traces.estimate(), "trace"),
            count(self.records, "record"),
            self.spans as f64 / seconds.max(1e-9)
        )?;
        if !self.refused_nothing() {
            let (records, spans) = (count(self.refused_records, "record"), count(self.refused_spans, "span"));
            say!("refused: {records} and {spans} of others")?;
        }
        Ok(())
    }
}
