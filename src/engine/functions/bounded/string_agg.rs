//! `string_agg` within a bound: its accumulators grow by a whole batch, delimiters included, before the memory pool hears of it.

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::functions_aggregate::string_agg::StringAgg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, EmitTo, GroupsAccumulator, ReversedUDAF,
};
use datafusion::physical_expr::expressions::Literal;

use super::weight::leaves;
use super::within;
use crate::engine::bounds::StatementBounds;
use crate::engine::functions::wrapped::said_by_inner;

/// The function.
pub(in crate::engine::functions) fn bounded() -> AggregateUDF {
    AggregateUDF::from(BoundedStringAgg { inner: StringAgg::new() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BoundedStringAgg {
    inner: StringAgg,
}

impl AggregateUDFImpl for BoundedStringAgg {
    said_by_inner!();

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let made = Made::new(&args);
        Ok(Box::new(Bounded { inner: self.inner.accumulator(args)?, made }))
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let made = Made::new(&args);
        Ok(Box::new(BoundedGroups { inner: self.inner.create_groups_accumulator(args)?, made }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Reversed(std::sync::Arc::new(bounded()))
    }
}

/// What an accumulator has been given so far, as the text that it will make.
#[derive(Debug)]
struct Made {
    delimiter_bytes: i128,
    total_bytes: i128,
    /// The hashes of what was counted, where each text is written once.
    counted: Option<HashSet<u64>>,
    hasher: RandomState,
}

impl Made {
    fn new(args: &AccumulatorArgs) -> Self {
        let delimiter = args.exprs.get(1).and_then(|expr| expr.downcast_ref::<Literal>());
        let delimiter_bytes =
            delimiter.and_then(|literal| literal.value().try_as_str().flatten()).map_or(0, str::len) as i128;
        let counted = args.is_distinct.then(HashSet::new);
        Self { delimiter_bytes, total_bytes: 0, counted, hasher: RandomState::default() }
    }

    fn of(&self, values: &[ArrayRef]) -> Result<i128> {
        let Some(values) = values.first() else { return Ok(0) };
        let (texts, bytes) = leaves(Some(&ColumnarValue::Array(values.clone())), values.len())?;
        Ok(bytes + texts * self.delimiter_bytes)
    }

    /// The bytes of the texts that were not there before; two of one hash count as one, which makes no more than their difference.
    fn of_new(&mut self, values: &[ArrayRef]) -> Result<i128> {
        let (Some(values), Some(counted)) = (values.first(), &mut self.counted) else { return Ok(0) };
        let texts = match values.as_list_opt::<i32>() {
            Some(lists) => lists.values(),
            None => values,
        };
        let texts = cast(texts, &DataType::Utf8View)?;
        let new = texts.as_string_view().iter().flatten().filter(|text| counted.insert(self.hasher.hash_one(text)));
        Ok(new.map(|text| text.len() as i128 + self.delimiter_bytes).sum())
    }

    fn heap_bytes(&self) -> usize {
        // An entry has a byte of its own for control.
        self.counted.as_ref().map_or(0, |counted| counted.capacity() * (size_of::<u64>() + 1))
    }

    /// One text: it is refused as a whole before it is too long.
    fn add(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.total_bytes += match self.counted.is_some() {
            true => self.of_new(values)?,
            false => self.of(values)?,
        };
        within("string_agg", self.total_bytes, &StatementBounds::default())
    }

    /// Many texts: the pool bounds them together, and this what one batch adds.
    fn add_batch(&self, values: &[ArrayRef]) -> Result<()> {
        within("string_agg", self.of(values)?, &StatementBounds::default())
    }
}

#[derive(Debug)]
struct Bounded {
    inner: Box<dyn Accumulator>,
    made: Made,
}

impl Accumulator for Bounded {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.made.add(values)?;
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size() + self.made.heap_bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.made.add(states)?;
        self.inner.merge_batch(states)
    }
}

struct BoundedGroups {
    inner: Box<dyn GroupsAccumulator>,
    made: Made,
}

impl GroupsAccumulator for BoundedGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.made.add_batch(values)?;
        self.inner.update_batch(values, group_indices, opt_filter, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.inner.evaluate(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.made.add_batch(values)?;
        self.inner.merge_batch(values, group_indices, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.made.add_batch(values)?;
        self.inner.convert_to_state(values, opt_filter)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}
