//! Waterfalls: the spans of a trace as a tree beside bars to scale.

use std::collections::HashMap;

use super::drawing::{DataTable, Scene};
use super::label::{BOLD, fitted, plain, width};
use super::palette::Ink;
use super::pen::{Anchor, Pen, Style};
use super::plot::{LABEL, LINE, nothing};
use super::scale::Scale;
use super::unit::{Unit, grouped};
use crate::render::count;

/// Spans of one trace that are drawn.
pub const MAX_SPANS: usize = 60;
const ROW: f64 = 20.0;
const BAR: f64 = 12.0;
/// Steps of the tree that are told apart.
const MAX_INDENTS: usize = 16;
const MS: Unit = Unit::Time(1e6);

/// A trace with the spans that are drawn, parents before their children.
#[derive(Debug, Clone, PartialEq)]
pub struct TraceDrawing {
    pub trace_id: String,
    /// How many the trace has.
    pub span_count: u64,
    pub spans: Vec<DrawnSpan>,
}

/// What a waterfall shows of a span.
#[derive(Debug, Clone, PartialEq)]
pub struct DrawnSpan {
    /// Steps up to the top of its tree.
    pub depth: usize,
    pub service: String,
    pub name: String,
    /// After the start of the trace.
    pub start_ms: f64,
    pub duration_ms: f64,
    /// How much of the trace's critical path lies in it.
    pub critical_ms: f64,
    pub is_error: bool,
}

impl TraceDrawing {
    /// Keeps at most [`MAX_SPANS`] of the spans: tops first, then errors, then those on the critical path and long ones, each with all above it.
    pub fn chosen(trace_id: String, span_count: u64, spans: Vec<DrawnSpan>) -> Self {
        if spans.len() <= MAX_SPANS {
            return Self { trace_id, span_count, spans };
        }
        let parents = parents(&spans);
        let mut by_weight: Vec<usize> = (0..spans.len()).collect();
        by_weight.sort_by(|&a, &b| {
            let rank = |at: usize| (parents[at].is_some(), !spans[at].is_error);
            let weight = |at: usize| spans[at].critical_ms * 4.0 + spans[at].duration_ms;
            rank(a).cmp(&rank(b)).then(weight(b).total_cmp(&weight(a))).then(a.cmp(&b))
        });
        let mut kept = vec![false; spans.len()];
        let mut left = MAX_SPANS;
        for at in by_weight {
            let hidden: Vec<usize> =
                std::iter::successors(Some(at), |at| parents[*at]).take_while(|at| !kept[*at]).take(left + 1).collect();
            if hidden.len() > left {
                continue;
            }
            left -= hidden.len();
            hidden.into_iter().for_each(|at| kept[at] = true);
            if left == 0 {
                break;
            }
        }
        let mut at = 0;
        let mut spans = spans;
        spans.retain(|_| {
            at += 1;
            kept[at - 1]
        });
        Self { trace_id, span_count, spans }
    }

    fn end_ms(&self) -> f64 {
        self.spans.iter().map(|span| span.start_ms + span.duration_ms).fold(0.0, f64::max)
    }
}

/// The parent of each span in a list with parents before their children.
fn parents(spans: &[DrawnSpan]) -> Vec<Option<usize>> {
    let mut last_at_depth: HashMap<usize, usize> = HashMap::new();
    let parent = |(at, span): (usize, &DrawnSpan)| {
        last_at_depth.insert(span.depth, at);
        span.depth.checked_sub(1).and_then(|above| last_at_depth.get(&above).copied())
    };
    spans.iter().enumerate().map(parent).collect()
}

/// The waterfalls of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Waterfall {
    pub traces: Vec<TraceDrawing>,
}

