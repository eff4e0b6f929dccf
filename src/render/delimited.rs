//! CSV as RFC 4180 has it, with a header line; NULL is an empty field and an empty text is `""`, as PostgreSQL's COPY does.

use std::io::Write;

use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::record_batch::RecordBatch;

use super::cell::{is_null, push_text};
use super::writer::write_failed;
use crate::error::Result;

/// Writes rows as comma-separated values.
pub(super) struct CsvRows {
    line: String,
    cell: String,
}

impl CsvRows {
    pub(super) fn start(schema: &Schema, out: &mut dyn Write) -> Result<Self> {
        let mut line = String::new();
        for (position, field) in schema.fields().iter().enumerate() {
            if position > 0 {
                line.push(',');
            }
            push_field(field.name(), &mut line);
        }
        line.push('\n');
        out.write_all(line.as_bytes()).map_err(write_failed)?;
        Ok(Self { line, cell: String::new() })
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<()> {
        for row in 0..batch.num_rows() {
            self.line.clear();
            for (position, column) in batch.columns().iter().enumerate() {
                if position > 0 {
                    self.line.push(',');
                }
                if is_null(column, row) {
                    continue;
                }
                self.cell.clear();
                push_text(column, row, &mut self.cell)?;
                push_field(&self.cell, &mut self.line);
            }
            self.line.push('\n');
            out.write_all(self.line.as_bytes()).map_err(write_failed)?;
        }
        Ok(())
    }
}

/// Appends a field, quoted where it must be.
fn push_field(text: &str, line: &mut String) {
    let quoted = text.is_empty()
        || text.contains([',', '"', '\n', '\r'])
        || text.starts_with(char::is_whitespace)
        || text.ends_with(char::is_whitespace);
    if !quoted {
        line.push_str(text);
        return;
    }
    line.push('"');
    for (position, part) in text.split('"').enumerate() {
        if position > 0 {
            line.push_str("\"\"");
        }
        line.push_str(part);
    }
    line.push('"');
}
