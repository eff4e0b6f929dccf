//! A chart that can be drawn at any width, with what it shows in words and as a table.

use super::label::{fitted, plain};
use super::palette::Ink;
use super::pen::{Pen, Style};
use crate::error::Result;

/// Pixels of a drawing on a wide page.
pub const WIDE: f64 = 880.0;
/// Pixels of a drawing on a phone.
pub const NARROW: f64 = 340.0;
/// Rows of the table beside a chart; what is beyond is in the report's table.
const MAX_TABLE_ROWS: usize = 60;

/// What a kind of chart can do.
pub trait Scene {
    /// Draws from `top` down and gives where the drawing ends.
    fn draw(&self, pen: &mut Pen, top: f64) -> f64;
    /// The chart in a sentence or two.
    fn description(&self) -> String;
    /// What it shows, for whom no drawing helps.
    fn table(&self) -> DataTable;
    /// What has to be said of the drawing.
    fn notes(&self) -> Vec<String>;
}

/// A small table of texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DataTable {
    pub columns: Vec<String>,
    /// Which of these stand to the right.
    pub numeric: Vec<bool>,
    pub rows: Vec<Vec<String>>,
    /// Rows that are not here.
    pub left_out: usize,
}

/// A chart, ready to be drawn.
pub struct Drawing {
    pub title: String,
    pub description: String,
    pub notes: Vec<String>,
    pub table: DataTable,
    scene: Box<dyn Scene>,
}

impl Drawing {
    /// `notes` are what was left out before the scene was made.
    pub fn new(title: &str, notes: Vec<String>, scene: impl Scene + 'static) -> Self {
        let mut table = scene.table();
        table.left_out += table.rows.len().saturating_sub(MAX_TABLE_ROWS);
        table.rows.truncate(MAX_TABLE_ROWS);
        let notes = notes.into_iter().chain(scene.notes()).collect();
        let description = plain_sentences(&scene.description());
        Self { title: plain(title), description, notes, table, scene: Box::new(scene) }
    }

    /// The drawing at a width, for a page that has its title and its notes beside it.
    pub fn svg(&self, width: f64) -> Result<String> {
        let mut pen = Pen::new(width);
        let end = self.scene.draw(&mut pen, 0.0);
        pen.finish(end + 4.0, &self.title, &self.description)
    }

    /// The drawing on its own: with its ground, its title and its notes. Gives the height, too.
    pub fn picture(&self, pen: &mut Pen, top: f64) -> f64 {
        const TITLE: f64 = 17.0;
        pen.text(0.0, top + TITLE, &fitted(&self.title, TITLE, pen.width), Style::new(Ink::Text, TITLE).bold());
        let mut y = self.scene.draw(pen, top + TITLE + 14.0) + 4.0;
        for note in &self.notes {
            y = pen.note(note, y, Ink::Muted);
        }
        y + 10.0
    }
}

fn plain_sentences(text: &str) -> String {
    crate::render::sanitize(text).into_owned()
}