impl Waterfall {
    fn draw_trace(pen: &mut Pen, top: f64, trace: &TraceDrawing) -> f64 {
        let is_narrow = pen.width < 500.0;
        let shown = if trace.spans.len() as u64 == trace.span_count {
            String::new()
        } else {
            format!("{} of ", trace.spans.len())
        };
        let spans = count(trace.span_count, "span");
        let heading = format!("{shown}{spans}, {}", MS.show(trace.end_ms()));
        let id = fitted(&trace.trace_id, LABEL, pen.width);
        pen.text(0.0, top + LINE, &id, Style::new(Ink::Text, LABEL).bold());
        let (x, y) = if is_narrow { (0.0, top + 2.0 * LINE) } else { (width(&id, LABEL) * BOLD + 20.0, top + LINE) };
        pen.text(x, y, &heading, Style::new(Ink::Muted, LABEL));
        let left = if is_narrow { 0.0 } else { (pen.width * 0.38).floor() };
        let right = pen.width - 62.0;
        let scale = Scale::of(0.0, trace.end_ms(), &MS, if is_narrow { 3 } else { 5 }).ending_at(trace.end_ms());
        let x_of = |ms: f64| left + scale.share(ms) * (right - left);
        let rows_top = y + LINE + 8.0;
        let row_height = if is_narrow { ROW + 14.0 } else { ROW };
        let bottom = rows_top + row_height * trace.spans.len() as f64;
        for (ms, label) in &scale.ticks {
            let x = x_of(*ms);
            pen.line((x, rows_top - 4.0), (x, bottom), Ink::Grid, 1.0);
            let anchor = if *ms <= 0.0 { Anchor::Start } else { Anchor::Middle };
            pen.text(x, rows_top - 8.0, label, Style::new(Ink::Muted, 11.0).anchored(anchor));
        }
        for (at, span) in trace.spans.iter().enumerate() {
            let y = rows_top + at as f64 * row_height;
            let (from, to) = (x_of(span.start_ms), x_of(span.start_ms + span.duration_ms));
            if is_narrow {
                draw_label(pen, span, y + 11.0, pen.width);
                draw_bar(pen, span, y + 15.0, from, to);
            } else {
                draw_label(pen, span, y + 14.0, left - 10.0);
                draw_bar(pen, span, y + 4.0, from, to);
            }
        }
        bottom + 12.0
    }
}

fn draw_label(pen: &mut Pen, span: &DrawnSpan, base: f64, room: f64) {
    let step = if room < 400.0 { 8.0 } else { 11.0 };
    let indent = span.depth.min(MAX_INDENTS) as f64 * step;
    let mark = if span.is_error { "× " } else { "" };
    let text = format!("{mark}{} · {}", plain(&span.service), plain(&span.name));
    let ink = if span.is_error { Ink::Error } else { Ink::Text };
    let style = Style::new(ink, LABEL);
    let room = (room - indent).max(40.0);
    match span.critical_ms > 0.0 {
        true => pen.text(indent, base, &fitted(&text, LABEL, room / BOLD), style.bold()),
        false => pen.text(indent, base, &fitted(&text, LABEL, room), style),
    }
}

fn draw_bar(pen: &mut Pen, span: &DrawnSpan, top: f64, from: f64, to: f64) {
    let size = ((to - from).max(1.5), BAR);
    let (fill, border) = match (span.is_error, span.critical_ms > 0.0) {
        (true, true) => (Ink::Error, None),
        (true, false) => (Ink::ErrorPanel, Some(Ink::Error)),
        (false, true) => (Ink::Critical, None),
        (false, false) => (Ink::Beside, Some(Ink::Axis)),
    };
    pen.outlined((from, top), size, fill, border, 1.5);
    pen.text(to.max(from + 1.5) + 5.0, top + BAR - 2.0, &MS.show(span.duration_ms), Style::new(Ink::Muted, 11.0));
}

