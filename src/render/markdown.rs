//! A Markdown table, as GitHub reads it.

use std::io::Write;

use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::record_batch::RecordBatch;

use super::cell::{CellStyle, is_number};
use super::sanitize::push_sanitized;
use super::writer::{RenderOptions, write_failed};
use crate::error::Result;

/// Writes rows of a Markdown table.
pub(super) struct MarkdownRows {
    style: CellStyle,
    line: String,
    null: String,
    max_cell_chars: Option<usize>,
}

impl MarkdownRows {
    pub(super) fn start(schema: &Schema, options: &RenderOptions, out: &mut dyn Write) -> Result<Self> {
        let mut line = String::from("|");
        for field in schema.fields() {
            line.push(' ');
            push_escaped(field.name(), &mut line);
            line.push_str(" |");
        }
        line.push_str("\n|");
        for field in schema.fields() {
            line.push_str(if is_number(field.data_type()) { " ---: |" } else { " --- |" });
        }
        line.push('\n');
        out.write_all(line.as_bytes()).map_err(write_failed)?;
        let null = options.null_text("NULL").to_owned();
        Ok(Self { style: CellStyle::new(schema, &options.zone)?, line, null, max_cell_chars: options.max_cell_chars })
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<()> {
        let cells = self.style.cells(batch)?;
        for row in 0..batch.num_rows() {
            self.line.clear();
            self.line.push('|');
            for column in 0..batch.num_columns() {
                self.line.push(' ');
                match cells.is_null(row, column) {
                    true => self.line.push_str(&self.null),
                    false => push_escaped(&cut(cells.text(row, column)?, self.max_cell_chars), &mut self.line),
                }
                self.line.push_str(" |");
            }
            self.line.push('\n');
            out.write_all(self.line.as_bytes()).map_err(write_failed)?;
        }
        Ok(())
    }
}

fn cut(mut text: String, max_chars: Option<usize>) -> String {
    if let Some((end, _)) = max_chars.and_then(|most| text.char_indices().nth(most)) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Appends text that can neither end a cell, start a tag nor drive a terminal.
fn push_escaped(text: &str, line: &mut String) {
    for (position, part) in text.split('\n').enumerate() {
        if position > 0 {
            line.push_str("<br>");
        }
        let escaped = part.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;");
        push_sanitized(&escaped, line);
    }
}
