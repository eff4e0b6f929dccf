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

/// The most places of a table of all pairs: 4 MiB, of which only those of pairs that are met are touched.
const MOST_PLACES: usize = 1 << 20;
const NOT_MET: u32 = u32::MAX;

/// Pairs of codes as codes again.
#[derive(Default)]
struct Pairs {
    pairs: Vec<(u32, u32)>,
    codes: PairCodes,
}

enum PairCodes {
    /// A row of `width` places for each first code.
    Table {
        width: usize,
        codes: Vec<u32>,
    },
    Map(HashMap<(u32, u32), u32>),
}

impl Default for PairCodes {
    fn default() -> Self {
        Self::Table { width: 0, codes: Vec::new() }
    }
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
        let (mut codes, mut more, mut met) = (Vec::with_capacity(rows), Vec::new(), 0);
        for (at, (key, expr)) in self.keys.iter_mut().zip(&self.key_exprs).enumerate() {
            let column = expr.evaluate(batch)?.into_array(rows)?;
            match at.checked_sub(1) {
                None => key.code(&column, &mut codes)?,
                Some(pairs) => {
                    more.clear();
                    key.code(&column, &mut more)?;
                    self.pairs[pairs].code(&mut codes, &more, met, key.len());
                }
            }
            // Codes are dense: a code never seen before is the number of those that were.
            met = if at == 0 { key.len() } else { self.pairs[at - 1].pairs.len() };
        }
        self.groups = met;
        Ok(codes.into_iter().map(|code| code as usize).collect())
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
            columns.push(self.keys[at].values(codes.iter().map(|code| pairs[*code as usize].1))?);
            codes.iter_mut().for_each(|code| *code = pairs[*code as usize].0);
        }
        if let Some(first) = self.keys.first() {
            columns.push(first.values(codes.into_iter())?);
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
    /// Makes of each code and the one beside it the code of the pair; codes are less than `met` and `met_beside`.
    fn code(&mut self, codes: &mut [u32], beside: &[u32], met: usize, met_beside: usize) {
        self.make_room(met, met_beside);
        let Self { pairs, codes: known } = self;
        let mut next = |pair| {
            pairs.push(pair);
            pairs.len() as u32 - 1
        };
        match known {
            PairCodes::Table { width, codes: known } => {
                for (code, beside) in codes.iter_mut().zip(beside) {
                    let place = &mut known[*code as usize * *width + *beside as usize];
                    if *place == NOT_MET {
                        *place = next((*code, *beside));
                    }
                    *code = *place;
                }
            }
            PairCodes::Map(known) => {
                for (code, beside) in codes.iter_mut().zip(beside) {
                    let pair = (*code, *beside);
                    *code = *known.entry(pair).or_insert_with(|| next(pair));
                }
            }
        }
    }

    /// Makes a table that has all pairs of these many codes, or a map when that would be too large.
    fn make_room(&mut self, met: usize, met_beside: usize) {
        let PairCodes::Table { width, codes } = &mut self.codes else { return };
        if met_beside <= *width && met * *width <= codes.len() {
            return;
        }
        let (height, wide) = (met.next_power_of_two(), met_beside.next_power_of_two());
        if height.saturating_mul(wide) > MOST_PLACES {
            self.codes = PairCodes::Map(self.pairs.iter().copied().zip(0..).collect());
            return;
        }
        *width = wide;
        *codes = vec![NOT_MET; height * wide];
        for ((code, beside), pair) in self.pairs.iter().zip(0..) {
            codes[*code as usize * wide + *beside as usize] = pair;
        }
    }

    fn heap_bytes(&self) -> usize {
        let codes = match &self.codes {
            PairCodes::Table { codes, .. } => codes.capacity() * size_of::<u32>(),
            PairCodes::Map(codes) => codes.capacity() * size_of::<((u32, u32), u32)>(),
        };
        codes + self.pairs.capacity() * size_of::<(u32, u32)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_their_codes_when_the_table_grows_and_becomes_a_map() {
        let mut pairs = Pairs::default();
        let mut seen: std::collections::HashMap<(u32, u32), u32> = Default::default();
        for most in [3_u32, 40, 700, 5_000] {
            let first: Vec<u32> = (0..4_000).map(|n| n * 7 % most).collect();
            let beside: Vec<u32> = (0..4_000).map(|n| n * n % most).collect();
            let mut codes = first.clone();
            pairs.code(&mut codes, &beside, most as usize, most as usize);
            for ((first, beside), code) in first.into_iter().zip(beside).zip(codes) {
                let next = seen.len() as u32;
                assert_eq!(*seen.entry((first, beside)).or_insert(next), code, "{first} and {beside} of {most}");
                assert_eq!(pairs.pairs[code as usize], (first, beside));
            }
        }
        assert!(matches!(pairs.codes, PairCodes::Map(_)));
    }
}
