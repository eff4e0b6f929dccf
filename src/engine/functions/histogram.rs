//! `histogram(x, bounds)`: how many values lie in each bucket of OpenTelemetry's explicit-bucket histograms; with a third argument, how many those stand
//! for that do.
//!
//! A bucket takes what is above the bound before and at most its own; the last takes what is above all bounds.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::groups::wanted;
use crate::error::Error;

/// The most bounds, far above what exporters have: a group has so many counts.
const MAX_BOUNDS: usize = 1_000;

/// The function.
pub(super) fn udaf() -> AggregateUDF {
    AggregateUDF::from(Histogram { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Histogram {
    signature: Signature,
}

impl AggregateUDFImpl for Histogram {
    fn name(&self) -> &str {
        "histogram"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_number = |data_type: &DataType| data_type.is_numeric() || data_type.is_null();
        match types {
            [value, DataType::List(bound), weights @ ..]
                if weights.len() <= 1
                    && is_number(value)
                    && is_number(bound.data_type())
                    && weights.iter().all(is_number) =>
            {
                let bounds = DataType::new_list(DataType::Float64, true);
                Ok([DataType::Float64, bounds].into_iter().chain(weights.iter().map(|_| DataType::Float64)).collect())
            }
            [value, _] if !is_number(value) => {
                plan_err!("function histogram wants numbers, not {value}; write histogram(CAST(x AS DOUBLE), …)")
            }
            _ => plan_err!("function histogram wants a number and a list of bounds, as in histogram(x, ARRAY[5, 10])"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Int64, true))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let counts = DataType::new_list(DataType::Float64, true);
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "counts"), counts, true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let counts = Counts::new(bounds_of(&args)?, 1);
        Ok(Box::new(OneGroup(counts)))
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        !args.is_distinct
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Counts::new(bounds_of(&args)?, 0)))
    }
}

/// The bounds of a call, which ascend.
fn bounds_of(args: &AccumulatorArgs) -> Result<Vec<f64>> {
    if args.is_distinct {
        return plan_err!("DISTINCT is not supported by histogram; take the values of a SELECT DISTINCT");
    }
    let bounds = match args.exprs.get(1).map(|expr| expr.evaluate(&RecordBatch::new_empty(args.schema.clone().into())))
    {
        Some(Ok(ColumnarValue::Scalar(ScalarValue::List(bounds)))) if bounds.is_valid(0) => bounds.value(0),
        _ => return Err(wrong_bounds("must be a constant list")),
    };
    let bounds = bounds.as_primitive::<Float64Type>();
    let ascend = bounds.values().windows(2).all(|pair| pair[0] < pair[1]);
    if bounds.null_count() > 0 || !ascend || !bounds.values().iter().all(|bound| bound.is_finite()) {
        return Err(wrong_bounds("must be finite numbers that ascend"));
    }
    match bounds.len() {
        0..=MAX_BOUNDS => Ok(bounds.values().to_vec()),
        count => Err(wrong_bounds(&format!("are {count}, and may be {MAX_BOUNDS} at most"))),
    }
}

fn wrong_bounds(why: &str) -> DataFusionError {
    let error = Error::bad_input(format!("the bounds of a histogram {why}")).with_sqlstate("22023");
    DataFusionError::External(Box::new(error))
}

/// The counts of groups, one group's beside the other's.
#[derive(Debug)]
struct Counts {
    bounds: Vec<f64>,
    /// Doubles, since what a value stands for need not be whole; they count up to 2⁵³ one by one.
    counts: Vec<f64>,
}

impl Counts {
    fn new(bounds: Vec<f64>, groups: usize) -> Self {
        let counts = vec![0.0; groups * (bounds.len() + 1)];
        Self { bounds, counts }
    }

    /// How many buckets a group has.
    fn width(&self) -> usize {
        self.bounds.len() + 1
    }

    #[inline]
    fn bucket(&self, value: f64) -> usize {
        self.bounds.partition_point(|bound| *bound < value)
    }

    #[inline]
    fn add(&mut self, group: usize, value: f64, times: f64) {
        if !value.is_nan() {
            let at = group * self.width() + self.bucket(value);
            self.counts[at] += times;
        }
    }

    fn merge(&mut self, group: usize, counts: &[f64]) -> Result<()> {
        let width = self.width();
        if counts.len() != width {
            return exec_err!("a histogram's state has {} buckets instead of {width}", counts.len());
        }
        let own = &mut self.counts[group * width..(group + 1) * width];
        own.iter_mut().zip(counts).for_each(|(own, count)| *own += count);
        Ok(())
    }

