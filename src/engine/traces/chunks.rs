//! Chunks: batches of whole traces only, out of a stream in which the rows of a trace are neighbours.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;

use super::local::{Spans, row_bytes};
use super::runs::{run_starts, trace_ids};

/// Cuts a stream of [`super::WholeTracesExec`] between traces.
pub(super) struct Chunks {
    input: SendableRecordBatchStream,
    trace: usize,
    /// The rows of the trace that may go on in the next batch.
    open: Vec<RecordBatch>,
    open_bytes: usize,
    /// Whole traces, and what the reservation holds for them.
    ready: VecDeque<(Spans, usize)>,
    /// What it holds for the chunk that was given last, with which the taker is done when it asks for the next.
    given_bytes: usize,
    /// Holds what is open, and a trace of several batches until it is done with: a trace is in memory as a whole.
    reservation: MemoryReservation,
    ended: bool,
}

impl Chunks {
    pub fn new(input: SendableRecordBatchStream, trace: usize, reservation: MemoryReservation) -> Self {
        Self {
            input,
            trace,
            open: Vec::new(),
            open_bytes: 0,
            ready: VecDeque::new(),
            given_bytes: 0,
            reservation,
            ended: false,
        }
    }

    /// The next whole traces; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Spans>> {
        self.reservation.shrink(std::mem::take(&mut self.given_bytes));
        loop {
            if let Some((spans, bytes)) = self.ready.pop_front() {
                self.given_bytes = bytes;
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
            // No larger than a batch, as any operator has it.
            self.ready.push_back((spans(batch.slice(from, last - from), self.trace)?, 0));
        }
        self.keep(batch.slice(last, batch.num_rows() - last))
    }

    fn keep(&mut self, rows: RecordBatch) -> Result<()> {
        // A slice holds its whole batch, of which the rows before it are on their way out: what counts is what stays.
        let bytes = row_bytes(rows.columns());
        self.reservation.try_grow(bytes)?;
        self.open_bytes += bytes;
        self.open.push(rows);
        Ok(())
    }

    /// Gives the open trace as a chunk of its own.
    fn close(&mut self) -> Result<()> {
        let Some(first) = self.open.first() else { return Ok(()) };
        let bytes = std::mem::take(&mut self.open_bytes);
        let whole = match self.open.as_slice() {
            [only] => only.clone(),
            parts => {
                // Until the parts are gone, all is there twice.
                self.reservation.try_grow(bytes)?;
                let whole = concat_batches(&first.schema(), parts)?;
                self.reservation.shrink(bytes);
                whole
            }
        };
        self.open.clear();
        self.ready.push_back((spans(whole, self.trace)?, bytes));
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

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{ArrayRef, FixedSizeBinaryArray, StringViewArray};
    use datafusion::error::DataFusionError;
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryConsumer, MemoryPool};
    use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

    const TEXT_BYTES: usize = 100;

    /// A batch of rows of these traces.
    fn rows(traces: &[u8]) -> RecordBatch {
        let ids = FixedSizeBinaryArray::try_from_iter(traces.iter().map(|trace| [*trace; 16])).expect("ids");
        let texts = StringViewArray::from_iter_values(traces.iter().map(|_| "x".repeat(TEXT_BYTES)));
        RecordBatch::try_from_iter([("trace_id", Arc::new(ids) as ArrayRef), ("text", Arc::new(texts))])
            .expect("a batch")
    }

    fn chunks(batches: Vec<RecordBatch>, pool: &Arc<dyn MemoryPool>) -> Chunks {
        let schema = batches[0].schema();
        let stream = RecordBatchStreamAdapter::new(schema, futures::stream::iter(batches.into_iter().map(Ok)));
        Chunks::new(Box::pin(stream), 0, MemoryConsumer::new("test").register(pool))
    }

    #[tokio::test]
    async fn a_trace_of_many_batches_is_counted_until_it_is_done_with() {
        let batches = || vec![rows(&[1; 100]), rows(&[1; 100]), rows(&[1; 99]), rows(&[1, 2, 3, 3])];
        let of_trace = 300 * (16 + 16 + TEXT_BYTES);
        let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(of_trace * 2 + 1_000));
        let mut chunks = chunks(batches(), &pool);
        let long = chunks.next().await.expect("within memory").expect("a trace");
        assert_eq!(long.batch.num_rows(), 300);
        assert!((of_trace..of_trace + 1_000).contains(&pool.reserved()), "{}", pool.reserved());
        let mut short = Vec::new();
        while let Some(spans) = chunks.next().await.expect("within memory") {
            short.push(spans.batch.num_rows());
            assert!(pool.reserved() < 1_000, "{}", pool.reserved());
        }
        assert_eq!((short.iter().sum::<usize>(), pool.reserved()), (3, 0));
        let small: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(of_trace));
        let refused = super::tests::chunks(batches(), &small).next().await.expect_err("it is there twice for a while");
        assert!(matches!(refused, DataFusionError::ResourcesExhausted(_)), "{refused}");
    }
}
