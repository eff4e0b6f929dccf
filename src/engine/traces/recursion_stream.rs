//! One partition of a recursive query over traces at work: chunk by chunk, and within a chunk a bounded number of rows at a time.

use std::sync::Arc;

use datafusion::arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use datafusion::arrow::compute::{BatchCoalescer, take};
use datafusion::common::utils::memory::get_record_batch_memory_size;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::GroupOrdering;
use datafusion::physical_plan::joins::utils::ColumnIndex;
use datafusion::physical_plan::metrics::BaselineMetrics;

use super::chunks::Chunks;
use super::join_stream::side;
use super::local::{Spans, batch, truth};
use super::matching::{Matching, Table};
use super::recursion::TraceRecursion;

pub(super) struct Walker {
    recursion: Arc<TraceRecursion>,
    chunks: Chunks,
    reservation: MemoryReservation,
    batch_rows: usize,
    out: BatchCoalescer,
    current: Option<Walk>,
    ended: bool,
    metrics: BaselineMetrics,
}

/// A chunk that is being walked.
struct Walk {
    chunk: Spans,
    /// What is joined with each round's rows, made once.
    spans: Option<(RecordBatch, Arc<Table>)>,
    /// The rows whose partners are being found.
    probing: Option<(Spans, Matching)>,
    /// Rows whose partners are still to be found, and the bytes of each batch. The last ones are next: what they lead to is done with before
    /// the others, so that little waits.
    waiting: Vec<(Spans, usize)>,
    waiting_bytes: usize,
    seen: Option<Seen>,
}

impl Walker {
    pub fn new(
        recursion: Arc<TraceRecursion>,
        chunks: Chunks,
        reservation: MemoryReservation,
        batch_rows: usize,
        metrics: BaselineMetrics,
    ) -> Self {
        let out = BatchCoalescer::new(recursion.schema.clone(), batch_rows)
            .with_biggest_coalesce_batch_size(Some(batch_rows / 2));
        Self { recursion, chunks, reservation, batch_rows, out, current: None, ended: false, metrics }
    }

    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.out.next_completed_batch() {
                self.metrics.record_output(batch.num_rows());
                return Ok(Some(batch));
            }
            if self.ended {
                return Ok(None);
            }
            // Parents may go in a circle for ever: others must get their turn, and the statement's end be seen.
            tokio::task::consume_budget().await;
            if self.current.is_none() {
                match self.chunks.next().await? {
                    Some(chunk) => self.begin(chunk.needed)?,
                    None => {
                        self.ended = true;
                        self.out.finish_buffered_batch()?;
                        continue;
                    }
                }
            }
            let elapsed = self.metrics.elapsed_compute().clone();
            let _timer = elapsed.timer();
            self.go_on()?;
        }
    }

    fn begin(&mut self, chunk: Spans) -> Result<()> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let recursion = self.recursion.clone();
        let first = recursion.start.apply(&chunk)?;
        let seen = recursion.is_distinct.then(|| Seen::new(&recursion)).transpose()?;
        let mut walk = Walk { chunk, spans: None, probing: None, waiting: Vec::new(), waiting_bytes: 0, seen };
        self.give(&mut walk, first)?;
        self.current = Some(walk);
        Ok(())
    }

    /// Takes a step of the current chunk's walk, or ends it.
    fn go_on(&mut self) -> Result<()> {
        let Some(mut walk) = self.current.take() else { return Ok(()) };
        let recursion = self.recursion.clone();
        match walk.probing.take() {
            Some((work, mut matching)) => {
                let (mut probe, mut build) = (Vec::new(), Vec::new());
                let more = matching.next_pairs(self.batch_rows, |_| false, &mut probe, &mut build);
                if !probe.is_empty() {
                    let joined = walk.joined(&recursion, &work, probe, build)?;
                    self.give(&mut walk, recursion.next.apply(&joined)?)?;
                }
                walk.probing = more.then_some((work, matching));
            }
            None => {
                let Some((rows, bytes)) = walk.waiting.pop() else {
                    self.reservation.free();
                    return Ok(());
                };
                walk.waiting_bytes -= bytes;
                walk.probe(&recursion, &rows)?;
            }
        }
        self.current = Some(walk);
        Ok(())
    }

    /// Gives rows of a round, and keeps them for the next.
    fn give(&mut self, walk: &mut Walk, rows: Spans) -> Result<()> {
        let count = rows.batch.num_rows();
        let of_schema = batch(self.recursion.schema.clone(), rows.batch.columns().to_vec(), count)?;
        let mut rows = Spans { batch: of_schema, ..rows };
        if let Some(seen) = &mut walk.seen {
            rows = seen.fresh(rows)?;
        }
        if rows.batch.num_rows() == 0 {
            return Ok(());
        }
        self.out.push_batch(rows.batch.clone())?;
        let bytes = get_record_batch_memory_size(&rows.batch);
        walk.waiting.push((rows, bytes));
        walk.waiting_bytes += bytes;
        let seen = walk.seen.as_ref().map_or(0, |seen| seen.groups.size());
        let matching = Matching::bytes(walk.chunk.batch.num_rows() + self.batch_rows);
        self.reservation.try_resize(walk.waiting_bytes + seen + matching)
    }
}

