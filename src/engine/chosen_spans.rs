//! Statements about the spans that a predicate chooses, for those who write spans elsewhere. Their texts are `schema/export`.

use super::predicate::{check_is_closed, replaced};
use super::session::Session;
use super::statement::Statement;
use crate::error::{Error, Result};
use crate::model::TraceId;

/// Which spans.
#[derive(Debug, Clone, Default)]
pub struct ChosenSpans {
    pub trace: Option<TraceId>,
    /// When they begin, at the earliest, in nanoseconds since 1970.
    pub from_ns: Option<i64>,
    /// Before when they begin.
    pub to_ns: Option<i64>,
    /// What says of a span that it is one: SQL over the columns of `traces.spans`, as behind `WHERE`.
    pub predicate: Option<String>,
}

/// In which form the spans come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanRows {
    /// The columns of `traces.spans`, in any order.
    Any,
    /// The same, trace by trace.
    ByTrace,
    /// The same in order of their start; longer ones first.
    ByTime,
    /// Texts of folded stacks.
    Folded,
}

impl SpanRows {
    fn statement(self) -> &'static str {
        match self {
            Self::Any => include_str!("../../schema/export/spans.sql"),
            Self::ByTrace => include_str!("../../schema/export/spans_by_trace.sql"),
            Self::ByTime => include_str!("../../schema/export/spans_by_time.sql"),
            Self::Folded => include_str!("../../schema/export/folded.sql"),
        }
    }
}

/// What stands for the predicate in a statement's text.
const PLACE: &str = ":predicate";

impl Session {
    /// Prepares the statement that gives the chosen spans.
    ///
    /// # Errors
    /// [`crate::error::Kind::BadInput`], with the place in the predicate, when it is none.
    pub async fn prepare_chosen(&self, chosen: &ChosenSpans, rows: SpanRows) -> Result<Statement> {
        let given = chosen.predicate.as_deref().unwrap_or("true");
        check_is_closed(given)?;
        let (before, after) = rows.statement().split_once(PLACE).unwrap_or((rows.statement(), ""));
        let before = format!("{before}{}(\n", chosen.conditions());
        let script = format!("{before}{given}\n){after}");
        let prepared = self.prepare(&script).await.map_err(|error| replaced(error, &before, given))?;
        prepared.into_iter().next().ok_or_else(|| Error::internal("a statement about spans is empty"))
    }
}

impl ChosenSpans {
    /// The conditions beside the predicate.
    fn conditions(&self) -> String {
        let instant = |ns: i64| chrono::DateTime::from_timestamp_nanos(ns).to_rfc3339();
        let trace = self.trace.map(|id| format!("trace_id = '{id}' AND "));
        let from = self.from_ns.map(|ns| format!("timestamp >= '{}' AND ", instant(ns)));
        let to = self.to_ns.map(|ns| format!("timestamp < '{}' AND ", instant(ns)));
        [trace, from, to].into_iter().flatten().collect()
    }
}
