//! `quantile(x, q)` and `quantiles(x, q1, …)`: approximate quantiles from [`Sketch`], with a relative error of at most 0.79 %;
//! `quantile_sketch(x)` gives the sketch itself, `sketch_merge(sketch)` one of all that several hold.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Float64Array, Float64Builder, ListBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::sketch::Sketch;
use crate::engine::functions::groups::wanted;
use crate::engine::functions::levels::{coerce, levels_of};

/// The state of one value: its ends and its bucket.
const STATE_OF_ONE_BYTES: usize = 28;

/// The aggregates of sketches.
pub(in crate::engine::functions) fn udafs() -> Vec<AggregateUDF> {
    [Kind::Quantile, Kind::Quantiles, Kind::Sketch, Kind::Merge].map(udaf).into()
}

/// `quantiles`, which one sketch answers at any number of levels.
pub(in crate::engine) fn quantiles_udaf() -> Arc<AggregateUDF> {
    static QUANTILES: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| Arc::new(udaf(Kind::Quantiles)));
    QUANTILES.clone()
}

/// Whether this is `quantile`, at one level.
pub(in crate::engine) fn is_quantile(function: &AggregateUDF) -> bool {
    function.inner().downcast_ref::<OfSketch>().is_some_and(|function| function.kind == Kind::Quantile)
}

