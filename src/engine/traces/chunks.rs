//! Chunks: batches of whole traces only, out of a stream in which the rows of a trace are neighbours.

use std::collections::VecDeque;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::concat_batches;
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use futures::StreamExt;

use super::large::{Disk, Large};
use super::local::{Spans, row_bytes};
use super::parts::{Chunk, Parts, Passing};
use super::runs::{run_starts, trace_ids};
use crate::model::TraceId;

/// Cuts a stream of [`super::WholeTracesExec`] between traces.
pub(super) struct Chunks {
    input: SendableRecordBatchStream,
    trace: usize,
    /// What is done with the rows, of which large traces are on disk in part; without it all columns are in memory as they come.
    parts: Option<(Arc<dyn Parts>, Disk)>,
    /// The trace that may go on in the next batch.
    open: Open,
    /// Whole traces, and what the reservation holds for them.
    ready: VecDeque<(Chunk, usize)>,
    /// What it holds for the chunk that was given last, with which the taker is done when it asks for the next.
    given_bytes: usize,
    /// Holds what is open, and a trace of several batches until it is done with: what is needed of a trace is in memory as a whole.
    reservation: MemoryReservation,
    ended: bool,
}

/// The rows of a trace so far.
#[derive(Default)]
struct Open {
    id: Option<[u8; TraceId::LEN]>,
    /// What is needed of them, and what passes by.
    needed: Vec<RecordBatch>,
    passing: Vec<RecordBatch>,
    /// Instead of both, once they are many.
    large: Option<Large>,
    bytes: usize,
}

impl Chunks {
    /// Chunks with all columns.
    pub fn new(input: SendableRecordBatchStream, trace: usize, reservation: MemoryReservation) -> Self {
        Self {
            input,
            trace,
            parts: None,
            open: Open::default(),
            ready: VecDeque::new(),
            given_bytes: 0,
            reservation,
            ended: false,
        }
    }

    /// Chunks of what `parts` does with spans.
    pub fn of_parts(
        input: SendableRecordBatchStream,
        trace: usize,
        reservation: MemoryReservation,
        parts: Arc<dyn Parts>,
        disk: Disk,
    ) -> Self {
        Self { parts: Some((parts, disk)), ..Self::new(input, trace, reservation) }
    }

    /// The next whole traces; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Chunk>> {
        self.reservation.shrink(std::mem::take(&mut self.given_bytes));
        loop {
            if let Some((chunk, bytes)) = self.ready.pop_front() {
                self.given_bytes = bytes;
                return Ok(Some(chunk));
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
        let goes_on = self.open.id.is_some_and(|open| open == ids.value(0));
        let last = starts.last().copied().unwrap_or(0) as usize;
        let last_id = ids.value(last).try_into();
        let last_id = last_id.map_err(|_| internal_datafusion_err!("a trace id of another length"))?;
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
            let chunk = self.chunk(spans(batch.slice(from, last - from), self.trace)?)?;
            self.ready.push_back((chunk, 0));
        }
        self.open.id = Some(last_id);
        self.keep(batch.slice(last, batch.num_rows() - last))
    }

    /// Rows that are in memory.
    fn chunk(&self, spans: Spans) -> Result<Chunk> {
        let Some((parts, _)) = &self.parts else {
            return Ok(Chunk { passing: Passing::held(spans.batch.slice(0, 0)), needed: spans });
        };
        let Spans { batch, traces } = parts.spans().apply(&spans)?;
        let passing = Passing::held(parts.passing(&batch)?);
        Ok(Chunk { needed: Spans { batch: parts.needed(&batch)?, traces }, passing })
    }

    /// Adds rows to the open trace.
    fn keep(&mut self, rows: RecordBatch) -> Result<()> {
        let Some((parts, disk)) = &self.parts else {
            self.open.bytes += grown(&self.reservation, row_bytes(rows.columns()))?;
            self.open.needed.push(rows);
            return Ok(());
        };
        let traces = vec![0; rows.num_rows()].into();
        let rows = parts.spans().apply(&Spans { batch: rows, traces })?.batch;
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let (needed, passing) = (parts.needed(&rows)?, parts.passing(&rows)?);
        let open = &mut self.open;
        if let Some(large) = &mut open.large {
            large.push(&needed, &passing)?;
            open.bytes += grown(&self.reservation, large.bytes().saturating_sub(open.bytes))?;
            return Ok(());
        }
        // A slice holds its whole batch, of which the rows before it are on their way out: what counts is what stays.
        open.bytes += grown(&self.reservation, row_bytes(needed.columns()) + row_bytes(passing.columns()))?;
        open.needed.push(needed);
        open.passing.push(passing);
        if open.bytes > disk.large_bytes() {
            let mut large = Large::new(open.needed[0].schema(), parts.passing_schema(), disk);
            for (needed, passing) in open.needed.drain(..).zip(open.passing.drain(..)) {
                large.push(&needed, &passing)?;
            }
            let bytes = large.bytes().min(open.bytes);
            self.reservation.shrink(open.bytes - bytes);
            open.bytes = bytes;
            open.large = Some(large);
        }
        Ok(())
    }

    /// Gives the open trace as a chunk of its own.
    fn close(&mut self) -> Result<()> {
        let Open { mut needed, mut passing, large, bytes, .. } = std::mem::take(&mut self.open);
        if let Some(large) = large {
            let (batch, passing) = large.finish(&mut self.reservation)?;
            let traces = vec![0; batch.num_rows()].into();
            self.ready.push_back((Chunk { needed: Spans { batch, traces }, passing }, bytes));
            return Ok(());
        }
        if needed.is_empty() {
            return Ok(());
        }
        if needed.len() > 1 {
            // Until the parts are gone, all is there twice.
            self.reservation.try_grow(bytes)?;
            needed = vec![concat_batches(&needed[0].schema(), &needed)?];
            if let Some(first) = passing.first() {
                passing = vec![concat_batches(&first.schema(), &passing)?];
            }
            self.reservation.shrink(bytes);
        }
        let Some(batch) = needed.pop() else { return Ok(()) };
        let traces = vec![0; batch.num_rows()].into();
        let passing = Passing::held(passing.pop().unwrap_or_else(|| batch.slice(0, 0)));
        self.ready.push_back((Chunk { needed: Spans { batch, traces }, passing }, bytes));
        Ok(())
    }
}

/// So many bytes, once the reservation has them too.
fn grown(reservation: &MemoryReservation, bytes: usize) -> Result<usize> {
    reservation.try_grow(bytes)?;
    Ok(bytes)
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
        assert_eq!(long.needed.batch.num_rows(), 300);
        assert!((of_trace..of_trace + 1_000).contains(&pool.reserved()), "{}", pool.reserved());
        let mut short = Vec::new();
        while let Some(chunk) = chunks.next().await.expect("within memory") {
            short.push(chunk.needed.batch.num_rows());
            assert!(pool.reserved() < 1_000, "{}", pool.reserved());
        }
        assert_eq!((short.iter().sum::<usize>(), pool.reserved()), (3, 0));
        let small: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(of_trace));
        let refused =
            super::tests::chunks(batches(), &small).next().await.err().expect("it is there twice for a while");
        assert!(matches!(refused, DataFusionError::ResourcesExhausted(_)), "{refused}");
    }
}
