//! Rows are runs of reports and what happened to their alerts, as whoever runs reports tells.

use std::fmt;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListBuilder, RecordBatch, StringBuilder, StringViewArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::error::{DataFusionError, Result};

use crate::error::Result as OurResult;
use crate::pg::json_text_field;

/// A run of a report. Times are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportRun {
    pub id: String,
    pub report: String,
    pub report_version: String,
    pub cause: &'static str,
    pub due_ms: i64,
    pub started_ms: i64,
    pub ended_ms: Option<i64>,
    pub window_from_ms: Option<i64>,
    pub window_to_ms: Option<i64>,
    /// A JSON object.
    pub parameters: String,
    pub status: &'static str,
    pub rows: Option<u64>,
    pub error: Option<String>,
    pub result: Option<String>,
    /// A JSON array of objects.
    pub deliveries: String,
}

/// What happened to an alert in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportAlert {
    pub report: String,
    pub rule: String,
    pub severity: String,
    /// A JSON object.
    pub labels: String,
    pub state: &'static str,
    pub was: &'static str,
    pub since_ms: i64,
    pub at_ms: i64,
    pub run: String,
    pub value: Option<f64>,
    pub summary: String,
    pub exemplars: Vec<String>,
    pub silenced_by: Option<String>,
    /// Whether it was told.
    pub is_news: bool,
    /// Whether nothing has happened to it since.
    pub is_current: bool,
}

/// Tells of runs and alerts each time that a statement asks.
pub trait ReportTeller: fmt::Debug + Send + Sync {
    /// All runs, the first one first.
    fn runs(&self) -> OurResult<Vec<ReportRun>>;
    /// What happened to alerts, the first thing first.
    fn alerts(&self) -> OurResult<Vec<ReportAlert>>;
}

/// Who tells, once there is somebody.
#[derive(Debug, Default)]
pub(in crate::engine) struct Told(OnceLock<Arc<dyn ReportTeller>>);

impl Told {
    /// Asks `teller` from now on; only the first one is asked.
    pub fn ask(&self, teller: Arc<dyn ReportTeller>) {
        let _ = self.0.set(teller);
    }

    pub fn teller(&self) -> Option<Arc<dyn ReportTeller>> {
        self.0.get().cloned()
    }

    fn rows<T>(&self, ask: impl Fn(&dyn ReportTeller) -> OurResult<Vec<T>>) -> Result<Vec<T>> {
        let rows = self.0.get().map(|teller| ask(teller.as_ref())).transpose();
        rows.map(Option::unwrap_or_default).map_err(|error| DataFusionError::External(Box::new(error)))
    }
}

pub(super) fn runs_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        text("id"),
        text("report"),
        text("report_version"),
        text("cause"),
        number("due_ms", false),
        number("started_ms", false),
        number("ended_ms", true),
        number("window_from_ms", true),
        number("window_to_ms", true),
        json_text_field("parameters"),
        text("status"),
        number("rows", true),
        Field::new("error", DataType::Utf8View, true),
        Field::new("result", DataType::Utf8View, true),
        json_text_field("deliveries"),
    ]))
}

pub(super) fn runs(schema: &SchemaRef, told: &Told) -> Result<RecordBatch> {
    let of = told.rows(|teller| teller.runs())?;
    let columns = vec![
        texts(&of, |run| &run.id),
        texts(&of, |run| &run.report),
        texts(&of, |run| &run.report_version),
        texts(&of, |run| run.cause),
        numbers(&of, |run| Some(run.due_ms)),
        numbers(&of, |run| Some(run.started_ms)),
        numbers(&of, |run| run.ended_ms),
        numbers(&of, |run| run.window_from_ms),
        numbers(&of, |run| run.window_to_ms),
        texts(&of, |run| &run.parameters),
        texts(&of, |run| run.status),
        numbers(&of, |run| run.rows.map(|rows| i64::try_from(rows).unwrap_or(i64::MAX))),
        maybe_texts(&of, |run| run.error.as_deref()),
        maybe_texts(&of, |run| run.result.as_deref()),
        texts(&of, |run| &run.deliveries),
    ];
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

pub(super) fn alerts_schema() -> SchemaRef {
    let traces = Field::new_list_field(DataType::Utf8, true);
    Arc::new(Schema::new(vec![
        text("report"),
        text("rule"),
        text("severity"),
        json_text_field("labels"),
        text("state"),
        text("was"),
        number("since_ms", false),
        number("at_ms", false),
        text("run"),
        Field::new("value", DataType::Float64, true),
        text("summary"),
        Field::new("exemplars", DataType::List(Arc::new(traces)), false),
        Field::new("silenced_by", DataType::Utf8View, true),
        Field::new("told", DataType::Boolean, false),
        Field::new("is_current", DataType::Boolean, false),
    ]))
}

pub(super) fn alerts(schema: &SchemaRef, told: &Told) -> Result<RecordBatch> {
    let of = told.rows(|teller| teller.alerts())?;
    let mut exemplars = ListBuilder::new(StringBuilder::new());
    for alert in &of {
        exemplars.append_value(alert.exemplars.iter().map(Some));
    }
    let columns: Vec<ArrayRef> = vec![
        texts(&of, |alert| &alert.report),
        texts(&of, |alert| &alert.rule),
        texts(&of, |alert| &alert.severity),
        texts(&of, |alert| &alert.labels),
        texts(&of, |alert| alert.state),
        texts(&of, |alert| alert.was),
        numbers(&of, |alert| Some(alert.since_ms)),
        numbers(&of, |alert| Some(alert.at_ms)),
        texts(&of, |alert| &alert.run),
        Arc::new(of.iter().map(|alert| alert.value).collect::<Float64Array>()),
        texts(&of, |alert| &alert.summary),
        Arc::new(exemplars.finish()),
        maybe_texts(&of, |alert| alert.silenced_by.as_deref()),
        Arc::new(of.iter().map(|alert| Some(alert.is_news)).collect::<BooleanArray>()),
        Arc::new(of.iter().map(|alert| Some(alert.is_current)).collect::<BooleanArray>()),
    ];
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8View, false)
}

fn number(name: &str, nullable: bool) -> Field {
    Field::new(name, DataType::Int64, nullable)
}

fn texts<T>(rows: &[T], of: impl Fn(&T) -> &str) -> ArrayRef {
    Arc::new(StringViewArray::from_iter_values(rows.iter().map(of)))
}

fn maybe_texts<T>(rows: &[T], of: impl Fn(&T) -> Option<&str>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<StringViewArray>())
}

fn numbers<T>(rows: &[T], of: impl Fn(&T) -> Option<i64>) -> ArrayRef {
    Arc::new(rows.iter().map(of).collect::<Int64Array>())
}
