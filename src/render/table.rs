//! Aligned columns for a person, as psql draws them; a record a block when rows are wider than the terminal.

use std::io::Write;

use datafusion::arrow::array::{Array, AsArray};
use datafusion::arrow::datatypes::{DataType, Float64Type, Schema};
use datafusion::arrow::record_batch::RecordBatch;
use unicode_width::UnicodeWidthStr;

use super::cell::{CellStyle, Cells, is_number};
use super::counted::count;
use super::sanitize::sanitize;
use super::writer::{Expanded, RenderOptions, write_failed};
use crate::error::Result;

/// Rows that are held to learn the columns' widths; a longer result is aligned chunk by chunk.
const CHUNK_ROWS: usize = 4096;
/// Text that is held for the same purpose.
const CHUNK_BYTES: usize = 8 << 20;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const PLAIN: &str = "\x1b[0m";

/// Writes rows as an aligned table.
pub(super) struct TableRows {
    names: Vec<String>,
    style: CellStyle,
    right: Vec<bool>,
    widths: Vec<usize>,
    options: RenderOptions,
    /// Decided by the first chunk when it is to be found out.
    expanded: Option<bool>,
    header_written: bool,
    /// The chunk's cells, row after row; `None` is NULL.
    cells: Vec<Option<String>>,
    held_bytes: usize,
    written_rows: u64,
}

impl TableRows {
    pub(super) fn new(schema: &Schema, options: &RenderOptions) -> Result<Self> {
        let names: Vec<String> = schema.fields().iter().map(|field| sanitize(field.name()).into_owned()).collect();
        Ok(Self {
            style: CellStyle::new(schema, &options.zone)?,
            widths: names.iter().map(|name| name.width()).collect(),
            right: schema.fields().iter().map(|field| is_number(field.data_type())).collect(),
            names,
            expanded: match options.expanded {
                Expanded::Off => Some(false),
                Expanded::On => Some(true),
                Expanded::Auto => None,
            },
            options: options.clone(),
            header_written: false,
            cells: Vec::new(),
            held_bytes: 0,
            written_rows: 0,
        })
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<()> {
        let cells = self.style.cells(batch)?;
        for row in 0..batch.num_rows() {
            for (position, column) in batch.columns().iter().enumerate() {
                let cell = self.cell(&cells, column, row, position)?;
                let width = cell.as_deref().map_or(self.options.null_text("NULL").width(), UnicodeWidthStr::width);
                self.widths[position] = self.widths[position].max(width);
                self.held_bytes += cell.as_ref().map_or(0, String::len);
                self.cells.push(cell);
            }
            if batch.num_columns() == 0 {
                self.written_rows += 1;
            } else if self.cells.len() >= CHUNK_ROWS * self.names.len() || self.held_bytes >= CHUNK_BYTES {
                self.flush(out)?;
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut dyn Write) -> Result<()> {
        self.flush(out)?;
        if !self.options.footer {
            return Ok(());
        }
        writeln!(out, "({})", count(self.written_rows, "row")).map_err(write_failed)
    }

    /// The value as text that is safe to show, cut where the options say.
    fn cell(&self, cells: &Cells, column: &dyn Array, row: usize, position: usize) -> Result<Option<String>> {
        if cells.is_null(row, position) {
            return Ok(None);
        }
        let raw = match (self.options.decimals, column.data_type()) {
            (Some(decimals), DataType::Float64) => {
                format!("{:.decimals$}", column.as_primitive::<Float64Type>().value(row))
            }
            _ => cells.text(row, position)?,
        };
        let mut text = match sanitize(&raw) {
            std::borrow::Cow::Borrowed(_) => raw,
            std::borrow::Cow::Owned(safe) => safe,
        };
        if let Some(most) = self.options.max_cell_chars
            && let Some((cut, _)) = text.char_indices().nth(most)
        {
            text.truncate(cut);
            text.push('…');
        }
        Ok(Some(text))
    }

    /// Writes the held chunk.
    fn flush(&mut self, out: &mut dyn Write) -> Result<()> {
        let line_width = self.widths.iter().map(|width| width + 3).sum::<usize>().saturating_sub(1);
        let too_wide = self.options.width.is_some_and(|width| line_width > width);
        let expanded = *self.expanded.get_or_insert(too_wide);
        let cells = std::mem::take(&mut self.cells);
        self.held_bytes = 0;
        let mut text = String::new();
        if expanded {
            self.push_records(&cells, &mut text);
        } else {
            self.push_aligned(&cells, &mut text);
        }
        out.write_all(text.as_bytes()).map_err(write_failed)
    }

    fn push_aligned(&mut self, cells: &[Option<String>], text: &mut String) {
        if !self.header_written {
            self.header_written = true;
            self.push_header(text);
        }
        let null = self.options.null_text("NULL").to_owned();
        for row in cells.chunks(self.names.len().max(1)) {
            for (position, cell) in row.iter().enumerate() {
                if position > 0 {
                    text.push('|');
                }
                let (shown, style) = match cell {
                    Some(cell) => (cell.as_str(), ""),
                    None => (null.as_str(), DIM),
                };
                let right = self.right[position];
                let last = position + 1 == row.len();
                self.push_padded(shown, self.widths[position], right, style, last, text);
            }
            text.push('\n');
            self.written_rows += 1;
        }
    }

    fn push_header(&self, text: &mut String) {
        for (position, name) in self.names.iter().enumerate() {
            if position > 0 {
                text.push('|');
            }
            let left = (self.widths[position] - name.width()) / 2;
            text.extend(std::iter::repeat_n(' ', left));
            self.push_padded(name, self.widths[position] - left, false, BOLD, position + 1 == self.names.len(), text);
        }
        text.push('\n');
        for (position, width) in self.widths.iter().enumerate() {
            if position > 0 {
                text.push('+');
            }
            text.extend(std::iter::repeat_n('-', width + 2));
        }
        text.push('\n');
    }

    /// Appends a cell with a space before it and, unless it ends the line, padding after it.
    fn push_padded(&self, shown: &str, width: usize, right: bool, style: &str, last: bool, text: &mut String) {
        let padding = width.saturating_sub(shown.width());
        text.push(' ');
        if right {
            text.extend(std::iter::repeat_n(' ', padding));
        }
        let styled = self.options.color && !style.is_empty();
        if styled {
            text.push_str(style);
        }
        text.push_str(shown);
        if styled {
            text.push_str(PLAIN);
        }
        if !last {
            text.extend(std::iter::repeat_n(' ', if right { 1 } else { padding + 1 }));
        }
    }

    fn push_records(&mut self, cells: &[Option<String>], text: &mut String) {
        let name_width = self.names.iter().map(|name| name.width()).max().unwrap_or(0);
        let null = self.options.null_text("NULL").to_owned();
        for row in cells.chunks(self.names.len().max(1)) {
            self.written_rows += 1;
            let title = format!("-[ RECORD {} ]", self.written_rows);
            text.push_str(&title);
            text.extend(std::iter::repeat_n('-', (name_width + 1).saturating_sub(title.len())));
            text.push_str("+-\n");
            for (name, cell) in self.names.iter().zip(row) {
                text.push_str(name);
                text.extend(std::iter::repeat_n(' ', name_width - name.width()));
                text.push_str(" | ");
                text.push_str(cell.as_deref().unwrap_or(&null));
                text.push('\n');
            }
        }
    }
}
