//! The charts of a report as one picture, for chat.
//!
//! Drawn from the same vectors as the page, with the font that the charting crate brings: the same rows give the same bytes on every
//! machine.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use charts_rs::{DEFAULT_FONT_DATA, DEFAULT_FONT_FAMILY};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use super::chart::{Ink, Pen, WIDE};
use super::moment;
use super::page::Page;
use super::plots::{Figure, figures};
use crate::error::{Error, Result};

/// Pixels around the drawings.
const MARGIN: f64 = 24.0;
/// A picture has twice the pixels of its drawing, as screens have; a very high one does not.
const SCALE: f64 = 2.0;
const SCALED_HEIGHT: f64 = 4_000.0;
/// The highest drawing; what lies below is cut off.
const MAX_HEIGHT: f64 = 12_000.0;

/// Draws the charts one below the other, under the title and the window.
pub(super) fn render(page: &Page<'_>) -> Result<Bytes> {
    let mut pen = Pen::new(WIDE);
    let mut y = pen.heading(&page.report.title, 0.0);
    if let (Some(from_ms), Some(to_ms)) = (page.run.window_from_ms, page.run.window_to_ms) {
        y = pen.note(&moment::window(from_ms, to_ms, page.zone), y, Ink::Muted);
    }
    let figures = figures(page);
    if figures.is_empty() {
        y = pen.note("This report has no charts.", y, Ink::Text);
    }
    for figure in &figures {
        y += 16.0;
        y = match figure {
            Figure::Drawn(drawing) => drawing.picture(&mut pen, y),
            Figure::Failed { title, why } => pen.note(&format!("{title} cannot be drawn: {why}"), y, Ink::Error),
        };
    }
    if pen.has_foreign {
        y = pen.note(
            "Boxes stand for letters that the font of pictures lacks; the page of the report has them.",
            y + 8.0,
            Ink::Muted,
        );
    }
    let svg = pen.finish(y.min(MAX_HEIGHT), "", "")?;
    png(&svg, y.min(MAX_HEIGHT))
}

fn png(svg: &str, height: f64) -> Result<Bytes> {
    let failed = |why: &str| Error::internal(format!("the charts cannot be drawn as a picture: {why}"));
    let options = Options { font_family: DEFAULT_FONT_FAMILY.to_owned(), fontdb: fonts(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|error| failed(&error.to_string()))?;
    let scale = if height > SCALED_HEIGHT { 1.0 } else { SCALE };
    let pixels = |length: f64| ((length + 2.0 * MARGIN) * scale).ceil() as u32;
    let mut pixmap = Pixmap::new(pixels(WIDE), pixels(height)).ok_or_else(|| failed("it has no extent"))?;
    pixmap.fill(Color::WHITE);
    let (scale, margin) = (scale as f32, MARGIN as f32);
    resvg::render(&tree, Transform::from_scale(scale, scale).pre_translate(margin, margin), &mut pixmap.as_mut());
    pixmap.encode_png().map(Bytes::from).map_err(|error| failed(&error.to_string()))
}

/// The one font, read once.
fn fonts() -> Arc<fontdb::Database> {
    static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    let read = || {
        let mut fonts = fontdb::Database::new();
        fonts.load_font_data(DEFAULT_FONT_DATA.to_vec());
        Arc::new(fonts)
    };
    FONTS.get_or_init(read).clone()
}