fn udaf(kind: Kind) -> AggregateUDF {
    AggregateUDF::from(OfSketch { kind, signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// A quantile of numbers.
    Quantile,
    /// A list of quantiles of numbers, one for each level.
    Quantiles,
    /// The sketch of numbers.
    Sketch,
    /// The sketch of all values in sketches.
    Merge,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfSketch {
    kind: Kind,
    signature: Signature,
}

impl OfSketch {
    fn levels(&self, args: &AccumulatorArgs) -> Result<Vec<f64>> {
        match self.kind {
            Kind::Quantile | Kind::Quantiles if args.is_distinct => {
                plan_err!("DISTINCT is not supported by {}; quantileExact supports it", self.name())
            }
            Kind::Quantile | Kind::Quantiles => levels_of(self.name(), args),
            Kind::Sketch | Kind::Merge if args.is_distinct => {
                plan_err!("DISTINCT is not supported by {}; take the values of a SELECT DISTINCT", self.name())
            }
            Kind::Sketch | Kind::Merge => Ok(Vec::new()),
        }
    }
}

impl AggregateUDFImpl for OfSketch {
    fn name(&self) -> &str {
        match self.kind {
            Kind::Quantile => "quantile",
            Kind::Quantiles => "quantiles",
            Kind::Sketch => "quantile_sketch",
            Kind::Merge => "sketch_merge",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match (self.kind, types) {
            (Kind::Quantile, _) => coerce(self.name(), types, 1),
            (Kind::Quantiles, _) => coerce(self.name(), types, usize::MAX),
            (Kind::Sketch, [_]) => coerce(self.name(), types, 0),
            (Kind::Merge, [sketch]) if sketch.is_binary() || sketch.is_null() => Ok(vec![DataType::Binary]),
            (Kind::Sketch, _) => plan_err!("function {} wants one number", self.name()),
            (Kind::Merge, _) => plan_err!("function {} wants one sketch, as bytea", self.name()),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Quantile => DataType::Float64,
            Kind::Quantiles => DataType::new_list(DataType::Float64, true),
            Kind::Sketch | Kind::Merge => DataType::Binary,
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sketch"), DataType::Binary, true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let levels = self.levels(&args)?;
        Ok(Box::new(OneGroup { kind: self.kind, levels, sketch: Sketch::default() }))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let levels = self.levels(&args)?;
        Ok(Box::new(Groups { kind: self.kind, levels, sketches: Vec::new(), heap_bytes: 0 }))
    }
}

#[derive(Debug)]
struct OneGroup {
    kind: Kind,
    levels: Vec<f64>,
    sketch: Sketch,
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if self.kind == Kind::Merge {
            return sketches(values)?.iter().flatten().try_for_each(|value| merge_value(&mut self.sketch, value));
        }
        for value in numbers(values)?.iter().flatten().filter(|value| !value.is_nan()) {
            self.sketch.insert(value);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let answer = answers(self.kind, &self.levels, std::slice::from_ref(&self.sketch));
        ScalarValue::try_from_array(&answer, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sketch.heap_bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut bytes = Vec::new();
        self.sketch.write(&mut bytes);
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [states] = states else { return exec_err!("a quantile's state is one column") };
        for bytes in states.as_binary::<i32>().iter().flatten() {
            merge(&mut self.sketch, bytes)?;
        }
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in numbers(values)?.iter().flatten().filter(|value| !value.is_nan()) {
            self.sketch.retract(value);
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        self.kind != Kind::Merge
    }
}

struct Groups {
    kind: Kind,
    levels: Vec<f64>,
    sketches: Vec<Sketch>,
    heap_bytes: usize,
}

impl Groups {
    #[inline]
    fn insert(&mut self, group: usize, value: f64) {
        if value.is_nan() {
            return;
        }
        let sketch = &mut self.sketches[group];
        if sketch.insert_in_place(value) {
            return;
        }
        let before = sketch.heap_bytes();
        sketch.insert(value);
        self.heap_bytes = self.heap_bytes + sketch.heap_bytes() - before;
    }

    fn merge(
        &mut self,
        group: usize,
        bytes: &[u8],
        merge: impl FnOnce(&mut Sketch, &[u8]) -> Result<()>,
    ) -> Result<()> {
        let sketch = &mut self.sketches[group];
        let before = sketch.heap_bytes();
        merge(sketch, bytes)?;
        self.heap_bytes = self.heap_bytes + sketch.heap_bytes() - before;
        Ok(())
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Sketch> {
        let taken = emit_to.take_needed(&mut self.sketches);
        self.heap_bytes = self.sketches.iter().map(Sketch::heap_bytes).sum();
        taken
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.sketches.resize_with(total_num_groups, Sketch::default);
        if self.kind == Kind::Merge {
            let values = sketches(values)?;
            let rows = group_indices.iter().enumerate();
            for (row, group) in rows.filter(|(row, _)| values.is_valid(*row) && wanted(opt_filter, *row)) {
                self.merge(*group, values.value(row), merge_value)?;
            }
            return Ok(());
        }
        let values = numbers(values)?;
        if values.null_count() == 0 && opt_filter.is_none() {
            for (value, group) in values.values().iter().zip(group_indices) {
                self.insert(*group, *value);
            }
            return Ok(());
        }
        for (row, group) in group_indices.iter().enumerate() {
            if values.is_valid(row) && wanted(opt_filter, row) {
                self.insert(*group, values.value(row));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sketches = self.take(emit_to);
        Ok(answers(self.kind, &self.levels, &sketches))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut out = BinaryBuilder::new();
        let mut bytes = Vec::new();
        for sketch in self.take(emit_to) {
            bytes.clear();
            sketch.write(&mut bytes);
            out.append_value(&bytes);
        }
        Ok(vec![Arc::new(out.finish())])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.sketches.resize_with(total_num_groups, Sketch::default);
        let [states] = values else { return exec_err!("a quantile's state is one column") };
        let states = states.as_binary::<i32>();
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| states.is_valid(*row)) {
            self.merge(*group, states.value(row), merge)?;
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let of_row = OneRow::new(self.kind, values)?;
        let rows = values.first().map_or(0, |values| values.len());
        let mut out = BinaryBuilder::with_capacity(rows, STATE_OF_ONE_BYTES * rows);
        let mut bytes = Vec::new();
        for row in 0..rows {
            bytes.clear();
            if wanted(opt_filter, row) {
                of_row.sketch(row)?.write(&mut bytes);
            }
            out.append_value(&bytes);
        }
        Ok(vec![Arc::new(out.finish())])
    }

    fn size(&self) -> usize {
        self.sketches.capacity() * size_of::<Sketch>() + self.heap_bytes
    }
}

/// What each row holds, by itself.
enum OneRow<'a> {
    Numbers(&'a Float64Array),
    Sketches(&'a BinaryArray),
}

impl<'a> OneRow<'a> {
    fn new(kind: Kind, values: &'a [ArrayRef]) -> Result<Self> {
        Ok(match kind {
            Kind::Merge => Self::Sketches(sketches(values)?),
            _ => Self::Numbers(numbers(values)?),
        })
    }

    fn sketch(&self, row: usize) -> Result<Sketch> {
        let mut sketch = Sketch::default();
        match self {
            Self::Numbers(values) if values.is_valid(row) && !values.value(row).is_nan() => {
                sketch.insert(values.value(row));
            }
            Self::Sketches(values) if values.is_valid(row) => merge_value(&mut sketch, values.value(row))?,
            _ => {}
        }
        Ok(sketch)
    }
}

fn sketches(values: &[ArrayRef]) -> Result<&BinaryArray> {
    match values.first().and_then(|values| values.as_binary_opt::<i32>()) {
        Some(values) => Ok(values),
        None => exec_err!("sketches are bytes"),
    }
}

fn numbers(values: &[ArrayRef]) -> Result<&Float64Array> {
    match values.first().and_then(|values| values.as_primitive_opt::<Float64Type>()) {
        Some(values) => Ok(values),
        None => exec_err!("a quantile's values are doubles"),
    }
}

fn merge_value(sketch: &mut Sketch, value: &[u8]) -> Result<()> {
    sketch.merge_value(value).map_err(|error| DataFusionError::External(Box::new(error)))
}

fn merge(sketch: &mut Sketch, bytes: &[u8]) -> Result<()> {
    match sketch.merge_bytes(bytes) {
        Some(()) => Ok(()),
        None => exec_err!("a quantile's state is not a sketch"),
    }
}

fn answers(kind: Kind, levels: &[f64], sketches: &[Sketch]) -> ArrayRef {
    match kind {
        Kind::Quantile => {
            let level = levels.first().copied().unwrap_or(0.5);
            Arc::new(sketches.iter().map(|sketch| sketch.quantile(level)).collect::<Float64Array>())
        }
        Kind::Quantiles => {
            let mut out = ListBuilder::new(Float64Builder::new());
            for sketch in sketches {
                for level in levels {
                    out.values().append_option(sketch.quantile(*level));
                }
                out.append(true);
            }
            Arc::new(out.finish())
        }
        Kind::Sketch | Kind::Merge => Arc::new(sketches.iter().map(Sketch::to_value).collect::<BinaryArray>()),
    }
}
