//! Strokes, shapes and labels on a canvas: the one place where drawings meet the crate that writes them.
//!
//! `charts-rs` escapes what it writes and writes no number that is not finite.

use charts_rs::{Canvas, Circle, Fill, Line, Point, Polygon, Rect, StraightLine, Text, svg_with_accessibility};

use super::label::{FONTS, fitted, is_foreign, wrapped};
use super::palette::{Ink, dash};
use crate::error::{Error, Result};

/// Where a label lies beside its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// How a label looks.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub ink: Ink,
    /// Pixels.
    pub size: f64,
    pub anchor: Anchor,
    pub bold: bool,
}

impl Style {
    /// Text that begins at its point.
    pub fn new(ink: Ink, size: f64) -> Self {
        Self { ink, size, anchor: Anchor::Start, bold: false }
    }

    pub fn anchored(self, anchor: Anchor) -> Self {
        Self { anchor, ..self }
    }

    pub fn bold(self) -> Self {
        Self { bold: true, ..self }
    }
}

/// Draws. Coordinates are pixels from the upper left corner.
pub struct Pen {
    canvas: Canvas,
    pub width: f64,
    /// Whether a label has characters that the font of pictures lacks.
    pub has_foreign: bool,
}

impl Pen {
    pub fn new(width: f64) -> Self {
        Self { canvas: Canvas::new(width as f32, 0.0), width, has_foreign: false }
    }

    /// A label whose base line lies at `y`.
    pub fn text(&mut self, x: f64, y: f64, text: &str, style: Style) {
        let anchor = match style.anchor {
            Anchor::Start => None,
            Anchor::Middle => Some("middle".to_owned()),
            Anchor::End => Some("end".to_owned()),
        };
        self.has_foreign |= text.chars().any(is_foreign);
        self.canvas.text(Text {
            text: text.to_owned(),
            font_family: Some(FONTS.to_owned()),
            font_size: Some(style.size as f32),
            font_color: Some(style.ink.color()),
            font_weight: style.bold.then(|| "bold".to_owned()),
            x: Some(x as f32),
            y: Some(y as f32),
            text_anchor: anchor,
            ..Text::default()
        });
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink, width: f64) {
        self.dashed_line(from, to, ink, width, None);
    }

    pub fn dashed_line(&mut self, from: (f64, f64), to: (f64, f64), ink: Ink, width: f64, dashes: Option<&str>) {
        self.canvas.line(Line {
            color: Some(ink.color()),
            stroke_width: width as f32,
            left: from.0 as f32,
            top: from.1 as f32,
            right: to.0 as f32,
            bottom: to.1 as f32,
            stroke_dash_array: dashes.map(str::to_owned),
        });
    }

    /// A line through points.
    pub fn path(&mut self, points: &[(f64, f64)], ink: Ink, width: f64, dashes: Option<&str>) {
        self.canvas.straight_line(StraightLine {
            color: Some(ink.color()),
            points: points.iter().map(|&point| at(point)).collect(),
            stroke_width: width as f32,
            symbol: None,
            stroke_dash_array: dashes.map(str::to_owned),
            ..StraightLine::default()
        });
    }

    /// A closed and filled outline.
    pub fn shape(&mut self, points: &[(f64, f64)], ink: Ink) {
        let points = points.iter().map(|&point| at(point)).collect();
        self.canvas.polygon(Polygon { fill: Some(ink.color()), points, ..Polygon::default() });
    }

    /// A filled box; nothing when it has no extent.
    pub fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: Ink) {
        self.outlined((x, y), (width, height), fill, None, 0.0);
    }

    /// A filled box with a border and round corners.
    pub fn outlined(&mut self, at: (f64, f64), size: (f64, f64), fill: Ink, border: Option<Ink>, radius: f64) {
        if size.0 <= 0.0 || size.1 <= 0.0 {
            return;
        }
        self.canvas.rect(Rect {
            color: border.map(Ink::color),
            fill: Some(Fill::Solid(fill.color())),
            left: at.0 as f32,
            top: at.1 as f32,
            width: size.0 as f32,
            height: size.1 as f32,
            rx: (radius > 0.0).then_some(radius as f32),
            ..Rect::default()
        });
    }

    /// The mark of the n-th series: a circle, a square, a triangle or a diamond.
    pub fn mark(&mut self, series: usize, (x, y): (f64, f64), radius: f64) {
        let ink = Ink::Series(series);
        let r = radius;
        match series % 4 {
            0 => {
                let circle =
                    Circle { fill: Some(ink.color()), cx: x as f32, cy: y as f32, r: r as f32, ..Circle::default() };
                self.canvas.circle(circle);
            }
            1 => self.rect((x - 0.9 * r, y - 0.9 * r), (1.8 * r, 1.8 * r), ink),
            2 => self.shape(&[(x, y - 1.2 * r), (x + 1.1 * r, y + 0.8 * r), (x - 1.1 * r, y + 0.8 * r)], ink),
            _ => self.shape(&[(x, y - 1.3 * r), (x + 1.3 * r, y), (x, y + 1.3 * r), (x - 1.3 * r, y)], ink),
        }
    }

    /// A short stretch of the n-th line with its mark, for a legend.
    pub fn sample(&mut self, series: usize, (x, y): (f64, f64), length: f64) {
        self.dashed_line((x, y), (x + length, y), Ink::Series(series), 2.0, dash(series));
        self.mark(series, (x + length / 2.0, y), 3.5);
    }

    /// The title of a picture; gives where the drawing goes on below.
    pub fn heading(&mut self, text: &str, top: f64) -> f64 {
        const SIZE: f64 = 22.0;
        self.text(0.0, top + SIZE, &fitted(text, SIZE, self.width), Style::new(Ink::Text, SIZE).bold());
        top + SIZE + 10.0
    }

    /// A sentence in as many lines as it takes; gives where the drawing goes on below.
    pub fn note(&mut self, text: &str, top: f64, ink: Ink) -> f64 {
        const SIZE: f64 = 12.0;
        let mut y = top;
        for line in wrapped(text, SIZE, self.width) {
            y += 18.0;
            self.text(0.0, y, &line, Style::new(ink, SIZE));
        }
        y
    }

    /// Ends the drawing at `height`; what it shows is told to who does not see it.
    pub fn finish(mut self, height: f64, title: &str, description: &str) -> Result<String> {
        self.canvas.height = height.ceil() as f32;
        let svg = self.canvas.svg().map_err(|error| Error::internal(format!("a chart could not be drawn: {error}")))?;
        Ok(svg_with_accessibility(&svg, title, description))
    }
}

fn at((x, y): (f64, f64)) -> Point {
    (x as f32, y as f32).into()
}
