//! The account of an import: what came in, and what was refused and why.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::ProgressBar;
use serde_json::json;

use super::record::Place;
use super::spans::TraceCount;
use crate::cli::output::{say, tell};
use crate::error::{Error, Result};
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
    known_records: u64,
    /// Where refusals are written beside being told.
    refusals: Option<(PathBuf, File)>,
    /// Why they are not, from some moment on.
    lost_refusals: Option<Error>,
    /// Steps aside for what is told meanwhile.
    bar: ProgressBar,
}

impl Ledger {
    /// An empty account; `refusals` is a new file for what is refused.
    pub(super) fn new(bar: ProgressBar, refusals: Option<&Path>) -> Result<Self> {
        let refusals = refusals.map(|path| {
            let file = File::create(path);
            file.map(|file| (path.to_owned(), file))
                .map_err(|error| Error::io(format!("cannot write {}", path.display()), error))
        });
        Ok(Self {
            spans: 0,
            traces: TraceCount::default(),
            records: 0,
            refused_records: 0,
            refused_spans: 0,
            known_records: 0,
            refusals: refusals.transpose()?,
            lost_refusals: None,
            bar,
        })
    }

    /// Books a record that was imported before.
    pub(super) fn leave_out(&mut self) {
        self.known_records += 1;
    }

    /// Books a record of which so many spans were taken.
    pub(super) fn take(&mut self, spans: u64) {
        self.records += 1;
        self.spans += spans;
        self.bar.set_message(count(self.spans, "span"));
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
        self.write(&refusal, why);
        let line = format!("{}: {}: {what}: {}", refusal.file.display(), refusal.place, sanitize(why));
        self.bar.suspend(|| tell!("{line}"));
    }

    /// Writes a refusal as a line of JSON.
    fn write(&mut self, refusal: &Refusal, why: &str) {
        let Some((path, file)) = &mut self.refusals else { return };
        let place = &refusal.place;
        let mut line =
            json!({"file": refusal.file.display().to_string(), "place": place.to_string(), "record": place.record});
        let numbers = [("line", place.line), ("row", place.row), ("spans", refusal.spans)];
        for (name, number) in numbers {
            if let Some(number) = number {
                line[name] = number.into();
            }
        }
        line["offset"] = place.offset.into();
        line["reason"] = why.into();
        if let Err(error) = writeln!(file, "{line}") {
            self.lost_refusals = Some(Error::io(format!("cannot write {}", path.display()), error));
            self.refusals = None;
        }
    }

    pub(super) fn refused_nothing(&self) -> bool {
        self.refused_records + self.refused_spans == 0
    }

    pub(super) fn print(&mut self, elapsed: Duration) -> Result<()> {
        let seconds = elapsed.as_secs_f64();
        let about = if self.traces.is_exact() { "" } else { "about " };
        say!(
            "{} in {about}{} from {} in {seconds:.1} s: {:.0} spans/s",
            count(self.spans, "span"),
            count(self.traces.estimate(), "trace"),
            count(self.records, "record"),
            self.spans as f64 / seconds.max(1e-9)
        )?;
        if self.known_records > 0 {
            let known = count(self.known_records, "record");
            say!("{known} imported before and left out; --again imports them again")?;
        }
        if !self.refused_nothing() {
            let (records, spans) = (count(self.refused_records, "record"), count(self.refused_spans, "span"));
            say!("refused: {records}, and {spans} of other records")?;
        }
        self.lost_refusals.take().map_or(Ok(()), Err)
    }
}
