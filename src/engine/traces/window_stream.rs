//! One partition of windows at work: chunk by chunk, of which a bounded number of rows is given at a time.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, RecordBatch, new_empty_array};
use datafusion::arrow::compute::concat;
use datafusion::common::internal_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_expr::window::StandardWindowFunctionExpr;
use datafusion::physical_plan::metrics::BaselineMetrics;

use super::chunks::Chunks;
use super::local::{Spans, batch, row_bytes};
use super::window::TraceWindow;

/// What a function holds for a row while it is at work: where it stands in the tree, and what is known of those above and below.
const WORK_BYTES_PER_ROW: usize = 128;

pub(super) struct Windower {
    window: Arc<TraceWindow>,
    chunks: Chunks,
    reservation: MemoryReservation,
    batch_rows: usize,
    /// Rows with their windows, of which those before `next` have been given.
    current: Option<RecordBatch>,
    next: usize,
    metrics: BaselineMetrics,
}

impl Windower {
    pub fn new(
        window: Arc<TraceWindow>,
        chunks: Chunks,
        reservation: MemoryReservation,
        batch_rows: usize,
        metrics: BaselineMetrics,
    ) -> Self {
        Self { window, chunks, reservation, batch_rows: batch_rows.max(1), current: None, next: 0, metrics }
    }

    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(current) = self.current.as_ref().filter(|current| self.next < current.num_rows()) {
                let rows = (current.num_rows() - self.next).min(self.batch_rows);
                let given = current.slice(self.next, rows);
                self.next += rows;
                self.metrics.record_output(rows);
                return Ok(Some(given));
            }
            (self.current, self.next) = (None, 0);
            self.reservation.free();
            let Some(chunk) = self.chunks.next().await? else { return Ok(None) };
            self.current = Some(self.work_out(&chunk)?);
        }
    }

    fn work_out(&mut self, chunk: &Spans) -> Result<RecordBatch> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let spans = self.window.spans.apply(chunk)?;
        let mut columns = spans.batch.columns().to_vec();
        let from = columns.len();
        self.reservation.try_resize(spans.batch.num_rows() * WORK_BYTES_PER_ROW)?;
        for (function, field) in self.window.functions.iter().zip(&self.window.schema.fields()[from..]) {
            columns.push(match spans.traces.is_empty() {
                true => new_empty_array(field.data_type()),
                false => over_traces(function.as_ref(), &spans)?,
            });
        }
        self.reservation.try_resize(row_bytes(&columns[from..]))?;
        batch(self.window.schema.clone(), columns, spans.batch.num_rows())
    }
}

/// What a function gives for the rows of each trace.
fn over_traces(function: &dyn StandardWindowFunctionExpr, spans: &Spans) -> Result<ArrayRef> {
    let arguments = function.evaluate_args(&spans.batch)?;
    let mut parts = Vec::new();
    let mut first = 0;
    for trace in spans.traces.chunk_by(|a, b| a == b) {
        let of_trace: Vec<ArrayRef> = arguments.iter().map(|column| column.slice(first, trace.len())).collect();
        parts.push(function.create_evaluator()?.evaluate_all(&of_trace, trace.len())?);
        first += trace.len();
    }
    let parts: Vec<&dyn Array> = parts.iter().map(|part| part.as_ref()).collect();
    let all = concat(&parts)?;
    match all.len() == spans.batch.num_rows() {
        true => Ok(all),
        false => internal_err!("{} gives {} values for {} rows", function.name(), all.len(), spans.batch.num_rows()),
    }
}
