//! Chunks: batches of whole traces only, out of a stream in which the rows of a trace are neighbours.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;

use super::local::Spans;
use super::runs::{run_starts, trace_ids};

/// Cuts a stream of [`super::WholeTracesExec`] between traces.
pub(super) struct Chunks {
    input: SendableRecordBatchStream,
    trace: usize,
    /// The rows of the trace that may go on in the next batch.
    open: Vec<RecordBatch>,
    ready: VecDeque<Spans>,
    /// Holds what is open: a trace is in memory as a whole.
    reservation: MemoryReservation,
    ended: bool,
}

impl Chunks {
    pub fn new(input: SendableRecordBatchStream, trace: usize, reservation: MemoryReservation) -> Self {
        Self { input, trace, open: Vec::new(), ready: VecDeque::new(), reservation, ended: false }
    }

    /// The next whole traces; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Spans>> {
        loop {
            if let Some(spans) = self.ready.pop_front() {
                return Ok(Some(spans));
            }
            if self.ended {
                return Ok(None);
            }
            match self.input.next().await.transpose()? {
                Some(batch) if batch.num_rows() == 0 => {}
                Some(batch) => self.push(batch)?,
                None => {
                    self.ended = true;
                    self.close()?;
                }
            }
        }
    }

    fn push(&mut self, batch: RecordBatch) -> Result<()> {
        let ids = trace_ids(&batch, self.trace)?;
        let starts = run_starts(ids);
        let goes_on = match self.open.last() {
            Some(open) => trace_ids(open, self.trace)?.value(open.num_rows() - 1) == ids.value(0),
            None => false,
        };
        let last = starts.last().copied().unwrap_or(0) as usize;
        let mut from = 0;
        if goes_on {
            from = starts.get(1).map_or(batch.num_rows(), |start| *start as usize);
            self.keep(batch.slice(0, from))?;
            if from == batch.num_rows() {
                return Ok(());
            }
        }
        self.close()?;
        if last > from {
            self.ready.push_back(spans(batch.slice(from, last - from), self.trace)?);
        }
        self.keep(batch.slice(last, batch.num_rows() - last))
    }

    fn keep(&mut self, rows: RecordBatch) -> Result<()> {
        // A slice holds its whole batch, of which the rows before it are on their way out: what counts is what stays.
        if !self.open.is_empty() {
            self.reservation.try_grow(rows.get_array_memory_size())?;
        }
        self.open.push(rows);
        Ok(())
    }

    /// Gives the open trace as a chunk of its own.
    fn close(&mut self) -> Result<()> {
        let Some(first) = self.open.first() else { return Ok(()) };
        let whole = match self.open.as_slice() {
            [only] => only.clone(),
            parts => concat_batches(&first.schema(), parts)?,
        };
        self.open.clear();
        self.reservation.free();
        self.ready.push_back(spans(whole, self.trace)?);
        Ok(())
    }
}

fn spans(batch: RecordBatch, trace: usize) -> Result<Spans> {
    let mut starts = run_starts(trace_ids(&batch, trace)?);
    starts.push(batch.num_rows() as u32);
    let lengths = starts.windows(2).map(|run| run[1] - run[0]).enumerate();
    let traces: Vec<u32> =
        lengths.flat_map(|(number, length)| std::iter::repeat_n(number as u32, length as usize)).collect();
    Ok(Spans { traces: Arc::from(traces), batch })
}
