//! The letters of a drawing: lines that meet and cross, and texts.

use super::super::Paper;
use crate::repl::text::{Line, Style, width};

/// Where a line leaves the place that it is in.
pub const LEFT: u8 = 1;
pub const RIGHT: u8 = 2;
pub const UP: u8 = 4;
pub const DOWN: u8 = 8;

/// A cell of the drawing.
#[derive(Debug, Clone)]
enum Cell {
    Empty,
    /// A line's ends in this cell, and whose line it is.
    Line {
        ends: u8,
        net: usize,
    },
    /// Two lines that have nothing to do with each other.
    Crossing {
        net: usize,
    },
    Text(char, Style),
    /// The second column of a wide character.
    Rest,
}

/// What is drawn, letter by letter.
pub struct Grid {
    cells: Vec<Vec<Cell>>,
    ascii: bool,
}

impl Grid {
    pub fn new(rows: usize, columns: usize, paper: Paper) -> Self {
        Self { cells: vec![vec![Cell::Empty; columns]; rows], ascii: paper.ascii }
    }

    /// A line's ends in one place.
    pub fn mark(&mut self, row: usize, column: usize, ends: u8, net: usize) {
        let Some(cell) = self.cells.get_mut(row).and_then(|cells| cells.get_mut(column)) else { return };
        *cell = match cell {
            Cell::Line { ends: others, net: other } if *other == net => Cell::Line { ends: ends | *others, net },
            Cell::Line { net: other, .. } => Cell::Crossing { net: *other },
            Cell::Crossing { net } => Cell::Crossing { net: *net },
            _ => Cell::Line { ends, net },
        };
    }

    /// A line over columns of one row.
    pub fn across(&mut self, row: usize, from: usize, to: usize, net: usize) {
        (from..to).for_each(|column| self.mark(row, column, LEFT | RIGHT, net));
    }

    /// A text from a place to the right.
    pub fn put(&mut self, row: usize, column: usize, text: &str, style: Style) {
        let mut at = column;
        for letter in text.chars() {
            let columns = width(letter.encode_utf8(&mut [0; 4]));
            let Some(cells) = self.cells.get_mut(row).and_then(|cells| cells.get_mut(at..at + columns)) else { return };
            cells.iter_mut().enumerate().for_each(|(part, cell)| {
                *cell = if part == 0 { Cell::Text(letter, style) } else { Cell::Rest };
            });
            at += columns;
        }
    }

    pub fn lines(&self) -> Vec<Line> {
        self.cells.iter().map(|cells| self.line(cells)).collect()
    }

    fn line(&self, cells: &[Cell]) -> Line {
        let mut line = Line::default();
        for cell in cells {
            let (letter, style) = match cell {
                Cell::Empty => (' ', Style::Plain),
                Cell::Line { ends, net } => (self.glyph(*ends), tint(*net)),
                Cell::Crossing { net } => (if self.ascii { '|' } else { '┼' }, tint(*net)),
                Cell::Text(letter, style) => (*letter, *style),
                Cell::Rest => continue,
            };
            match line.0.last_mut() {
                Some((last, text)) if *last == style => text.push(letter),
                _ => line.push(style, letter.to_string()),
            }
        }
        line
    }

    fn glyph(&self, ends: u8) -> char {
        const GLYPHS: [char; 16] = [' ', '─', '─', '─', '│', '┘', '└', '┴', '│', '┐', '┌', '┬', '│', '┤', '├', '╬'];
        match (self.ascii, ends) {
            (false, ends) => GLYPHS[usize::from(ends & 15)],
            (true, 0) => ' ',
            (true, ends) if ends & (UP | DOWN) == 0 => '-',
            (true, ends) if ends & (LEFT | RIGHT) == 0 => '|',
            (true, _) => '+',
        }
    }
}

fn tint(net: usize) -> Style {
    Style::Tint(u8::try_from(net % 6).unwrap_or(0))
}
