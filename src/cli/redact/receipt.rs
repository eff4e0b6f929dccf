//! The receipt: what was taken out of the table, when and by which choice.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use tempfile::NamedTempFile;

use crate::cli::exit;
use crate::cli::output::beside;
use crate::error::{Error, Result};
use crate::report::RedactedReports;
use crate::store::{FoundSpans, RedactReport};

/// Which spans were meant.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum By {
    TraceIds(Vec<String>),
    #[serde(rename = "where")]
    Predicate(String),
}

/// What a receipt says.
#[derive(Debug, Serialize)]
pub(super) struct Receipt {
    /// The table's log names it in the commit; a dry run has none.
    id: Option<String>,
    time: String,
    dry_run: bool,
    by: By,
    spans: u64,
    traces: u64,
    /// Whether `traces` is the exact number and not a least one.
    traces_are_exact: bool,
    files: Vec<File>,
    table_version_before: Option<u64>,
    table_version_after: Option<u64>,
    /// Files that had left the table and were deleted, and that wait to be.
    deleted_files: u64,
    waiting_files: u64,
    /// Files in quarantine, which were not looked into.
    quarantined_files: u64,
    reports: Reports,
}

/// What reports had kept of the traces.
#[derive(Debug, Serialize)]
struct Reports {
    recorded_texts: u64,
    journal_lines: u64,
    results: u64,
    /// Of these, those that are pictures only, which cannot be searched.
    picture_only_results: u64,
}

impl From<RedactedReports> for Reports {
    fn from(of: RedactedReports) -> Self {
        Self {
            recorded_texts: of.texts,
            journal_lines: of.lines,
            results: of.results,
            picture_only_results: of.pictures,
        }
    }
}

#[derive(Debug, Serialize)]
struct File {
    path: String,
    rows: u64,
    redacted_rows: u64,
    replaced_by: Option<String>,
}

impl Receipt {
    pub(super) fn of_dry_run(by: By, found: &FoundSpans, quarantined_files: u64, reports: RedactedReports) -> Self {
        let files = found.files.iter().map(|(file, redacted_rows)| File {
            path: file.location.to_string(),
            rows: file.rows,
            redacted_rows: *redacted_rows,
            replaced_by: None,
        });
        Self {
            id: None,
            time: now(),
            dry_run: true,
            by,
            spans: found.spans,
            traces: found.traces(),
            traces_are_exact: found.traces_are_all(),
            files: files.collect(),
            table_version_before: None,
            table_version_after: None,
            deleted_files: 0,
            waiting_files: 0,
            quarantined_files,
            reports: reports.into(),
        }
    }

    pub(super) fn of_redaction(id: String, by: By, report: &RedactReport, reports: RedactedReports) -> Self {
        let files = report.files.iter().map(|file| File {
            path: file.path.clone(),
            rows: file.rows,
            redacted_rows: file.redacted_rows,
            replaced_by: file.replaced_by.clone(),
        });
        Self {
            id: Some(id),
            time: now(),
            dry_run: false,
            by,
            spans: report.spans,
            traces: report.traces,
            traces_are_exact: report.traces_are_all,
            files: files.collect(),
            table_version_before: report.version_before,
            table_version_after: report.version_after,
            deleted_files: report.deleted_files,
            waiting_files: report.waiting_files,
            quarantined_files: report.quarantined_files,
            reports: reports.into(),
        }
    }
}

fn now() -> String {
    chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true)
}

/// A receipt's place, made sure of before anything is changed.
#[derive(Debug)]
pub(super) struct NewReceipt {
    path: PathBuf,
    partial: NamedTempFile,
}

impl NewReceipt {
    /// # Errors
    /// When the file is there already: a receipt is not written over.
    pub(super) fn begin(path: &Path) -> Result<Self> {
        if path.exists() {
            let error = Error::bad_input(format!("{} is there already: a receipt is a new file", path.display()));
            return Err(exit::usage(error.with_hint("give another --receipt")));
        }
        let partial = beside(path).map_err(|error| Error::io(format!("cannot write {}", path.display()), error))?;
        Ok(Self { path: path.to_owned(), partial })
    }

    pub(super) fn write(mut self, receipt: &Receipt) -> Result<()> {
        let name = format!("the work is done, but its receipt {} cannot be written", self.path.display());
        let failed = |error| Error::io(&name, error);
        let text = serde_json::to_string_pretty(receipt).map_err(|error| Error::internal(error.to_string()))?;
        self.partial.write_all((text + "\n").as_bytes()).map_err(failed)?;
        self.partial.as_file().sync_all().map_err(failed)?;
        self.partial.persist_noclobber(&self.path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}
