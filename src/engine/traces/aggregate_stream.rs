//! One partition of groups within traces at work.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, RecordBatch, UInt32Array,
};
use datafusion::arrow::compute::filter;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};
use datafusion::physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion::physical_plan::aggregates::order::{GroupOrdering, GroupOrderingFull};
use datafusion::physical_plan::aggregates::{AggregateMode, aggregate_expressions, evaluate_many};
use datafusion::physical_plan::metrics::BaselineMetrics;
use futures::StreamExt;

use super::aggregate::TraceAggregate;
use super::local::{Spans, batch, truth};
use super::runs::{run_starts, trace_ids};
use super::within::WordGroups;
use crate::model::TraceId;

pub(super) struct Grouper {
    aggregate: Arc<TraceAggregate>,
    /// The aggregates' columns alone.
    aggregates: SchemaRef,
    input: SendableRecordBatchStream,
    trace: usize,
    reservation: MemoryReservation,
    /// So many groups are given at once.
    batch_rows: usize,
    arguments: Vec<Vec<Arc<dyn PhysicalExpr>>>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    groups: Groups,
    /// The number and the id of the trace that came last.
    last: Option<(u32, [u8; TraceId::LEN])>,
    ended: bool,
    metrics: BaselineMetrics,
}

impl Grouper {
    pub fn new(
        aggregate: Arc<TraceAggregate>,
        input: SendableRecordBatchStream,
        trace: usize,
        reservation: MemoryReservation,
        batch_rows: usize,
        metrics: BaselineMetrics,
    ) -> Result<Self> {
        Ok(Self {
            arguments: aggregate_expressions(&aggregate.aggregates, &AggregateMode::Single, 0)?,
            accumulators: aggregate.aggregates.iter().map(accumulator).collect::<Result<_>>()?,
            groups: Groups::new(&aggregate)?,
            aggregates: Arc::new(aggregate.aggregates_schema()),
            aggregate,
            input,
            trace,
            reservation,
            batch_rows,
            last: None,
            ended: false,
            metrics,
        })
    }

    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while !self.ended {
            // A condition on groups may keep all of them back: others must get their turn all the same.
            tokio::task::consume_budget().await;
            let given = match self.input.next().await.transpose()? {
                Some(batch) => self.push(&batch)?,
                None => {
                    self.ended = true;
                    self.give(self.groups.count)?
                }
            };
            if let Some(batch) = given {
                self.metrics.record_output(batch.num_rows());
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Takes spans; gives the groups of the traces before the last one when there are enough.
    fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let elapsed = self.metrics.elapsed_compute().clone();
        let _timer = elapsed.timer();
        if batch.num_rows() == 0 {
            return Ok(None);
        }
        let traces = self.numbers(trace_ids(batch, self.trace)?)?;
        let aggregate = self.aggregate.clone();
        let spans = aggregate.spans.apply(&Spans { batch: batch.clone(), traces })?;
        let rows = spans.batch.num_rows();
        if rows == 0 {
            return Ok(None);
        }
        let groups = self.groups.of(&aggregate, &spans)?;
        let values = evaluate_many(&self.arguments, &spans.batch)?;
        for ((accumulator, values), filter) in self.accumulators.iter_mut().zip(&values).zip(&aggregate.filters) {
            let wanted = filter.as_ref().map(|filter| filter.evaluate(&spans.batch)?.into_array(rows)).transpose()?;
            let wanted: Option<&BooleanArray> = wanted.as_ref().map(|wanted| wanted.as_boolean());
            accumulator.update_batch(values, &groups, wanted, self.groups.count)?;
        }
        let held = self.accumulators.iter().map(|accumulator| accumulator.size()).sum::<usize>();
        self.reservation.try_resize(held + self.groups.bytes())?;
        match self.groups.open_from >= self.batch_rows {
            true => self.give(self.groups.open_from),
            false => Ok(None),
        }
    }

    /// The number of each row's trace: traces are numbered as they come.
    fn numbers(&mut self, ids: &FixedSizeBinaryArray) -> Result<Arc<[u32]>> {
        let mut starts = run_starts(ids);
        starts.push(ids.len() as u32);
        let mut numbers = Vec::with_capacity(ids.len());
        for run in starts.windows(2) {
            let id = ids.value(run[0] as usize);
            let number = match self.last {
                Some((number, last)) if last == id => number,
                last => {
                    let number = last.map_or(0, |(number, _)| number.wrapping_add(1));
                    let id = id.try_into().map_err(|_| internal_datafusion_err!("a trace id of another length"))?;
                    self.last = Some((number, id));
                    number
                }
            };
            numbers.resize(run[1] as usize, number);
        }
        Ok(numbers.into())
    }

    /// The first `count` groups.
    fn give(&mut self, count: usize) -> Result<Option<RecordBatch>> {
        if count == 0 {
            return Ok(None);
        }
        let emit = || if count == self.groups.count { EmitTo::All } else { EmitTo::First(count) };
        let made = self.accumulators.iter_mut().map(|accumulator| accumulator.evaluate(emit()));
        let mut made = made.collect::<Result<Vec<_>>>()?;
        let wanted = self.wanted(&made, count)?;
        if let Some(wanted) = &wanted {
            made = made.iter().map(|made| filter(made, wanted)).collect::<std::result::Result<_, _>>()?;
        }
        let mut columns = self.groups.emit(&self.aggregate, count, wanted.as_ref())?;
        columns.extend(made);
        let rows = wanted.map_or(count, |wanted| wanted.true_count());
        if rows == 0 {
            return Ok(None);
        }
        batch(self.aggregate.schema.clone(), columns, rows).map(Some)
    }

    /// Which of so many groups are given, told by their aggregates; `None` for all of them.
    fn wanted(&self, made: &[ArrayRef], count: usize) -> Result<Option<BooleanArray>> {
        let Some(having) = &self.aggregate.having else { return Ok(None) };
        let made = batch(self.aggregates.clone(), made.to_vec(), count)?;
        let wanted = truth(&having.evaluate(&made)?.into_array(count)?)?;
        Ok((wanted.true_count() < count).then_some(wanted))
    }
}

fn accumulator(aggregate: &Arc<AggregateFunctionExpr>) -> Result<Box<dyn GroupsAccumulator>> {
    if aggregate.groups_accumulator_supported() {
        return aggregate.create_groups_accumulator();
    }
    let aggregate = aggregate.clone();
    Ok(Box::new(GroupsAccumulatorAdapter::new(move || aggregate.create_accumulator())))
}

/// The groups that have not been given yet, numbered from 0 in the order of their traces.
struct Groups {
    count: usize,
    /// The first group of the trace that may go on.
    open_from: usize,
    open_trace: Option<u32>,
    /// The trace id of each group.
    ids: Vec<[u8; TraceId::LEN]>,
    /// Tells groups of one trace apart by what is grouped by beside the trace; `None` when nothing is.
    within: Option<Within>,
}

enum Within {
    Words(Box<WordGroups>),
    /// Of any types, with the trace's number first.
    Values(Box<dyn GroupValues>),
}

impl Within {
    fn new(mut fields: Vec<FieldRef>) -> Result<Self> {
        if let Some(words) = WordGroups::new(&fields)? {
            return Ok(Self::Words(Box::new(words)));
        }
        fields.insert(0, Arc::new(Field::new("trace", DataType::UInt32, false)));
        // Under an order, groups are numbered as they come.
        let order = GroupOrdering::Full(GroupOrderingFull::new());
        Ok(Self::Values(new_group_values(Arc::new(Schema::new(fields)), &order)?))
    }

