//! One partition of a join of traces at work: chunk by chunk, and within a chunk a bounded number of pairs at a time.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::compute::{BatchCoalescer, filter, take};
use datafusion::arrow::datatypes::UInt32Type;
use datafusion::common::{JoinSide, JoinType, internal_err};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::metrics::BaselineMetrics;

use super::chunks::Chunks;
use super::join::TraceJoin;
use super::local::{Spans, batch, row_bytes, truth};
use super::matching::{Matched, Matching, Side, Table};

pub(super) struct Joiner {
    join: Arc<TraceJoin>,
    chunks: Chunks,
    reservation: MemoryReservation,
    batch_rows: usize,
    out: BatchCoalescer,
    current: Option<Current>,
    ended: bool,
    metrics: BaselineMetrics,
}

/// The chunk that is being joined.
struct Current {
    /// The rows that probe, and those that were built on.
    probe: RecordBatch,
    build: RecordBatch,
    matching: Matching,
    probe_matched: Matched,
    build_matched: Matched,
}

/// Rows of both sides, a pair a row; NULL where a row has no partner.
struct Pairs {
    probe: Option<UInt32Array>,
    build: Option<UInt32Array>,
    rows: usize,
}

impl Joiner {
    pub fn new(
        join: Arc<TraceJoin>,
        chunks: Chunks,
        reservation: MemoryReservation,
        batch_rows: usize,
        metrics: BaselineMetrics,
    ) -> Self {
        let out =
            BatchCoalescer::new(join.schema.clone(), batch_rows).with_biggest_coalesce_batch_size(Some(batch_rows / 2));
        Self { join, chunks, reservation, batch_rows, out, current: None, ended: false, metrics }
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
            // A condition may turn all pairs away: others must get their turn all the same.
            tokio::task::consume_budget().await;
            if self.current.is_none() {
                match self.chunks.next().await? {
                    Some(chunk) => self.begin(&chunk.needed)?,
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

    fn begin(&mut self, spans: &Spans) -> Result<()> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        let join = &self.join;
        let (left, right) = (join.left.apply(spans)?, join.right.apply(spans)?);
        let matching = Matching::bytes(left.batch.num_rows() + right.batch.num_rows());
        self.reservation.try_resize(matching + made_bytes(&left, spans) + made_bytes(&right, spans))?;
        let left_side = side(&left, join.on.iter().map(|(left, _)| left))?;
        let right_side = side(&right, join.on.iter().map(|(_, right)| right))?;
        let first_only = join.filter.is_none() && !gives_pairs(join.join_type);
        let ((probe, probe_side), (build, build_side)) = match probes_left(join.join_type) {
            true => ((left, left_side), (right, right_side)),
            false => ((right, right_side), (left, left_side)),
        };
        self.current = Some(Current {
            matching: Matching::new(probe_side, Arc::new(Table::new(build_side)?), first_only)?,
            probe_matched: Matched::new(probe.batch.num_rows()),
            build_matched: Matched::new(build.batch.num_rows()),
            probe: probe.batch,
            build: build.batch,
        });
        Ok(())
    }

    /// Takes the next pairs of the current chunk, or its rows without a partner after the last.
    fn go_on(&mut self) -> Result<()> {
        let Some(mut current) = self.current.take() else { return Ok(()) };
        let join = self.join.clone();
        let (mut probe, mut build) = (Vec::new(), Vec::new());
        let gives_pairs = gives_pairs(join.join_type);
        let matched = &current.probe_matched;
        let skip = |row| !gives_pairs && matched.get(row);
        let more = current.matching.next_pairs(self.batch_rows, skip, &mut probe, &mut build);
        let pairs = current.filtered(&join, UInt32Array::from(probe), UInt32Array::from(build))?;
        current.mark(&pairs);
        if gives_pairs {
            self.give(&current, &pairs, None)?;
        }
        match more {
            true => self.current = Some(current),
            false => self.finish(current)?,
        }
        Ok(())
    }

    fn finish(&mut self, mut current: Current) -> Result<()> {
        let matched = std::mem::replace(&mut current.probe_matched, Matched::new(0)).finish();
        match self.join.join_type {
            JoinType::Inner => {}
            JoinType::Left | JoinType::Right => self.give_probe(&current, &!&matched)?,
            JoinType::LeftSemi | JoinType::RightSemi => self.give_probe(&current, &matched)?,
            JoinType::LeftAnti | JoinType::RightAnti => self.give_probe(&current, &!&matched)?,
            JoinType::LeftMark | JoinType::RightMark => {
                let rows = current.probe.num_rows();
                let all = Pairs { probe: Some((0..rows as u32).collect()), build: None, rows };
                self.give(&current, &all, Some(Arc::new(BooleanArray::from(matched))))?;
            }
            JoinType::Full => {
                self.give_probe(&current, &!&matched)?;
                let alone: UInt32Array =
                    unset(&std::mem::replace(&mut current.build_matched, Matched::new(0)).finish());
                let rows = alone.len();
                self.give(&current, &Pairs { probe: None, build: Some(alone), rows }, None)?;
            }
        }
        Ok(())
    }

    fn give_probe(&mut self, current: &Current, chosen: &BooleanBuffer) -> Result<()> {
        let rows: UInt32Array = chosen.set_indices().map(|row| row as u32).collect();
        let count = rows.len();
        self.give(current, &Pairs { probe: Some(rows), build: None, rows: count }, None)
    }

    fn give(&mut self, current: &Current, pairs: &Pairs, mark: Option<ArrayRef>) -> Result<()> {
        if pairs.rows == 0 {
            return Ok(());
        }
        let columns = self.join.columns.iter().zip(self.join.schema.fields());
        let columns = columns.map(|(column, field)| match (column.side, &mark) {
            (JoinSide::None, Some(mark)) => Ok(mark.clone()),
            _ => match current.taken(&self.join, column, pairs)? {
                Some(taken) => Ok(taken),
                None => Ok(new_null_array(field.data_type(), pairs.rows)),
            },
        });
        let columns = columns.collect::<Result<_>>()?;
        Ok(self.out.push_batch(batch(self.join.schema.clone(), columns, pairs.rows)?)?)
    }
}

impl Current {
    /// The pairs that the join's condition lets stand.
    fn filtered(&self, join: &TraceJoin, probe: UInt32Array, build: UInt32Array) -> Result<Pairs> {
        let rows = probe.len();
        let pairs = Pairs { probe: Some(probe), build: Some(build), rows };
        let Some(condition) = join.filter.as_ref().filter(|_| rows > 0) else { return Ok(pairs) };
        let wanted = truth(&self.condition(join, condition, &pairs)?)?;
        if wanted.true_count() == rows {
            return Ok(pairs);
        }
        let chosen = |rows: &Option<UInt32Array>| -> Result<Option<UInt32Array>> {
            let rows = rows.as_ref().map(|rows| filter(rows, &wanted)).transpose()?;
            Ok(rows.map(|rows| rows.as_primitive::<UInt32Type>().clone()))
        };
        Ok(Pairs { probe: chosen(&pairs.probe)?, build: chosen(&pairs.build)?, rows: wanted.true_count() })
    }

    fn condition(&self, join: &TraceJoin, condition: &JoinFilter, pairs: &Pairs) -> Result<ArrayRef> {
        let columns = condition.column_indices().iter().map(|column| match self.taken(join, column, pairs)? {
            Some(taken) => Ok(taken),
            None => internal_err!("a join's condition on a row without a partner"),
        });
        let columns = columns.collect::<Result<_>>()?;
        let seen = batch(condition.schema().clone(), columns, pairs.rows)?;
        condition.expression().evaluate(&seen)?.into_array(pairs.rows)
    }

    fn mark(&mut self, pairs: &Pairs) {
        pairs.probe.iter().flat_map(|rows| rows.values()).for_each(|row| self.probe_matched.set(*row));
        pairs.build.iter().flat_map(|rows| rows.values()).for_each(|row| self.build_matched.set(*row));
    }

    fn taken(&self, join: &TraceJoin, column: &ColumnIndex, pairs: &Pairs) -> Result<Option<ArrayRef>> {
        let probes = (column.side == JoinSide::Left) == probes_left(join.join_type);
        let (side, rows) = match probes {
            true => (&self.probe, &pairs.probe),
            false => (&self.build, &pairs.build),
        };
        let Some(rows) = rows else { return Ok(None) };
        Ok(Some(take(side.column(column.index), rows, None)?))
    }
}

/// The bytes of the columns that a side has made of spans, beside those that it took as they are.
fn made_bytes(side: &Spans, spans: &Spans) -> usize {
    let is_made = |column: &&ArrayRef| !spans.batch.columns().iter().any(|given| Arc::ptr_eq(given, column));
    let made: Vec<ArrayRef> = side.batch.columns().iter().filter(is_made).cloned().collect();
    row_bytes(&made)
}

pub(super) fn side<'a>(spans: &Spans, keys: impl Iterator<Item = &'a Arc<dyn PhysicalExpr>>) -> Result<Side> {
    let rows = spans.batch.num_rows();
    let keys = keys.map(|key| key.evaluate(&spans.batch)?.into_array(rows)).collect::<Result<_>>()?;
    Ok(Side { traces: spans.traces.clone(), keys })
}

/// Whether the left side's rows go through one by one. It is the side whose rows are told apart by whether they have a partner.
fn probes_left(join_type: JoinType) -> bool {
    !matches!(join_type, JoinType::Right | JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark)
}

fn gives_pairs(join_type: JoinType) -> bool {
    matches!(join_type, JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full)
}

fn unset(set: &BooleanBuffer) -> UInt32Array {
    (!set).set_indices().map(|row| row as u32).collect()
}
