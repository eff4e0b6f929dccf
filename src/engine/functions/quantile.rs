//! `quantile(x, q)` and `quantiles(x, q1, …)`: approximate quantiles from [`Sketch`], with a relative error of at most 0.79 %.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Float64Array, Float64Builder, ListBuilder,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::groups::wanted;
use super::levels::{coerce, levels_of};
use super::sketch::Sketch;

/// `quantile` and `quantiles`.
pub(super) fn udafs() -> Vec<AggregateUDF> {
    [false, true].map(udaf).into()
}

/// `quantiles`, which one sketch answers at any number of levels.
pub(in crate::engine) fn quantiles_udaf() -> Arc<AggregateUDF> {
    static QUANTILES: LazyLock<Arc<AggregateUDF>> = LazyLock::new(|| Arc::new(udaf(true)));
    QUANTILES.clone()
}

/// Whether this is `quantile`, at one level.
pub(in crate::engine) fn is_quantile(function: &AggregateUDF) -> bool {
    function.inner().downcast_ref::<Quantile>().is_some_and(|quantile| !quantile.many)
}

fn udaf(many: bool) -> AggregateUDF {
    AggregateUDF::from(Quantile { many, signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Quantile {
    /// Whether the answer is a list, one for each level.
    many: bool,
    signature: Signature,
}

impl Quantile {
    fn levels(&self, args: &AccumulatorArgs) -> Result<Vec<f64>> {
        if args.is_distinct {
            return plan_err!("DISTINCT is not supported by {}; quantileExact supports it", self.name());
        }
        levels_of(self.name(), args)
    }
}

impl AggregateUDFImpl for Quantile {
    fn name(&self) -> &str {
        if self.many { "quantiles" } else { "quantile" }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        coerce(self.name(), types, if self.many { usize::MAX } else { 1 })
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(if self.many { DataType::new_list(DataType::Float64, true) } else { DataType::Float64 })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sketch"), DataType::Binary, true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let levels = self.levels(&args)?;
        Ok(Box::new(OneGroup { many: self.many, levels, sketch: Sketch::default() }))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let levels = self.levels(&args)?;
        Ok(Box::new(Groups { many: self.many, levels, sketches: Vec::new(), heap_bytes: 0 }))
    }
}

#[derive(Debug)]
struct OneGroup {
    many: bool,
    levels: Vec<f64>,
    sketch: Sketch,
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for value in numbers(values)?.iter().flatten().filter(|value| !value.is_nan()) {
            self.sketch.insert(value);
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let answer = answers(self.many, &self.levels, std::slice::from_ref(&self.sketch));
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
        true
    }
}

struct Groups {
    many: bool,
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

    fn merge(&mut self, group: usize, bytes: &[u8]) -> Result<()> {
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
        Ok(answers(self.many, &self.levels, &sketches))
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
            self.merge(*group, states.value(row))?;
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = numbers(values)?;
        let mut out = BinaryBuilder::with_capacity(values.len(), 28 * values.len());
        let mut bytes = Vec::new();
        for row in 0..values.len() {
            bytes.clear();
            if values.is_valid(row) && wanted(opt_filter, row) && !values.value(row).is_nan() {
                let mut sketch = Sketch::default();
                sketch.insert(values.value(row));
                sketch.write(&mut bytes);
            }
            out.append_value(&bytes);
        }
        Ok(vec![Arc::new(out.finish())])
    }

    fn size(&self) -> usize {
        self.sketches.capacity() * size_of::<Sketch>() + self.heap_bytes
    }
}

fn numbers(values: &[ArrayRef]) -> Result<&Float64Array> {
    match values.first().and_then(|values| values.as_primitive_opt::<Float64Type>()) {
        Some(values) => Ok(values),
        None => exec_err!("a quantile's values are doubles"),
    }
}

fn merge(sketch: &mut Sketch, bytes: &[u8]) -> Result<()> {
    match sketch.merge_bytes(bytes) {
        Some(()) => Ok(()),
        None => exec_err!("a quantile's state is not a sketch"),
    }
}

fn answers(many: bool, levels: &[f64], sketches: &[Sketch]) -> ArrayRef {
    if !many {
        let level = levels.first().copied().unwrap_or(0.5);
        return Arc::new(sketches.iter().map(|sketch| sketch.quantile(level)).collect::<Float64Array>());
    }
    let mut out = ListBuilder::new(Float64Builder::new());
    for sketch in sketches {
        for level in levels {
            out.values().append_option(sketch.quantile(*level));
        }
        out.append(true);
    }
    Arc::new(out.finish())
}
