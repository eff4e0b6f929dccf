//! CSV with a header line, as PostgreSQL's `COPY` writes it.

use std::io::Write;

use bytes::BytesMut;
use datafusion::arrow::datatypes::Schema;
use datafusion::arrow::record_batch::RecordBatch;

use super::cell::CellStyle;
use super::writer::write_failed;
use crate::error::Result;
use crate::pg::{CsvStyle, put_csv};

/// Writes rows as comma-separated values.
pub(super) struct CsvRows {
    style: CellStyle,
    line: BytesMut,
    cell: BytesMut,
}

impl CsvRows {
    pub(super) fn start(schema: &Schema, zone: &str, out: &mut dyn Write) -> Result<Self> {
        let mut line = BytesMut::new();
        for (position, field) in schema.fields().iter().enumerate() {
            if position > 0 {
                line.extend_from_slice(b",");
            }
            put_csv(&mut line, field.name().as_bytes(), &CsvStyle::DEFAULT, false);
        }
        line.extend_from_slice(b"\n");
        out.write_all(&line).map_err(write_failed)?;
        Ok(Self { style: CellStyle::new(schema, zone)?, line, cell: BytesMut::new() })
    }

    pub(super) fn batch(&mut self, batch: &RecordBatch, out: &mut dyn Write) -> Result<()> {
        let cells = self.style.cells(batch)?;
        for row in 0..batch.num_rows() {
            self.line.clear();
            for column in 0..batch.num_columns() {
                if column > 0 {
                    self.line.extend_from_slice(b",");
                }
                if cells.is_null(row, column) {
                    continue;
                }
                self.cell.clear();
                cells.put(&mut self.cell, row, column)?;
                put_csv(&mut self.line, &self.cell, &CsvStyle::DEFAULT, false);
            }
            self.line.extend_from_slice(b"\n");
            out.write_all(&self.line).map_err(write_failed)?;
        }
        Ok(())
    }
}
