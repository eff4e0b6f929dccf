//! The account of an import: what came in, and what was refused and why.

use std::path::PathBuf;
use std::time::Duration;

use indicatif::ProgressBar;

use super::records::Place;
use super::spans::TraceCount;
use crate::cli::output::{say, tell};
use crate::error::Result;
use crate::render::count;
use crate::render::sanitize;

/// One thing that was not taken.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) file: PathBuf,
    pub(super) place: Place,
    /// How many spans of the record; `None` for the whole record.
    pub(super) spans: Option<u64>,
    pub(super) why: String,
}

#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) spans: u64,
    pub(super) traces: TraceCount,
    records: u64,
    refused_records: u64,
    refused_spans: u64,
    /// Steps aside for what is told meanwhile.
    bar: ProgressBar,
}

impl Ledger {
    pub(super) fn new(bar: ProgressBar) -> Self {
        Self { spans: 0, traces: TraceCount::default(), records: 0, refused_records: 0, refused_spans: 0, bar }
    }

    /// Books a record of which so many spans were taken.
    pub(super) fn take(&mut self, spans: u64) {
        self.records += 1;
        self.spans += spans;
    }

    /// Books what was not taken, and tells it.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        let what = match refusal.spans {
            Some(spans) => {
                self.refused_spans += spans;
                format!("{} refused", count(spans, "span"))
            }
            None => {
                self.refused_records += 1;
                "refused".to_owned()
            }
        };
        // The store's own words count the spans too.
        let why = refusal.why.strip_prefix(&format!("{what}: ")).unwrap_or(&refusal.why);
        let line = format!("{}: {}: {what}: {}", refusal.file.display(), refusal.place, sanitize(why));
        self.bar.suspend(|| tell!("{line}"));
    }

    pub(super) fn refused_nothing(&self) -> bool {
        self.refused_records + self.refused_spans == 0
    }

    pub(super) fn print(&self, elapsed: Duration) -> Result<()> {
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
            say!("refused: {records}, and {spans} of other records")?;
        }
        Ok(())
    }
}
