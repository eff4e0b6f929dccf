//! Charts: from numbers and names to drawings, with what they show in words and as tables.
//!
//! Knows numbers, zones and `charts-rs`, whose canvas writes the strokes, measures the labels and has their font. Axes, units and layouts are
//! our own: its ready-made charts know no zone whose clocks change, no gaps in time and no unit, and keep values in 32 bits. Does not know Arrow,
//! files or what a report is.
//!
//! Nothing is assumed of values and names: what cannot be drawn is left out and said.

mod bars;
mod drawing;
mod heatmap;
mod label;
mod layers;
mod lines;
mod palette;
mod pen;
mod plot;
mod scale;
mod series;
mod service_map;
#[cfg(test)]
mod tests;
mod time_axis;
mod unit;
mod waterfall;

pub(super) use bars::Bars;
pub(super) use drawing::{DataTable, Drawing, NARROW, WIDE};
pub(super) use heatmap::{Heatmap, MAX_ROWS, Vertical, buckets};
pub(super) use label::plain;
pub(super) use lines::Lines;
pub(super) use palette::{Ink, MAX_SERIES, dark_rules};
pub(super) use pen::Pen;
pub(super) use plot::Horizontal;
pub(super) use series::{Point, Series, fit, gathered};
pub(super) use service_map::{Calls, ServiceMap};
pub(super) use time_axis::abbreviation;
pub(super) use unit::{Unit, grouped};
pub(super) use waterfall::Waterfall;
pub use waterfall::{DrawnSpan, TraceDrawing};
