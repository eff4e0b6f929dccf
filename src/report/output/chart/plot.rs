//! The ground of a chart with two axes, and its legend.

use chrono_tz::Tz;

use super::label::{fitted, width};
use super::palette::Ink;
use super::pen::{Anchor, Pen, Style};
use super::scale::Scale;
use super::time_axis;

/// The size of labels.
pub const LABEL: f64 = 12.0;
/// From the base line of a label to that of the one below.
pub const LINE: f64 = 18.0;
/// Pixels that a label of a time axis needs.
const TIME_LABEL: f64 = 56.0;
/// Pixels between two labels of an axis.
const LABEL_GAP: f64 = 8.0;

/// What the horizontal axis has.
#[derive(Debug, Clone, PartialEq)]
pub enum Horizontal {
    /// Milliseconds since 1970.
    Time {
        zone: Tz,
        /// Whether the times are instants, and not what some clock showed.
        is_zoned: bool,
    },
    Numbers(super::unit::Unit),
    /// A place for each name, from 0 on.
    Names(Vec<String>),
}

/// The rectangle in which values lie.
#[derive(Debug, Clone, Copy)]
pub struct Plot {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

impl Plot {
    /// A plot below `top` that leaves room for the labels of the vertical axis.
    pub fn beside(scale: &Scale, pen: &Pen, top: f64, height: f64) -> Self {
        let labels = scale.ticks.iter().map(|(_, label)| width(label, LABEL)).fold(0.0, f64::max);
        let left = labels.ceil() + 12.0;
        Self { left, top, width: (pen.width - left - 14.0).max(20.0), height }
    }

    pub fn bottom(&self) -> f64 {
        self.top + self.height
    }

    pub fn right(&self) -> f64 {
        self.left + self.width
    }

    pub fn y(&self, scale: &Scale, value: f64) -> f64 {
        self.bottom() - scale.share(value) * self.height
    }

    /// Draws the lines of the grid, their labels, and the base line.
    pub fn vertical_axis(&self, pen: &mut Pen, scale: &Scale) {
        for (value, label) in &scale.ticks {
            let y = self.y(scale, *value);
            pen.line((self.left, y), (self.right(), y), Ink::Grid, 1.0);
            let style = Style::new(Ink::Muted, LABEL).anchored(Anchor::End);
            pen.text(self.left - 8.0, y + 4.0, label, style);
        }
        let base = self.y(scale, scale.least.max(0.0).min(scale.greatest));
        pen.line((self.left, base), (self.right(), base), Ink::Axis, 1.0);
    }

    /// Draws the labels of the horizontal axis, as many as fit, and gives where the drawing goes on below.
    pub fn horizontal_axis(&self, pen: &mut Pen, axis: &Horizontal, (from, to): (f64, f64)) -> f64 {
        let ticks: Vec<(f64, String, bool)> = match axis {
            Horizontal::Time { zone, .. } => {
                let wanted = (self.width / TIME_LABEL).max(2.0) as usize;
                let ticks = time_axis::ticks(from as i64, to as i64, *zone, wanted);
                ticks.into_iter().map(|tick| (tick.at_ms as f64, tick.label, tick.is_major)).collect()
            }
            Horizontal::Numbers(unit) => {
                let scale = Scale::of(from, to, unit, (self.width / TIME_LABEL / 1.5).max(2.0) as usize);
                let inside = scale.ticks.into_iter().filter(|(value, _)| (from..=to).contains(value));
                inside.map(|(value, label)| (value, label, false)).collect()
            }
            Horizontal::Names(names) => {
                let room = TIME_LABEL * 2.0;
                names.iter().enumerate().map(|(at, name)| (at as f64, fitted(name, LABEL, room), false)).collect()
            }
        };
        let mut free_from = f64::MIN;
        for (value, label, is_major) in ticks {
            let x = self.x((from, to), value);
            let half = width(&label, LABEL) / 2.0;
            let middle = x.clamp((half + 1.0).min(pen.width / 2.0), (pen.width - half - 1.0).max(pen.width / 2.0));
            if middle - half < free_from {
                continue;
            }
            free_from = middle + half + LABEL_GAP;
            pen.line((x, self.bottom()), (x, self.bottom() + 5.0), Ink::Axis, 1.0);
            let style = Style::new(if is_major { Ink::Text } else { Ink::Muted }, LABEL).anchored(Anchor::Middle);
            pen.text(middle, self.bottom() + LINE, &label, style);
        }
        self.bottom() + LINE + 8.0
    }

    /// Where a place of the horizontal axis lies.
    pub fn x(&self, (from, to): (f64, f64), value: f64) -> f64 {
        let span = to / 2.0 - from / 2.0;
        let share = if span > 0.0 { (value / 2.0 - from / 2.0) / span } else { 0.5 };
        self.left + share.clamp(0.0, 1.0) * self.width
    }
}

/// Draws which mark is whose, in rows, and gives where the drawing goes on below. `sample` draws the mark of an entry at a place.
pub fn legend(pen: &mut Pen, names: &[&str], top: f64, mut sample: impl FnMut(&mut Pen, usize, (f64, f64))) -> f64 {
    const SAMPLE: f64 = 34.0;
    let (mut x, mut y) = (4.0, top + LINE);
    for (at, name) in names.iter().enumerate() {
        let shown = fitted(name, LABEL, (pen.width - SAMPLE - 12.0).min(260.0));
        let entry = SAMPLE + width(&shown, LABEL) + 18.0;
        if x > 4.0 && x + entry - 18.0 > pen.width {
            (x, y) = (4.0, y + LINE);
        }
        sample(pen, at, (x, y - 4.0));
        pen.text(x + SAMPLE, y, &shown, Style::new(Ink::Text, LABEL));
        x += entry;
    }
    if names.is_empty() { top } else { y + 8.0 }
}

/// Says in the middle of an empty plot that there is nothing, and gives where the drawing goes on below.
pub fn nothing(pen: &mut Pen, top: f64, why: &str) -> f64 {
    const HEIGHT: f64 = 90.0;
    let width = pen.width;
    pen.outlined((0.5, top + 0.5), (width - 1.0, HEIGHT), Ink::Panel, None, 6.0);
    let style = Style::new(Ink::Muted, 14.0).anchored(Anchor::Middle);
    pen.text(width / 2.0, top + HEIGHT / 2.0 + 5.0, &fitted(why, 14.0, width - 20.0), style);
    top + HEIGHT + 4.0
}
