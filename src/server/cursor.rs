//! A result that is being sent: as many rows as asked for, batch by batch, no faster than the client reads.

use std::sync::Arc;

use futures::StreamExt;

use super::row::{BatchEncoder, Column, Format};
use super::wire::{FLUSH_BYTES, Halt, Stops, Wire};
use crate::engine::Rows;
use crate::pg::{ALL_SECOND_DIGITS, TextStyle};

/// An open result with the place it has been read to.
pub(super) struct Cursor {
    /// `None` once the last row is read, so that the engine's part is freed.
    rows: Option<Rows>,
    columns: Arc<[Column]>,
    style: TextStyle,
    batch: Option<BatchEncoder>,
    next_row: usize,
    /// Rows passed so far.
    pub(super) position_rows: u64,
    /// The command tag without its count.
    pub(super) tag: &'static str,
}

impl Cursor {
    /// Opens a result; `described` is what the client was told of its columns, if it was told.
    pub(super) fn new(rows: Rows, described: Option<Arc<[Column]>>, style: TextStyle) -> Self {
        let columns = described.unwrap_or_else(|| Column::of_schema(&rows.schema).into());
        Self { tag: rows.tag, rows: Some(rows), columns, style, batch: None, next_row: 0, position_rows: 0 }
    }

    /// Shows times in full, whatever the session's style.
    pub(super) fn show_all_second_digits(&mut self) {
        self.style.second_digits = ALL_SECOND_DIGITS;
    }

    /// Returns the result's columns.
    pub(super) fn columns(&self) -> &Arc<[Column]> {
        &self.columns
    }

    /// Returns the batch with the next row and that row's place, or `None` after the last.
    pub(super) async fn peek(
        &mut self,
        wire: &mut Wire,
        stops: &Stops,
    ) -> Result<Option<(&BatchEncoder, usize)>, Halt> {
        while self.batch.as_ref().is_none_or(|batch| self.next_row >= batch.rows()) {
            self.batch = None;
            let Some(rows) = &mut self.rows else { return Ok(None) };
            match wire.attend(stops, rows.stream.next()).await? {
                Some(batch) => {
                    let batch = batch?;
                    self.batch = Some(BatchEncoder::new(&batch, &self.columns, self.style)?);
                    self.next_row = 0;
                }
                None => self.rows = None,
            }
        }
        Ok(self.batch.as_ref().map(|batch| (batch, self.next_row)))
    }

    /// Steps over the row that [`Self::peek`] gave.
    pub(super) fn pass(&mut self) {
        self.next_row += 1;
        self.position_rows += 1;
    }

    /// Sends up to `limit` rows and returns how many; fewer than `limit` were left when it is less.
    pub(super) async fn send(
        &mut self,
        wire: &mut Wire,
        stops: &Stops,
        formats: &[Format],
        limit: u64,
    ) -> Result<u64, Halt> {
        let mut sent = 0;
        while sent < limit {
            let Some((batch, first)) = self.peek(wire, stops).await? else { break };
            let rows = batch.rows();
            let mut row = first;
            let mut failed = None;
            while row < rows && sent < limit && wire.output.len() < FLUSH_BYTES {
                let before = wire.output.len();
                if let Err(error) = batch.put_row(&mut wire.output, row, formats) {
                    failed = Some(error);
                    break;
                }
                row += 1;
                sent += 1;
                let written = wire.output.len() - before;
                wire.sent.add_row(written);
            }
            self.position_rows += (row - first) as u64;
            self.next_row = row;
            if let Some(error) = failed {
                return Err(error.into());
            }
            if wire.output.len() >= FLUSH_BYTES {
                wire.flush_attended(stops).await?;
            }
        }
        Ok(sent)
    }

    /// Steps over up to `limit` rows and returns how many.
    pub(super) async fn skip(&mut self, wire: &mut Wire, stops: &Stops, limit: u64) -> Result<u64, Halt> {
        let mut skipped = 0;
        while skipped < limit {
            let Some((batch, first)) = self.peek(wire, stops).await? else { break };
            let step = ((batch.rows() - first) as u64).min(limit - skipped);
            self.next_row += step as usize;
            self.position_rows += step;
            skipped += step;
        }
        Ok(skipped)
    }
}
