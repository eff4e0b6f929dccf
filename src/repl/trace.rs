//! `\trace`: from the digits that a user typed to the spans of one trace.

use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};

use super::backend::Backend;
use super::query;
use super::waterfall::TraceSpan;
use crate::error::{Error, Kind, Result};
use crate::render::cell_text;

/// A trace of more spans is drawn without those that start last: the number that `trace.sql` reads, less one.
pub const MAX_SPANS: usize = 100_000;
/// Hex digits of a trace id.
const ID_DIGITS: usize = 32;
/// Traces that are named when a prefix fits several; `traces_by_prefix.sql` reads one more.
const NAMED_TRACES: usize = 5;

/// Finds the one trace whose id starts with what was typed.
pub async fn find(backend: &Backend, typed: &str) -> Result<String> {
    let (low, high) = range(typed)?;
    let found: Vec<String> =
        query::texts(backend, query::TRACES_BY_PREFIX, &[&low, &high]).await?.into_iter().flatten().collect();
    match found.as_slice() {
        [] if typed.len() == ID_DIGITS => Err(Error::new(Kind::NotFound, format!("there is no trace {low}"))),
        [] => Err(Error::new(Kind::NotFound, format!("there is no trace whose id starts with {typed}"))),
        [id] => Ok(id.clone()),
        several => {
            let more = if several.len() > NAMED_TRACES { ", …" } else { "" };
            let names = several.iter().take(NAMED_TRACES).map(String::as_str).collect::<Vec<_>>().join(", ");
            Err(Error::bad_input(format!("several traces have an id that starts with {typed}"))
                .with_hint(format!("{names}{more}")))
        }
    }
}

/// The spans of a trace in order of start, at most [`MAX_SPANS`] and one.
pub async fn spans(backend: &Backend, id: &str) -> Result<Vec<TraceSpan>> {
    let mut spans = Vec::new();
    for batch in backend.batches(query::TRACE, &[id]).await? {
        push_spans(&batch, &mut spans)?;
    }
    Ok(spans)
}

/// The least and the greatest id that start with the digits.
fn range(typed: &str) -> Result<(String, String)> {
    let is_id = (1..=ID_DIGITS).contains(&typed.len()) && typed.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_id {
        return Err(Error::bad_input(format!("\"{typed}\" is no trace id, nor the start of one"))
            .with_hint(format!("a trace id is {ID_DIGITS} hex digits")));
    }
    let typed = typed.to_ascii_lowercase();
    let fill = |digit: &str| format!("{typed}{}", digit.repeat(ID_DIGITS - typed.len()));
    Ok((fill("0"), fill("f")))
}

fn push_spans(batch: &RecordBatch, spans: &mut Vec<TraceSpan>) -> Result<()> {
    let column = |name: &str| {
        batch.column_by_name(name).ok_or_else(|| Error::internal(format!("the trace query gives no column {name}")))
    };
    let as_type = |name: &str, data_type: &DataType| {
        cast(column(name)?, data_type).map_err(|error| Error::internal(format!("column {name}: {error}")))
    };
    let started = as_type("started", &DataType::Int64)?;
    let duration_ns = as_type("duration_ns", &DataType::Int64)?;
    let is_error = as_type("is_error", &DataType::Boolean)?;
    let parents = column("parent_span_id")?;
    for row in 0..batch.num_rows() {
        spans.push(TraceSpan {
            span_id: cell_text(column("span_id")?, row)?,
            parent_span_id: if parents.is_null(row) { None } else { Some(cell_text(parents, row)?) },
            service: cell_text(column("service_name")?, row)?,
            name: cell_text(column("span_name")?, row)?,
            start_ns: started.as_primitive::<Int64Type>().value(row),
            duration_ns: duration_ns.as_primitive::<Int64Type>().value(row),
            is_error: is_error.is_valid(row) && is_error.as_boolean().value(row),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_range_of_ids() {
        let (low, high) = range("5B8e").expect("hex");
        assert_eq!(low, format!("5b8e{}", "0".repeat(28)));
        assert_eq!(high, format!("5b8e{}", "f".repeat(28)));
        for wrong in ["", "xyz", "5b8e'", &"0".repeat(33)] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }
}
