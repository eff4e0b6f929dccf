//! The groups met so far, and the accumulators over them.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::HashMap;
use datafusion::error::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_plan::aggregates::{AggregateExec, aggregate_expressions};

use super::lanes::Lanes;
use super::places::Places;
use crate::engine::key_codes::Key;

pub(super) struct Table {
    output: SchemaRef,
    key_exprs: Vec<Arc<dyn PhysicalExpr>>,
    keys: Vec<Key>,
    /// One for each key after the first.
    pairs: Vec<Pairs>,
    places: Places,
    aggregates: Vec<Aggregate>,
    groups: usize,
    /// Of the rows of the last batch.
    of_rows: Vec<usize>,
}

struct Aggregate {
    arguments: Vec<Argument>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    lanes: Option<Lanes>,
    accumulator: Box<dyn GroupsAccumulator>,
}

struct Argument {
    expr: Arc<dyn PhysicalExpr>,
    /// A constant beside as many rows as a batch had, as that of `count(*)`.
    constant: Option<ArrayRef>,
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
            let types = arguments.iter().map(|expr| expr.data_type(&input)).collect::<Result<Vec<_>>>()?;
            let lanes = Lanes::of(aggregate, &types).filter(|_| filter.is_none());
            let arguments = arguments.into_iter().map(|expr| Argument { expr, constant: None }).collect();
            Ok(Aggregate { arguments, filter: filter.clone(), lanes, accumulator })
        });
        let aggregates = aggregates.collect::<Result<_>>()?;
        Ok(Self {
            output: datafusion::physical_plan::ExecutionPlan::schema(plan),
            key_exprs,
            keys,
            pairs,
            places: Places::default(),
            aggregates,
            groups: 0,
            of_rows: Vec::new(),
        })
    }

    /// How many groups were met.
    pub fn groups(&self) -> usize {
        self.groups
    }

    pub fn heap_bytes(&self) -> usize {
        let keys: usize = self.keys.iter().map(Key::heap_bytes).sum();
        let pairs: usize = self.pairs.iter().map(Pairs::heap_bytes).sum();
        let rows = self.places.heap_bytes() + self.of_rows.capacity() * size_of::<usize>();
        keys + pairs + rows + self.aggregates.iter().map(Aggregate::heap_bytes).sum::<usize>()
    }

    /// Takes in rows.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let keys = self.key_exprs.iter().map(|expr| expr.evaluate(batch)?.into_array(batch.num_rows()));
        let keys = keys.collect::<Result<Vec<_>>>()?;
        self.find_groups(&keys, batch.num_rows())?;
        for aggregate in &mut self.aggregates {
            aggregate.add(batch, &self.of_rows, self.groups)?;
        }
        Ok(())
    }

    /// Finds each row's group, into `of_rows`.
    fn find_groups(&mut self, keys: &[ArrayRef], rows: usize) -> Result<()> {
        match self.places.groups(keys, &mut self.of_rows) {
            Some(new) if new.is_empty() => {}
            Some(new) => {
                let keys = keys.iter().map(|key| take(key, &new, None)).collect::<std::result::Result<Vec<_>, _>>()?;
                let found = self.group(&keys, new.len())?;
                self.places.note(&new, &found, &mut self.of_rows);
            }
            None => self.of_rows = self.group(keys, rows)?,
        }
        Ok(())
    }

    /// Each row's group, by the keys' values.
    fn group(&mut self, keys: &[ArrayRef], rows: usize) -> Result<Vec<usize>> {
        let (mut codes, mut more, mut met) = (Vec::with_capacity(rows), Vec::new(), 0);
        for (at, (key, column)) in self.keys.iter_mut().zip(keys).enumerate() {
            match at.checked_sub(1) {
                None => key.code(column, &mut codes)?,
                Some(pairs) => {
                    more.clear();
                    key.code(column, &mut more)?;
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
            columns.extend(aggregate.state(self.groups)?);
        }
        Ok(Some(RecordBatch::try_new(self.output, columns)?))
    }
}

impl Aggregate {
    fn add(&mut self, batch: &RecordBatch, groups: &[usize], total: usize) -> Result<()> {
        let rows = batch.num_rows();
        let arguments = self.arguments.iter_mut().map(|argument| argument.values(batch)).collect::<Result<Vec<_>>>()?;
        let filter = self.filter.as_ref().map(|filter| filter.evaluate(batch)?.into_array(rows)).transpose()?;
        let filter: Option<&BooleanArray> = filter.as_ref().map(|filter| filter.as_boolean());
        if let (Some(lanes), [values]) = (&mut self.lanes, arguments.as_slice())
            && lanes.add(values, groups, total)
        {
            return Ok(());
        }
        self.accumulator.update_batch(&arguments, groups, filter, total)
    }

    fn state(&mut self, total: usize) -> Result<Vec<ArrayRef>> {
        if let Some(lanes) = self.lanes.take() {
            lanes.give_to(self.accumulator.as_mut(), total)?;
        }
        self.accumulator.state(EmitTo::All)
    }

    fn heap_bytes(&self) -> usize {
        self.accumulator.size() + self.lanes.as_ref().map_or(0, Lanes::heap_bytes)
    }
}

impl Argument {
    fn values(&mut self, batch: &RecordBatch) -> Result<ArrayRef> {
        let rows = batch.num_rows();
        if let Some(constant) = self.constant.as_ref().filter(|constant| constant.len() >= rows) {
            return Ok(constant.slice(0, rows));
        }
        let values = self.expr.evaluate(batch)?.into_array(rows)?;
        self.constant = self.expr.is::<Literal>().then(|| values.clone());
        Ok(values)
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
    use datafusion::arrow::array::{Array, DictionaryArray, StringArray};
    use datafusion::arrow::compute::cast;
    use datafusion::arrow::datatypes::{DataType, Schema, UInt16Type};

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

    #[test]
    fn places_in_dictionaries_give_the_groups_that_their_texts_give() {
        let dictionary = |texts: &[&str], places: Vec<Option<u16>>| -> ArrayRef {
            let values: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
            Arc::new(DictionaryArray::<UInt16Type>::new(places.into(), values))
        };
        let texts = |column: &ArrayRef| cast(column, &DataType::Utf8View).expect("texts");
        let pair = |first: &[&str], second: &[&str], seed: u16| {
            let places =
                |of: usize, step: u16| (0..500).map(move |n| (n % 7 != 3).then_some((n * step + seed) % of as u16));
            [dictionary(first, places(first.len(), 5).collect()), dictionary(second, places(second.len(), 3).collect())]
        };
        let first = pair(&["a", "b", "c"], &["x", "y", "z", "of no row"], 0);
        // Batches of one dictionary, then of another with some of the texts, then without one.
        let rest: [ArrayRef; 2] = [first[0].slice(100, 50), first[1].slice(200, 50)];
        let other = pair(&["c", "d"], &["y", "w", "x"], 1);
        let plain: [ArrayRef; 2] = [texts(&other[0]), texts(&other[1])];
        let (mut by_places, mut by_texts) = (keys_of_text(2), keys_of_text(2));
        for keys in [first, rest, other.clone(), plain, other] {
            let of_texts = by_texts.group(&[texts(&keys[0]), texts(&keys[1])], keys[0].len()).expect("grouped");
            by_places.find_groups(&keys, keys[0].len()).expect("grouped");
            assert_eq!(by_places.of_rows, of_texts);
            assert_eq!(by_places.groups, by_texts.groups);
        }
    }

    fn keys_of_text(keys: usize) -> Table {
        Table {
            output: Arc::new(Schema::empty()),
            key_exprs: Vec::new(),
            keys: (0..keys).map(|_| Key::new(&DataType::Utf8View).expect("supported")).collect(),
            pairs: (1..keys).map(|_| Pairs::default()).collect(),
            places: Places::default(),
            aggregates: Vec::new(),
            groups: 0,
            of_rows: Vec::new(),
        }
    }
}