impl Scene for Waterfall {
    fn draw(&self, pen: &mut Pen, top: f64) -> f64 {
        let drawn: Vec<&TraceDrawing> = self.traces.iter().filter(|trace| !trace.spans.is_empty()).collect();
        if drawn.is_empty() {
            return nothing(pen, top, "no trace to draw");
        }
        let y = drawn.iter().fold(top, |y, trace| Self::draw_trace(pen, y, trace)) + LABEL;
        pen.rect((4.0, y - 11.0), (24.0, BAR), Ink::Critical);
        pen.text(34.0, y, "on the critical path", Style::new(Ink::Text, LABEL));
        pen.outlined((166.0, y - 11.0), (24.0, BAR), Ink::Beside, Some(Ink::Axis), 1.5);
        pen.text(196.0, y, "beside it", Style::new(Ink::Text, LABEL));
        pen.text(262.0, y, "× failed", Style::new(Ink::Error, LABEL));
        y + 8.0
    }

    fn description(&self) -> String {
        let Some(first) = self.traces.first() else { return "There is no trace to draw.".to_owned() };
        let longest = first.spans.iter().max_by(|a, b| a.critical_ms.total_cmp(&b.critical_ms));
        let longest = longest.map_or_else(String::new, |span| {
            let (service, name) = (plain(&span.service), plain(&span.name));
            format!(" Most of its critical path, {}, lies in {name} of {service}.", MS.show(span.critical_ms))
        });
        format!(
            "Waterfall of {}. The first is {} with {} in {}.{longest}",
            count(self.traces.len() as u64, "trace"),
            plain(&first.trace_id),
            count(first.span_count, "span"),
            MS.show(first.end_ms())
        )
    }

    fn table(&self) -> DataTable {
        let rows = self.traces.iter().flat_map(|trace| {
            trace.spans.iter().map(move |span| {
                vec![
                    trace.trace_id.chars().take(8).collect(),
                    plain(&span.service),
                    plain(&span.name),
                    MS.show(span.start_ms),
                    MS.show(span.duration_ms),
                    MS.show(span.critical_ms),
                    if span.is_error { "failed".to_owned() } else { String::new() },
                ]
            })
        });
        let columns = ["trace", "service", "span", "start", "duration", "on the critical path", "status"];
        DataTable {
            columns: columns.map(str::to_owned).to_vec(),
            numeric: vec![false, false, false, true, true, true, false],
            rows: rows.collect(),
            left_out: 0,
        }
    }

    fn notes(&self) -> Vec<String> {
        let cut = self.traces.iter().filter(|trace| (trace.spans.len() as u64) < trace.span_count);
        cut.map(|trace| {
            let all = grouped(&trace.span_count.to_string());
            let id: String = trace.trace_id.chars().take(8).collect();
            format!(
                "Of the {all} spans of {} those that failed, lie on the critical path or are long are drawn.",
                plain(&id)
            )
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(depth: usize, duration_ms: f64, is_error: bool) -> DrawnSpan {
        let name = format!("{depth}/{duration_ms}");
        DrawnSpan { depth, service: "s".to_owned(), name, start_ms: 0.0, duration_ms, critical_ms: 0.0, is_error }
    }

    #[test]
    fn of_a_large_trace_the_telling_spans_are_kept_with_all_above_them() {
        let mut spans = vec![span(0, 1_000.0, false), span(1, 5.0, false), span(2, 3.0, true)];
        spans.extend((0..5_000).map(|at| span(1, f64::from(at), false)));
        let drawing = TraceDrawing::chosen("0af7".to_owned(), 5_003, spans);
        assert_eq!(drawing.spans.len(), MAX_SPANS);
        let names: Vec<&str> = drawing.spans.iter().take(3).map(|span| span.name.as_str()).collect();
        assert_eq!(names, ["0/1000", "1/5", "2/3"]);
        assert_eq!(drawing.spans.last().map(|span| span.name.as_str()), Some("1/4999"));
        // A chain that is deeper than what is drawn leaves its lower end out.
        let chain: Vec<DrawnSpan> = (0..200).map(|depth| span(depth, 200.0 - depth as f64, false)).collect();
        let drawing = TraceDrawing::chosen("0af7".to_owned(), 200, chain);
        assert_eq!(drawing.spans.iter().map(|span| span.depth).collect::<Vec<_>>(), (0..MAX_SPANS).collect::<Vec<_>>());
    }
}