    fn intern(&mut self, traces: &[u32], mut columns: Vec<ArrayRef>, groups: &mut Vec<usize>) -> Result<()> {
        match self {
            Self::Words(words) => words.intern(traces, &columns, groups),
            Self::Values(values) => {
                columns.insert(0, Arc::new(UInt32Array::from(traces.to_vec())));
                values.intern(&columns, groups)
            }
        }
    }

    fn emit(&mut self, emit: EmitTo, count: usize, wanted: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        match self {
            Self::Words(words) => words.emit(count, wanted),
            Self::Values(values) => {
                let mut columns = values.emit(emit)?;
                columns.remove(0);
                match wanted {
                    None => Ok(columns),
                    Some(wanted) => Ok(columns
                        .iter()
                        .map(|column| filter(column, wanted))
                        .collect::<std::result::Result<_, _>>()?),
                }
            }
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Words(words) => words.bytes(),
            Self::Values(values) => values.size(),
        }
    }
}

impl Groups {
    fn new(aggregate: &TraceAggregate) -> Result<Self> {
        let groups = aggregate.schema.fields().iter().take(aggregate.group_by.len()).enumerate();
        let others = groups.filter(|(at, _)| *at != aggregate.trace_group);
        let fields: Vec<FieldRef> = others.map(|(_, field)| field.clone()).collect();
        let within = if fields.is_empty() { None } else { Some(Within::new(fields)?) };
        Ok(Self { count: 0, open_from: 0, open_trace: None, ids: Vec::new(), within })
    }

    /// The group of each row.
    fn of(&mut self, aggregate: &TraceAggregate, spans: &Spans) -> Result<Vec<usize>> {
        let rows = spans.batch.num_rows();
        let columns = aggregate.group_by.iter().map(|group| group.evaluate(&spans.batch)?.into_array(rows));
        let mut columns = columns.collect::<Result<Vec<ArrayRef>>>()?;
        let ids = columns.remove(aggregate.trace_group);
        let ids = ids.as_fixed_size_binary();
        let mut groups = Vec::with_capacity(rows);
        if let Some(within) = &mut self.within {
            within.intern(&spans.traces, columns, &mut groups)?;
        }
        let has_within = self.within.is_some();
        for (row, trace) in spans.traces.iter().enumerate() {
            let is_new_trace = self.open_trace != Some(*trace);
            if is_new_trace {
                // Groups of a new trace are new, and numbered in the order of their first rows.
                self.open_trace = Some(*trace);
                self.open_from = self.count;
            }
            if !has_within {
                groups.push(self.open_from);
            }
            if groups[row] == self.count {
                self.count += 1;
                let id = ids.value(row).try_into();
                self.ids.push(id.map_err(|_| internal_datafusion_err!("a trace id of another length"))?);
            }
        }
        Ok(groups)
    }

    /// Takes the columns of the first `count` groups out, of those that are wanted.
    fn emit(
        &mut self,
        aggregate: &TraceAggregate,
        count: usize,
        wanted: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let mut columns = Vec::new();
        if let Some(within) = &mut self.within {
            let emit = if count == self.count { EmitTo::All } else { EmitTo::First(count) };
            columns = within.emit(emit, count, wanted)?;
        }
        let rows = wanted.map_or(count, |wanted| wanted.true_count());
        let mut ids = FixedSizeBinaryBuilder::with_capacity(rows, TraceId::LEN as i32);
        for (group, id) in self.ids.drain(..count).enumerate() {
            if wanted.is_none_or(|wanted| wanted.value(group)) {
                ids.append_value(id)?;
            }
        }
        columns.insert(aggregate.trace_group, Arc::new(ids.finish()));
        self.count -= count;
        self.open_from = self.open_from.saturating_sub(count);
        Ok(columns)
    }

    fn bytes(&self) -> usize {
        self.ids.capacity() * TraceId::LEN + self.within.as_ref().map_or(0, Within::bytes)
    }
}