impl Walk {
    /// Begins to find the partners of `rows`.
    fn probe(&mut self, recursion: &TraceRecursion, rows: &Spans) -> Result<()> {
        let work = recursion.work.apply(rows)?;
        if work.batch.num_rows() == 0 {
            return Ok(());
        }
        let table = match &self.spans {
            Some((_, table)) => table.clone(),
            None => {
                let spans = recursion.spans.apply(&self.chunk)?;
                let table = Arc::new(Table::new(side(&spans, recursion.on.iter().map(|(_, span)| span))?)?);
                self.spans = Some((spans.batch, table.clone()));
                table
            }
        };
        let keys = side(&work, recursion.on.iter().map(|(work, _)| work))?;
        self.probing = Some((work, Matching::new(keys, table, false)?));
        Ok(())
    }

    /// The joined rows of pairs for which the join's condition is true.
    fn joined(&self, recursion: &TraceRecursion, work: &Spans, probe: Vec<u32>, build: Vec<u32>) -> Result<Spans> {
        let rows = probe.len();
        let traces = probe.iter().map(|row| work.traces[*row as usize]).collect();
        let (probe, build) = (UInt32Array::from(probe), UInt32Array::from(build));
        let taken = |columns: &[ColumnIndex], schema| {
            let columns = columns.iter().map(|column| match (&self.spans, column.side == recursion.work_side) {
                (Some((spans, _)), false) => Ok(take(spans.column(column.index), &build, None)?),
                _ => Ok(take(work.batch.column(column.index), &probe, None)?),
            });
            batch(schema, columns.collect::<Result<_>>()?, rows)
        };
        let joined = Spans { batch: taken(&recursion.columns, recursion.joined.clone())?, traces };
        let Some(condition) = &recursion.filter else { return Ok(joined) };
        let seen = taken(condition.column_indices(), condition.schema().clone())?;
        joined.chosen(&truth(&condition.expression().evaluate(&seen)?.into_array(rows)?)?)
    }
}

/// The rows of a chunk that were there before, for a query that gives each row once. Equal rows are of one trace.
struct Seen {
    groups: Box<dyn GroupValues>,
    numbers: Vec<usize>,
}

impl Seen {
    fn new(recursion: &TraceRecursion) -> Result<Self> {
        Ok(Self { groups: new_group_values(recursion.schema.clone(), &GroupOrdering::None)?, numbers: Vec::new() })
    }

    /// The rows that were not there before, each once.
    fn fresh(&mut self, rows: Spans) -> Result<Spans> {
        let mut known = self.groups.len();
        self.groups.intern(rows.batch.columns(), &mut self.numbers)?;
        // New rows are numbered as they come.
        let is_new = |number: &usize| {
            let is_new = *number == known;
            known += usize::from(is_new);
            is_new
        };
        let fresh: Vec<bool> = self.numbers.iter().map(is_new).collect();
        rows.chosen(&BooleanArray::from(fresh))
    }
}