    /// Takes out the counts of groups.
    fn take(&mut self, emit_to: EmitTo) -> Vec<f64> {
        let width = self.width();
        match emit_to {
            EmitTo::All => std::mem::take(&mut self.counts),
            EmitTo::First(groups) => {
                let rest = self.counts.split_off(groups * width);
                std::mem::replace(&mut self.counts, rest)
            }
        }
    }
}

/// Lists of `width` counts each.
fn lists(counts: ArrayRef, width: usize) -> ListArray {
    let offsets = OffsetBuffer::from_repeated_length(width, counts.len() / width);
    let element = Arc::new(Field::new_list_field(counts.data_type().clone(), true));
    ListArray::new(element, offsets, counts, None)
}

/// The counts as a histogram shows them.
fn shown(counts: &[f64], width: usize) -> ListArray {
    let whole: Int64Array = counts.iter().map(|count| Some(count.round() as i64)).collect();
    lists(Arc::new(whole), width)
}

/// The counts as they go on to be merged.
fn state(counts: Vec<f64>, width: usize) -> ListArray {
    lists(Arc::new(Float64Array::from(counts)), width)
}

impl GroupsAccumulator for Counts {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.counts.resize(total_num_groups * self.width(), 0.0);
        let values = Values::of(values)?;
        for (row, group) in group_indices.iter().enumerate() {
            if let Some((value, times)) = values.get(row).filter(|_| wanted(opt_filter, row)) {
                self.add(*group, value, times);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(shown(&self.take(emit_to), self.width())))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![Arc::new(state(self.take(emit_to), self.width()))])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.counts.resize(total_num_groups * self.width(), 0.0);
        let states = states(values)?;
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| states.is_valid(*row)) {
            self.merge(*group, states.value(row).as_primitive::<Float64Type>().values())?;
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = Values::of(values)?;
        let mut each = Self::new(self.bounds.clone(), values.len());
        for row in (0..values.len()).filter(|row| wanted(opt_filter, *row)) {
            if let Some((value, times)) = values.get(row) {
                each.add(row, value, times);
            }
        }
        each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        (self.counts.capacity() + self.bounds.capacity()) * size_of::<f64>()
    }
}

#[derive(Debug)]
struct OneGroup(Counts);

impl OneGroup {
    fn add_all(&mut self, values: &[ArrayRef], sign: f64) -> Result<()> {
        let values = Values::of(values)?;
        let present = (0..values.len()).filter_map(|row| values.get(row));
        present.for_each(|(value, times)| self.0.add(0, value, sign * times));
        Ok(())
    }
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add_all(values, 1.0)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::List(Arc::new(shown(&self.0.counts, self.0.width()))))
    }

    fn size(&self) -> usize {
        size_of_val(self) + GroupsAccumulator::size(&self.0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::List(Arc::new(state(self.0.counts.clone(), self.0.width())))])
    }

    fn merge_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let states = states(values)?;
        let lists = states.iter().flatten();
        lists.into_iter().try_for_each(|counts| self.0.merge(0, counts.as_primitive::<Float64Type>().values()))
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add_all(values, -1.0)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }
}

/// Values, each with how many it stands for.
struct Values<'a> {
    values: &'a Float64Array,
    weights: Option<&'a Float64Array>,
}

impl<'a> Values<'a> {
    fn of(columns: &'a [ArrayRef]) -> Result<Self> {
        let doubles = |column: &'a ArrayRef| column.as_primitive_opt::<Float64Type>();
        match (columns.first().and_then(doubles), columns.get(2).map(doubles)) {
            (Some(values), None) => Ok(Self { values, weights: None }),
            (Some(values), Some(Some(weights))) => Ok(Self { values, weights: Some(weights) }),
            _ => exec_err!("a histogram's values are doubles"),
        }
    }

    fn len(&self) -> usize {
        self.values.len()
    }

    #[inline]
    fn get(&self, row: usize) -> Option<(f64, f64)> {
        let weight = match self.weights {
            Some(weights) => weights.is_valid(row).then(|| weights.value(row)).filter(|weight| weight.is_finite())?,
            None => 1.0,
        };
        self.values.is_valid(row).then(|| (self.values.value(row), weight))
    }
}

fn states(values: &[ArrayRef]) -> Result<&ListArray> {
    match values.first().and_then(|values| values.as_list_opt::<i32>()) {
        Some(states) => Ok(states),
        None => exec_err!("a histogram's state is a list"),
    }
}
