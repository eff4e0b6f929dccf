//! A trace as text: a tree of its spans beside bars to scale.
//!
//! Pure: spans in, styled lines out. Nothing is assumed of a trace: roots, parents, order and clocks may all be wrong.

mod choice;
mod forest;
mod layout;

use super::text::Line;
use choice::choose;
use forest::Forest;

pub use layout::duration;

/// What the drawing knows of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceSpan {
    pub span_id: String,
    pub parent_span_id: Option<String>,
    pub service: String,
    pub name: String,
    pub start_ns: i64,
    pub duration_ns: i64,
    pub is_error: bool,
}

impl TraceSpan {
    fn end_ns(&self) -> i64 {
        self.start_ns.saturating_add(self.duration_ns)
    }
}

/// How to draw.
#[derive(Debug, Clone, Copy)]
pub struct Canvas {
    /// Columns of the terminal; at least [`Canvas::MIN_WIDTH`] are used.
    pub width: usize,
    /// More spans than this are left out, the least telling first, and counted where they would stand.
    pub max_spans: usize,
    /// Whether only ASCII may be drawn.
    pub ascii: bool,
}

impl Canvas {
    /// The columns that label, bar and duration need.
    pub const MIN_WIDTH: usize = 40;
}

/// Draws a trace.
pub fn draw(trace_id: &str, spans: &[TraceSpan], canvas: Canvas) -> Vec<Line> {
    let forest = Forest::new(spans);
    let shown = choose(&forest, spans, canvas.max_spans);
    let mut lines = layout::lines(trace_id, spans, &forest, &shown, canvas);
    if canvas.ascii {
        let pieces = lines.iter_mut().flat_map(|line| &mut line.0);
        pieces.for_each(|(_, text)| *text = text.replace('µ', "u"));
    }
    lines
}
