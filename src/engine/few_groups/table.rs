//! The groups met so far, and the accumulators over them.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::HashMap;
use datafusion::error::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::aggregates::{AggregateExec, aggregate_expressions};

use super::keys::Key;

pub(super) struct Table {
    output: SchemaRef,
    key_exprs: Vec<Arc<dyn PhysicalExpr>>,
    keys: Vec<Key>,
    /// One for each key after the first.
    pairs: Vec<Pairs>,
    aggregates: Vec<Aggregate>,
    groups: usize,
}

struct Aggregate {
    arguments: Vec<Arc<dyn PhysicalExpr>>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    accumulator: Box<dyn GroupsAccumulator>,
}

/// Pairs of codes as codes again.
#[derive(Default)]
struct Pairs {
    codes: HashMap<(u32, u32), u32>,
    pairs: Vec<(u32, u32)>,
}

impl Table {
    pub fn new(plan: &AggregateExec) -> Result<Self> {
        let input = plan.input().schema();
        let key_exprs = plan.group_expr().input_exprs();
        let keys = key_exprs.iter().map(|expr| Key::new(&expr.data_type(&input)?)).collect::<Result<Vec<_>>>()?;
        let pairs = keys.iter().skip(1).map(|_| Pairs::default()).collect();
        let arguments = aggregate_expressions(plan.aggr_expr(), plan.mode(), keys.len())?;
        let aggregates = plan.aggr_expr().iter().zip(arguments).zip(plan.filter_expr());
        let aggregates = aggregates.map(|((aggregate, arguments), filter)| {
            let accumulator = aggregate.create_groups_accumulator()?;
            Ok(Aggregate { arguments, filter: filter.clone(), accumulator })
        });
        let aggregates = aggregates.collect::<Result<_>>()?;
        Ok(Self {
            output: datafusion::physical_plan::ExecutionPlan::schema(plan),
            key_exprs,
            keys,
            pairs,
            aggregates,
            groups: 0,
        })
    }

    /// How many groups were met.
    pub fn groups(&self) -> usize {
        self.groups
    }

    pub fn heap_bytes(&self) -> usize {
        let keys: usize = self.keys.iter().map(Key::heap_bytes).sum();
        let pairs: usize = self.pairs.iter().map(Pairs::heap_bytes).sum();
        keys + pairs + self.aggregates.iter().map(|aggregate| aggregate.accumulator.size()).sum::<usize>()
    }

    /// Takes in rows.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let groups = self.group(batch)?;
        for aggregate in &mut self.aggregates {
            aggregate.add(batch, &groups, self.groups)?;
        }
        Ok(())
    }

    /// Each row's group.
    fn group(&mut self, batch: &RecordBatch) -> Result<Vec<usize>> {
        let rows = batch.num_rows();
        let (mut codes, mut more) = (Vec::with_capacity(rows), Vec::new());
        for (at, (key, expr)) in self.keys.iter_mut().zip(&self.key_exprs).enumerate() {
            let column = expr.evaluate(batch)?.into_array(rows)?;
            match at.checked_sub(1) {
                None => key.code(&column, &mut codes)?,
                Some(pairs) => {
                    more.clear();
                    key.code(&column, &mut more)?;
                    self.pairs[pairs].code(&mut codes, &more);
                }
            }
        }
        // Codes are dense: a code never seen before is the number of those that were.
        let groups: Vec<usize> = codes.into_iter().map(|code| code as usize).collect();
        self.groups = groups.iter().fold(self.groups, |groups, group| groups.max(group + 1));
        Ok(groups)
    }

    /// The groups with the states of their aggregates; `None` without a group.
    pub fn finish(mut self) -> Result<Option<RecordBatch>> {
        if self.groups == 0 {
            return Ok(None);
        }
        let mut codes: Vec<u32> = (0..self.groups as u32).collect();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for at in (1..self.keys.len()).rev() {
            let pairs = &self.pairs[at - 1].pairs;
            columns.push(self.keys[at].values(codes.iter().map(|code| pairs[*code as usize].1)));
            codes.iter_mut().for_each(|code| *code = pairs[*code as usize].0);
        }
        if let Some(first) = self.keys.first() {
            columns.push(first.values(codes.into_iter()));
        }
        columns.reverse();
        for aggregate in &mut self.aggregates {
            columns.extend(aggregate.accumulator.state(EmitTo::All)?);
        }
        Ok(Some(RecordBatch::try_new(self.output, columns)?))
    }
}

impl Aggregate {
    fn add(&mut self, batch: &RecordBatch, groups: &[usize], total: usize) -> Result<()> {
        let rows = batch.num_rows();
        let arguments =
            self.arguments.iter().map(|expr| expr.evaluate(batch)?.into_array(rows)).collect::<Result<Vec<_>>>()?;
        let filter = self.filter.as_ref().map(|filter| filter.evaluate(batch)?.into_array(rows)).transpose()?;
        let filter: Option<&BooleanArray> = filter.as_ref().map(|filter| filter.as_boolean());
        self.accumulator.update_batch(&arguments, groups, filter, total)
    }
}

impl Pairs {
    /// Makes of each code and the one beside it the code of the pair.
    fn code(&mut self, codes: &mut [u32], beside: &[u32]) {
        for (code, beside) in codes.iter_mut().zip(beside) {
            let pair = (*code, *beside);
            let next = self.pairs.len() as u32;
            *code = *self.codes.entry(pair).or_insert_with(|| {
                self.pairs.push(pair);
                next
            });
        }
    }

    fn heap_bytes(&self) -> usize {
        self.codes.capacity() * size_of::<((u32, u32), u32)>() + self.pairs.capacity() * size_of::<(u32, u32)>()
    }
}
