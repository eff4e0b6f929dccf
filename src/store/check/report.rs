//! What a check found, and what is lost with it.

use chrono::DateTime;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::model::SpanBatch;
use crate::model::schema::{SERVICE_NAME, START_NS};
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;

/// What a data directory holds, as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    pub log: LogFigures,
    pub table: TableFigures,
    /// What is wrong. Nothing else is.
    pub findings: Vec<Finding>,
}

/// The write-ahead log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LogFigures {
    pub segments: u64,
    pub bytes: u64,
    /// Whole requests.
    pub requests: u64,
    /// Of these, the ones that the table does not have yet.
    pub fresh_requests: u64,
    pub fresh_spans: u64,
    /// Bytes of an unfinished write at the end, which the next start cuts off: nobody was promised what it held.
    pub unfinished_bytes: u64,
}

/// The table.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TableFigures {
    pub version: Option<u64>,
    pub files: u64,
    pub bytes: u64,
    /// As the table's log has it.
    pub spans: u64,
    /// Files whose bytes were compared with a sum that was noted when they were written.
    pub summed_files: u64,
    /// Files whose trace index agrees with their rows.
    pub indexed_files: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub part: Part,
    /// Below the data directory, or the table.
    pub path: String,
    /// Where in the file, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    pub what: String,
    pub lost: Loss,
}

/// Of what something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    Log,
    /// The table's own log: which files are in it.
    TableLog,
    DataFile,
    /// The rows are sound, and found more slowly.
    TraceIndex,
}

/// What cannot be read any more, as far as can be told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Loss {
    pub requests: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spans: Option<u64>,
    /// When the spans start, at the earliest and the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// The services that can still be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<String>,
}

/// The most services that are named.
const MOST_SERVICES: usize = 20;

impl CheckReport {
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

impl Finding {
    pub(super) fn new(part: Part, path: impl ToString, what: impl Into<String>) -> Self {
        Self { part, path: path.to_string(), offset: None, what: what.into(), lost: Loss::default() }
    }

    pub(super) fn at(self, offset: u64) -> Self {
        Self { offset: Some(offset), ..self }
    }

    pub(super) fn losing(self, lost: Loss) -> Self {
        Self { lost, ..self }
    }
}

impl Loss {
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Sets the times, in nanoseconds since 1970.
    pub(super) fn between(self, (from_ns, until_ns): (i64, i64)) -> Self {
        let text = |ns: i64| DateTime::from_timestamp_nanos(ns).to_rfc3339();
        match from_ns <= until_ns && from_ns > i64::MIN && until_ns < i64::MAX {
            true => Self { from: Some(text(from_ns)), until: Some(text(until_ns)), ..self },
            false => self,
        }
    }

    /// Adds the names of services, each once and not too many.
    pub(super) fn add_services<'a>(&mut self, services: impl IntoIterator<Item = &'a str>) {
        for service in services {
            if self.services.len() < MOST_SERVICES && !self.services.iter().any(|known| known == service) {
                self.services.push(service.to_owned());
            }
        }
    }

    /// What was in spans that can still be read, though perhaps not as they were.
    pub(super) fn of_spans(batch: &SpanBatch) -> Result<Self> {
        let rows = batch.to_record_batch()?;
        let mut lost = Self { spans: Some(rows.num_rows() as u64), ..Self::default() };
        lost.add_services(services(&rows));
        let starts = rows.column_by_name(START_NS).and_then(|column| column.as_primitive_opt::<Int64Type>());
        let starts = starts.ok_or_else(|| Error::internal("a batch of spans lacks its start times"))?;
        let ends = starts.values().iter().min().zip(starts.values().iter().max());
        Ok(ends.map_or(lost.clone(), |(from, until)| lost.between((*from, *until))))
    }
}

/// The services of some rows.
pub(super) fn services(rows: &RecordBatch) -> Vec<&str> {
    let column = rows.column_by_name(SERVICE_NAME).and_then(|column| column.as_string_view_opt());
    let mut services: Vec<&str> = column.into_iter().flat_map(|column| column.iter().flatten()).collect();
    services.sort_unstable();
    services.dedup();
    services
}
