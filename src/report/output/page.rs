//! What outputs are made of: a run of a report with its rows and what they say.

use bytes::Bytes;
use chrono_tz::Tz;

use super::chart::TraceDrawing;
use crate::report::alert::Notice;
use crate::report::deadline::Deadline;
use crate::report::definition::{Output, OutputFormat, Report};
use crate::report::frame::Frame;
use crate::report::history::Run;

/// All that an output may show.
#[derive(Clone, Copy)]
pub struct Page<'a> {
    pub report: &'a Report,
    pub run: &'a Run,
    pub frame: &'a Frame,
    pub notices: &'a [Notice],
    /// What [`super::worst_traces`] found.
    pub traces: &'a [TraceDrawing],
    /// Where people read times.
    pub zone: Tz,
    /// Asked between files, charts and batches of rows.
    pub deadline: &'a Deadline,
}

/// A file of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    pub file_name: String,
    pub media_type: &'static str,
    pub bytes: Bytes,
}

impl Page<'_> {
    /// The name that the file of an output has.
    pub(super) fn file_name(&self, output: &Output) -> String {
        format!("{}.{}", self.report.name, ending(output.format))
    }

    /// What was asked with, without the ends of the window, which is told as one.
    pub(super) fn parameters(&self) -> impl Iterator<Item = &(String, String)> {
        let has_window = self.run.window_from_ms.is_some() && self.run.window_to_ms.is_some();
        self.run.parameters.iter().filter(move |(name, _)| !has_window || !matches!(name.as_str(), "from" | "to"))
    }

    /// The first file with every row.
    pub(super) fn file_of_all_rows(&self) -> Option<String> {
        let has_all = |output: &&Output| {
            matches!(output.format, OutputFormat::Csv | OutputFormat::Ndjson | OutputFormat::Parquet)
        };
        self.report.outputs.iter().find(has_all).map(|output| self.file_name(output))
    }

    /// Where rows are that are not shown.
    pub(super) fn where_all_are(&self) -> String {
        match self.file_of_all_rows() {
            Some(file) => format!("All are in {file}, beside this file."),
            None => "Add an output of the format csv or parquet to the report to keep all.".to_owned(),
        }
    }
}

fn ending(format: OutputFormat) -> &'static str {
    match format {
        OutputFormat::Markdown => "md",
        OutputFormat::Csv => "csv",
        OutputFormat::Ndjson => "ndjson",
        OutputFormat::Parquet => "parquet",
        OutputFormat::Html => "html",
        OutputFormat::Png => "png",
    }
}

/// What a receiver is told that a file is.
pub(super) fn media_type(format: OutputFormat) -> &'static str {
    match format {
        OutputFormat::Markdown => "text/markdown; charset=utf-8",
        OutputFormat::Csv => "text/csv; charset=utf-8; header=present",
        OutputFormat::Ndjson => "application/x-ndjson",
        OutputFormat::Parquet => "application/vnd.apache.parquet",
        OutputFormat::Html => "text/html; charset=utf-8",
        OutputFormat::Png => "image/png",
    }
}
