//! JSON and NDJSON: an object a row, written as rows come.

use std::io::Write;

use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::record_batch::RecordBatch;

use super::cell::push_json;
use super::writer::write_failed;
use crate::error::Result;
use crate::model::push_json_string_with;

/// Writes rows as objects: one a line, or as the elements of one array.
pub(super) struct JsonRows {
    /// Each column's name as `"name": `, ready to copy.
    names: Vec<String>,
    array: bool,
    rows: u64,
    line: String,
}

impl JsonRows {
    pub(super) fn new(schema: &Schema, array: bool) -> Self {
        let name = |field: &std::sync::Arc<datafusion::arrow::datatypes::Field>| {
            let mut text = String::new();
            push_json_string(field.name(), &mut text);
            text.push_str(": ");
            text
        };
        Self { names: schema.fields().iter().map(name).collect(), array, rows: 0, line: String::new() }
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<()> {
        for row in 0..batch.num_rows() {
            self.line.clear();
            if self.array {
                self.line.push_str(if self.rows == 0 { "[\n" } else { ",\n" });
            }
            self.line.push('{');
            for (position, (name, column)) in self.names.iter().zip(batch.columns()).enumerate() {
                if position > 0 {
                    self.line.push_str(", ");
                }
                self.line.push_str(name);
                push_json(column, row, &mut self.line)?;
            }
            self.line.push('}');
            if !self.array {
                self.line.push('\n');
            }
            out.write_all(self.line.as_bytes()).map_err(write_failed)?;
            self.rows += 1;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, out: &mut dyn Write) -> Result<()> {
        let end: &[u8] = match (self.array, self.rows) {
            (false, _) => return Ok(()),
            (true, 0) => b"[]\n",
            (true, _) => b"\n]\n",
        };
        out.write_all(end).map_err(write_failed)
    }
}

/// Appends `text` as a JSON string. A terminal does not show DEL, so it is escaped as other control characters are.
pub(super) fn push_json_string(text: &str, out: &mut String) {
    push_json_string_with(text, out, |byte| (byte == 0x7f).then_some("\\u007f"));
}
