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
use super::parts::Passing;
use super::window::TraceWindow;

/// What a function holds for a row while it is at work: where it stands in the tree, and what is known of those above and below.
const WORK_BYTES_PER_ROW: usize = 128;

pub(super) struct Windower {
    window: Arc<TraceWindow>,
    chunks: Chunks,
    reservation: MemoryReservation,
    batch_rows: usize,
    /// Rows, and what the functions give for them.
    current: Option<(Passing, Vec<ArrayRef>)>,
    /// The rows before it have been given.
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
            let at_hand = match &mut self.current {
                Some((passing, _)) => passing.at_hand().await?.min(self.batch_rows),
                None => 0,
            };
            if let Some((passing, made)) = self.current.as_mut().filter(|_| at_hand > 0) {
                let mut columns = passing.take(at_hand).columns().to_vec();
                columns.extend(made.iter().map(|made| made.slice(self.next, at_hand)));
                self.next += at_hand;
                self.metrics.record_output(at_hand);
                return batch(self.window.schema.clone(), columns, at_hand).map(Some);
            }
            (self.current, self.next) = (None, 0);
            self.reservation.free();
            let Some(chunk) = self.chunks.next().await? else { return Ok(None) };
            let made = self.work_out(&chunk.needed)?;
            self.current = Some((chunk.passing, made));
        }
    }

    /// What each function gives for each row.
    fn work_out(&mut self, needed: &Spans) -> Result<Vec<ArrayRef>> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        self.reservation.try_resize(needed.batch.num_rows() * WORK_BYTES_PER_ROW)?;
        let (mut columns, mut first) = (Vec::new(), 0);
        let from = self.window.schema.fields().len() - self.window.functions.len();
        for (function, field) in self.window.functions.iter().zip(&self.window.schema.fields()[from..]) {
            let arguments = function.expressions().len();
            columns.push(match needed.traces.is_empty() {
                true => new_empty_array(field.data_type()),
                false => {
                    over_traces(function.as_ref(), &needed.batch.columns()[first..first + arguments], &needed.traces)?
                }
            });
            first += arguments;
        }
        self.reservation.try_resize(row_bytes(&columns))?;
        Ok(columns)
    }
}

/// What a function gives for the rows of each trace, of which `traces` has the numbers.
fn over_traces(function: &dyn StandardWindowFunctionExpr, arguments: &[ArrayRef], traces: &[u32]) -> Result<ArrayRef> {
    let mut parts = Vec::new();
    let mut first = 0;
    for trace in traces.chunk_by(|a, b| a == b) {
        let of_trace: Vec<ArrayRef> = arguments.iter().map(|column| column.slice(first, trace.len())).collect();
        parts.push(function.create_evaluator()?.evaluate_all(&of_trace, trace.len())?);
        first += trace.len();
    }
    let parts: Vec<&dyn Array> = parts.iter().map(|part| part.as_ref()).collect();
    let all = concat(&parts)?;
    match all.len() == traces.len() {
        true => Ok(all),
        false => internal_err!("{} gives {} values for {} rows", function.name(), all.len(), traces.len()),
    }
}
