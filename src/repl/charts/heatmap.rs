//! When spans took how long: time to the right, latency upwards, and a shade for how many.

use std::collections::BTreeMap;

use chrono::DateTime;

use super::Paper;
use super::bars::amount;
use crate::repl::text::{Line, Style, fit, width};

/// The columns of a latency.
const LABEL_COLUMNS: usize = 8;
/// The shades, from nothing to most.
const SHADES: [&str; 5] = [" ", "░", "▒", "▓", "█"];
const ASCII_SHADES: [&str; 5] = [" ", ".", ":", "+", "#"];
/// A range of latencies that has more powers of two ends with what is above.
const MAX_ROWS: i32 = 40;
/// An axis that has room for two dates with their years.
const WIDE_AXIS: usize = 34;
/// Below this, a microsecond in milliseconds as a power of two, all is one row.
const LEAST_OCTAVE: i32 = -10;

/// Spans of one interval whose latency one power of two bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// Which interval, from 0.
    pub interval: usize,
    /// The power of two that latencies in milliseconds do not exceed; 0 for no time at all.
    pub le_ms: f64,
    pub spans: u64,
}

/// What is drawn.
#[derive(Debug, Clone)]
pub struct Heatmap {
    pub start_ns: i64,
    pub interval_ns: i64,
    pub intervals: usize,
    pub cells: Vec<Cell>,
}

impl Heatmap {
    /// The intervals that a drawing has room for.
    pub fn room(paper: Paper) -> usize {
        paper.columns() - LABEL_COLUMNS - 3
    }
}

/// Draws the counts: a row for each power of two of latency, a column or more an interval.
pub fn heatmap(map: &Heatmap, paper: Paper) -> Vec<Line> {
    let mut counts: BTreeMap<(i32, usize), u64> = BTreeMap::new();
    for cell in &map.cells {
        let octave = if cell.le_ms > 0.0 { cell.le_ms.log2().ceil() as i32 } else { LEAST_OCTAVE };
        let octave = octave.clamp(LEAST_OCTAVE, LEAST_OCTAVE + MAX_ROWS - 1);
        *counts.entry((octave, cell.interval.min(map.intervals.saturating_sub(1)))).or_default() += cell.spans;
    }
    let (Some(low), Some(high)) = (counts.keys().map(|key| key.0).min(), counts.keys().map(|key| key.0).max()) else {
        return Vec::new();
    };
    let most = counts.values().copied().max().unwrap_or(1);
    let each = (Heatmap::room(paper) / map.intervals.max(1)).max(1);
    let shades = if paper.ascii { &ASCII_SHADES } else { &SHADES };
    let edge = if paper.ascii { "|" } else { "│" };
    let mut lines = Vec::new();
    for octave in (low..=high).rev() {
        let ns = (2_f64.powi(octave) * 1e6).round() as i64;
        let mut line = Line::of(Style::Plain, format!("{:>LABEL_COLUMNS$}", paper.duration(ns)));
        line.push(Style::Dim, format!(" {edge}"));
        for interval in 0..map.intervals {
            let spans = counts.get(&(octave, interval)).copied().unwrap_or(0);
            let level = shade(spans, most);
            line.push(heat(level), shades[level].repeat(each));
        }
        lines.push(line);
    }
    lines.extend(axis(map, each, paper));
    lines.push(legend(most, shades));
    lines
}

/// From 0, none, to 4: as far as the logarithm is from that of the most.
fn shade(spans: u64, most: u64) -> usize {
    match (spans, most) {
        (0, _) => 0,
        (_, ..=1) => 4,
        _ => 1 + ((spans as f64).ln() / (most as f64).ln() * 3.999) as usize,
    }
}

fn heat(level: usize) -> Style {
    Style::Heat(u8::try_from(level.saturating_sub(1)).unwrap_or(3))
}

/// The line under the drawing and when it begins and ends.
fn axis(map: &Heatmap, each: usize, paper: Paper) -> [Line; 2] {
    let (corner, dash) = if paper.ascii { ("+", "-") } else { ("└", "─") };
    let columns = each * map.intervals;
    let indent = " ".repeat(LABEL_COLUMNS + 1);
    let rule = Line::of(Style::Dim, format!("{indent}{corner}{}", dash.repeat(columns)));
    let intervals = i64::try_from(map.intervals).unwrap_or(i64::MAX);
    let end_ns = map.start_ns.saturating_add(map.interval_ns.saturating_mul(intervals));
    let days = end_ns.saturating_sub(map.start_ns) >= 86_400_000_000_000;
    let form = match days {
        true if columns < WIDE_AXIS => "%m-%d %H:%M",
        true => "%Y-%m-%d %H:%M",
        false => "%H:%M:%S",
    };
    let text = |ns: i64| DateTime::from_timestamp_nanos(ns).format(form).to_string();
    let (from, to) = (text(map.start_ns), text(end_ns));
    let room = columns.max(width(&from) + width(&to) + 1);
    let first = fit(&from, room - width(&to), "");
    [rule, Line::of(Style::Dim, format!("{indent} {first}{to}"))]
}

fn legend(most: u64, shades: &[&str; 5]) -> Line {
    let mut line = Line::of(Style::Dim, format!("{}one span ", " ".repeat(LABEL_COLUMNS + 2)));
    for (level, shade) in shades.iter().enumerate().skip(1) {
        line.push(heat(level), *shade);
    }
    line.push(Style::Dim, format!(" {}", amount(most)));
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repl::charts::golden;

    fn example(intervals: usize) -> Heatmap {
        let cells = (0..intervals).flat_map(|interval| {
            (-3..5).map(move |octave| Cell {
                interval,
                le_ms: 2_f64.powi(octave),
                spans: (interval as u64 * 7 % 11) * (1 << (octave + 3)) / 8,
            })
        });
        let late = Cell { interval: intervals - 1, le_ms: 4096.0, spans: 1 };
        Heatmap {
            start_ns: 1_767_600_000_000_000_000,
            interval_ns: 60_000_000_000,
            intervals,
            cells: cells.chain([late, Cell { interval: 0, le_ms: 0.0, spans: 2 }]).collect(),
        }
    }

    #[test]
    fn shades_are_as_they_were_approved() {
        for columns in [40, 80, 120] {
            let paper = Paper::new(columns, false);
            golden::check(&format!("heatmap_{columns}"), &heatmap(&example(Heatmap::room(paper)), paper), columns);
        }
        golden::check("heatmap_ascii", &heatmap(&example(10), Paper::new(60, true)), 60);
        assert!(heatmap(&Heatmap { cells: Vec::new(), ..example(3) }, Paper::new(80, false)).is_empty());
    }

    #[test]
    fn one_span_is_seen_beside_a_million() {
        assert_eq!([0, 1, 2, 1000, 999_999, 1_000_000].map(|spans| shade(spans, 1_000_000)), [0, 1, 1, 2, 4, 4]);
        assert_eq!([shade(0, 1), shade(1, 1)], [0, 4]);
    }
}
