//! The traces that a waterfall draws: whose ids a result has, and their spans.

use std::collections::BTreeSet;

use datafusion::common::ScalarValue;

use super::chart::{DrawnSpan, TraceDrawing};
use crate::engine::{Outcome, Session};
use crate::error::{Error, Result};
use crate::report::definition::{ChartKind, Report};
use crate::report::frame::Frame;

/// Traces in one waterfall.
pub(super) const MAX_TRACES: usize = 3;
/// Hex digits of a trace id.
const ID_DIGITS: usize = 32;
/// What the spans of one trace, up to the limit in the query, may take.
const MAX_BYTES: usize = 64 << 20;
const WORST_TRACE: &str = include_str!("queries/worst_trace.sql");

/// The ids of the traces that the waterfalls of a report draw: of each the first few of its column, each once.
pub fn wanted_traces(report: &Report, frame: &Frame) -> Vec<String> {
    let waterfalls = report.charts.iter().filter(|chart| chart.kind == ChartKind::Waterfall);
    let ids = waterfalls.flat_map(|chart| ids_of(frame, &chart.x).unwrap_or_default());
    let mut known = BTreeSet::new();
    ids.filter(|id| known.insert(id.clone())).collect()
}

/// Asks for the spans of traces. A trace that is not there has no drawing.
///
/// # Errors
/// Those of the statements: a time limit, memory.
pub async fn worst_traces(session: &Session, ids: &[String]) -> Result<Vec<TraceDrawing>> {
    let mut drawings = Vec::new();
    for id in ids {
        let frame = asked(session, id).await?;
        if frame.rows > 0 {
            drawings.push(drawing(id, &frame)?);
        }
    }
    Ok(drawings)
}

/// The first few trace ids in a column: an id a row, or texts and lists with several.
pub(super) fn ids_of(frame: &Frame, column: &str) -> Result<Vec<String>> {
    let mut ids: Vec<String> = Vec::new();
    for text in frame.texts(column)?.into_iter().flatten() {
        let words = text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == ID_DIGITS);
        for word in words.map(str::to_ascii_lowercase) {
            if !ids.contains(&word) {
                ids.push(word);
            }
            if ids.len() == MAX_TRACES {
                return Ok(ids);
            }
        }
    }
    Ok(ids)
}

async fn asked(session: &Session, id: &str) -> Result<Frame> {
    let statements = session.prepare(WORST_TRACE).await?;
    let [statement] = statements.as_slice() else {
        return Err(Error::internal("the query of a trace is not one statement"));
    };
    match session.execute(statement, &[ScalarValue::from(id)]).await? {
        Outcome::Rows(rows) => Frame::collect(rows, MAX_BYTES).await,
        _ => Err(Error::internal("the query of a trace gives no rows")),
    }
}

fn drawing(id: &str, frame: &Frame) -> Result<TraceDrawing> {
    let numbers = |name: &str| -> Result<Vec<f64>> {
        Ok(frame.numbers(name)?.into_iter().map(|value| value.unwrap_or(0.0)).collect())
    };
    let texts = |name: &str| -> Result<Vec<String>> {
        Ok(frame.texts(name)?.into_iter().map(Option::unwrap_or_default).collect())
    };
    let (depths, starts, durations) = (numbers("depth")?, numbers("start_ms")?, numbers("duration_ms")?);
    let (criticals, errors, counts) = (numbers("critical_ms")?, numbers("is_error")?, numbers("span_count")?);
    let spans =
        texts("service_name")?.into_iter().zip(texts("name")?).enumerate().map(|(at, (service, name))| DrawnSpan {
            depth: depths[at].max(0.0) as usize,
            service,
            name,
            start_ms: starts[at],
            duration_ms: durations[at],
            critical_ms: criticals[at],
            is_error: errors[at] > 0.0,
        });
    let span_count = counts.first().map_or(0, |count| *count as u64);
    Ok(TraceDrawing::chosen(id.to_owned(), span_count, spans.collect()))
}
