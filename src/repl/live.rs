//! What goes on until Ctrl-C: `\watch` asks a statement again and again, `\tail` shows spans as they arrive.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, Local, Utc};
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};

use super::charts::Paper;
use super::query;
use super::shell::Shell;
use super::splitter::Script;
use super::text::{Line, Style, fit, width};
use crate::error::{Error, Result};
use crate::render::{cell_text, count, sanitize};

/// How often `\tail` looks: what was acknowledged a second ago is seen.
const TAIL_INTERVAL: Duration = Duration::from_secs(1);
/// The spans that `tail.sql` gives at most. One that was among them before and is not now was pushed out by newer ones, so that the last look tells which
/// are new.
const TAIL_SPANS: usize = 1000;
/// Those that are shown at first, for an idea of what is there.
const FIRST_SPANS: usize = 10;

impl Shell {
    /// Asks a statement so many times, or until Ctrl-C.
    pub async fn watch(&mut self, interval: Duration, times: Option<u64>) -> Result<()> {
        let pending = self.pending.trim();
        let script = match pending.is_empty() {
            true => self.last.clone(),
            false => Some(Script { text: pending.to_owned(), line: 1, expanded: false }),
        };
        let Some(script) = script else {
            return Err(Error::bad_input("\\watch has no statement to ask")
                .with_hint("ask one first, or write SELECT … \\watch"));
        };
        self.last = Some(script.clone());
        self.is_live = true;
        let mut asked = 0;
        while times.is_none_or(|times| asked < times) {
            if asked > 0 {
                tokio::time::sleep(interval).await;
            }
            asked += 1;
            if self.terminal.interactive {
                let now = Local::now().format("%Y-%m-%d %H:%M:%S");
                self.say(&[Line::of(Style::Dim, format!("{now} (every {})", crate::typed::duration_text(interval)))])?;
            }
            self.statement(&script).await?;
        }
        self.is_live = false;
        Ok(())
    }

    /// Shows spans as they arrive, until Ctrl-C.
    pub async fn tail(&mut self, condition: &str) -> Result<()> {
        if self.backend.in_transaction() {
            let error = Error::bad_input("a transaction sees one state of the data, and no span that arrives");
            return Err(error.with_hint("COMMIT ends it"));
        }
        let sql = query::filled(query::TAIL, &[("condition", condition)]);
        let mut seen: Option<HashSet<String>> = None;
        self.is_live = true;
        loop {
            let batches = self.backend.batches(&sql, &[]).await.map_err(|mut error| {
                // The position is in a text that the user did not write.
                error.position = None;
                error
            })?;
            let arrived = arrived(&batches)?;
            let is_new = |span: &&Arrived| seen.as_ref().is_none_or(|seen| !seen.contains(&span.key));
            let mut new: Vec<&Arrived> = arrived.iter().filter(is_new).collect();
            if seen.is_none() {
                new.truncate(FIRST_SPANS);
            }
            let paper = self.terminal.paper(self.columns);
            let mut lines: Vec<Line> = new.iter().rev().map(|span| line(span, paper)).collect();
            if seen.is_some() && new.len() == TAIL_SPANS {
                let note = format!(
                    "more than {} came at once: a condition would show fewer",
                    count(TAIL_SPANS as u64, "span")
                );
                lines.insert(0, Line::of(Style::Dim, note));
            }
            self.say(&lines)?;
            seen = Some(arrived.into_iter().map(|span| span.key).collect());
            tokio::time::sleep(TAIL_INTERVAL).await;
        }
    }
}

/// A span that came.
struct Arrived {
    /// What tells it from others.
    key: String,
    start_ns: i64,
    service: String,
    name: String,
    kind: String,
    duration_ns: i64,
    is_error: bool,
    error: String,
}

fn arrived(batches: &[RecordBatch]) -> Result<Vec<Arrived>> {
    let mut spans = Vec::new();
    for batch in batches {
        let number = |column: usize| {
            cast(batch.column(column), &DataType::Int64)
                .map_err(|error| Error::internal(format!("a span's numbers: {error}")))
        };
        let (starts, durations) = (number(0)?, number(6)?);
        for row in 0..batch.num_rows() {
            let text = |column: usize| cell_text(batch.column(column), row);
            let start_ns = starts.as_primitive::<Int64Type>().value(row);
            spans.push(Arrived {
                key: format!("{} {} {start_ns}", text(1)?, text(2)?),
                start_ns,
                service: text(3)?,
                name: text(4)?,
                kind: text(5)?,
                duration_ns: if durations.is_valid(row) { durations.as_primitive::<Int64Type>().value(row) } else { 0 },
                is_error: text(7)? == "t",
                error: text(8)?,
            });
        }
    }
    Ok(spans)
}

/// A span as a line: when it began, how long it took, who did what, and what went wrong.
fn line(span: &Arrived, paper: Paper) -> Line {
    let started: DateTime<Utc> = DateTime::from_timestamp_nanos(span.start_ns);
    let mut line = Line::of(Style::Dim, started.format("%H:%M:%S%.3f ").to_string());
    line.push(Style::Plain, format!("{:>8} ", paper.duration(span.duration_ns)));
    let mut left = paper.columns().saturating_sub(12 + 1 + 8 + 1);
    let mut piece = |style: Style, text: String| {
        let columns = width(&text).min(left);
        left -= columns;
        line.push(style, fit(&text, columns, paper.ellipsis()));
    };
    piece(Style::Tint(tint(&span.service)), format!("{} ", sanitize(&span.service)));
    piece(if span.is_error { Style::Error } else { Style::Plain }, sanitize(&span.name).into_owned());
    if span.kind != "INTERNAL" && span.kind != "UNSPECIFIED" {
        piece(Style::Dim, format!(" {}", span.kind.to_lowercase()));
    }
    if span.is_error {
        let why = if span.error.is_empty() { "error".to_owned() } else { sanitize(&span.error).into_owned() };
        piece(Style::Error, format!(" {why}"));
    }
    line
}

/// A colour that a service keeps.
fn tint(service: &str) -> u8 {
    service.bytes().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte)) % 6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repl::text::Palette;

    #[test]
    fn a_span_is_a_line_that_fits() {
        let span = Arrived {
            key: String::new(),
            start_ns: 1_767_603_597_458_212_981,
            service: "checkout".to_owned(),
            name: "POST /checkout\x1b[2J".to_owned(),
            kind: "SERVER".to_owned(),
            duration_ns: 23_800_000,
            is_error: true,
            error: "card declined".to_owned(),
        };
        let shown = |columns: usize| line(&span, Paper::new(columns, false)).paint(Palette::Plain);
        assert_eq!(shown(120), "08:59:57.458  23.8 ms checkout POST /checkout\\x1b[2J server card declined");
        assert_eq!(shown(40), "08:59:57.458  23.8 ms checkout POST /ch…");
        assert_eq!(width(&shown(60)), 60);
    }
}
