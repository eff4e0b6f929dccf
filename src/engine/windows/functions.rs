//! Guards around the functions of windows. They stand in optimized plans only, so they carry what the making of a physical plan asks for.

use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::{SortOptions, filter};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::common::cast::as_boolean_array;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunctionParams};
use datafusion::logical_expr::function::{
    AccumulatorArgs, ExpressionArgs, PartitionEvaluatorArgs, StateFieldsArgs, WindowUDFFieldArgs,
};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::window_state::WindowAggState;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, LimitEffect, PartitionEvaluator, ReversedUDAF,
    ReversedUDWF, SetMonotonicity, Signature, WindowUDF, WindowUDFImpl,
};
use datafusion::physical_expr::PhysicalExpr;

use super::made::Made;

/// An aggregate in a window, called as `call` says.
pub(super) fn aggregate(inner: Arc<AggregateUDF>, call: Call, made: &Made) -> Arc<AggregateUDF> {
    // Types were made to agree before, and the condition is one argument more than the function takes.
    let signature = match call.filtered {
        Some(_) => Signature::variadic_any(inner.signature().volatility),
        None => inner.signature().clone(),
    };
    Arc::new(AggregateUDF::from(Aggregate { inner, call, signature, made: made.clone() }))
}

/// How an aggregate is called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Call {
    /// Whether all rows of a partition get the same, which is then made once and copied.
    pub constant: bool,
    /// The name of the call with its FILTER, where the condition has become the last argument. The guard sees all rows so, and
    /// knows how often the result is copied.
    pub filtered: Option<String>,
}

impl Call {
    /// What the function itself is given.
    fn own<'a, T>(&self, arguments: &'a [T]) -> &'a [T] {
        match (&self.filtered, arguments) {
            (Some(_), [own @ .., _]) => own,
            _ => arguments,
        }
    }
}

/// A function of windows alone.
pub(super) fn window(inner: Arc<WindowUDF>, made: &Made) -> Arc<WindowUDF> {
    Arc::new(WindowUDF::from(Positional { inner, made: made.clone() }))
}

#[derive(Debug)]
struct Aggregate {
    inner: Arc<AggregateUDF>,
    call: Call,
    signature: Signature,
    made: Made,
}

impl PartialEq for Aggregate {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner && self.call == other.call
    }
}

impl Eq for Aggregate {}

impl Hash for Aggregate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl Aggregate {
    fn guarded(&self, inner: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        Box::new(Guarded { inner, rows: 0, call: self.call.clone(), made: self.made.clone() })
    }

    fn own_args<'a>(&self, args: AccumulatorArgs<'a>) -> AccumulatorArgs<'a> {
        AccumulatorArgs { exprs: self.call.own(args.exprs), expr_fields: self.call.own(args.expr_fields), ..args }
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(self.call.own(types))
    }

    fn return_field(&self, fields: &[FieldRef]) -> Result<FieldRef> {
        self.inner.return_field(self.call.own(fields))
    }

    fn is_nullable(&self) -> bool {
        self.inner.is_nullable()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.inner.schema_name(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        match &self.call.filtered {
            Some(name) => Ok(name.clone()),
            None => self.inner.window_function_schema_name(params),
        }
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.inner.window_function_display_name(params)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(self.guarded(self.inner.accumulator(self.own_args(args))?))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(self.guarded(self.inner.create_sliding_accumulator(self.own_args(args))?))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn with_beneficial_ordering(self: Arc<Self>, beneficial: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let inner = self.inner.as_ref().clone().with_beneficial_ordering(beneficial)?;
        Ok(inner.map(|inner| {
            let (call, signature, made) = (self.call.clone(), self.signature.clone(), self.made.clone());
            Arc::new(Self { inner: Arc::new(inner), call, signature, made }) as _
        }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.inner.reverse_udf() {
            ReversedUDAF::Reversed(inner) => ReversedUDAF::Reversed(aggregate(inner, self.call.clone(), &self.made)),
            other => other,
        }
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.inner.default_value(data_type)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.inner.supports_within_group_clause()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

#[derive(Debug)]
struct Guarded {
    inner: Box<dyn Accumulator>,
    /// The rows that came in: where all get the same, it is copied for each.
    rows: usize,
    call: Call,
    made: Made,
}

impl Accumulator for Guarded {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.made.check_stop()?;
        self.rows += values.first().map_or(0, |values| values.len());
        match (&self.call.filtered, values) {
            (Some(_), [own @ .., wanted]) => {
                let wanted = as_boolean_array(wanted)?;
                let own = own.iter().map(|values| filter(values, wanted)).collect::<Result<Vec<_>, _>>()?;
                self.inner.update_batch(&own)
            }
            _ => self.inner.update_batch(values),
        }
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = self.inner.evaluate()?;
        self.made.add(&value, if self.call.constant { self.rows } else { 1 })?;
        Ok(value)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

#[derive(Debug)]
struct Positional {
    inner: Arc<WindowUDF>,
    made: Made,
}

impl PartialEq for Positional {
    fn eq(&self, other: &Self) -> bool {
        self.inner == other.inner
    }
}

impl Eq for Positional {}

impl Hash for Positional {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl WindowUDFImpl for Positional {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.expressions(args)
    }

    fn partition_evaluator(&self, args: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(GuardedEvaluator { inner: self.inner.partition_evaluator_factory(args)?, made: self.made.clone() }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        self.inner.field(args)
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.inner.sort_options()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(types)
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        match self.inner.reverse_expr() {
            ReversedUDWF::Reversed(inner) => ReversedUDWF::Reversed(window(inner, &self.made)),
            other => other,
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.inner.inner().limit_effect(args)
    }
}

#[derive(Debug)]
struct GuardedEvaluator {
    inner: Box<dyn PartitionEvaluator>,
    made: Made,
}

impl PartitionEvaluator for GuardedEvaluator {
    fn memoize(&mut self, state: &mut WindowAggState) -> Result<()> {
        self.inner.memoize(state)
    }

    fn get_range(&self, row: usize, rows: usize) -> Result<Range<usize>> {
        self.inner.get_range(row, rows)
    }

    fn is_causal(&self) -> bool {
        self.inner.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let column = self.inner.evaluate_all(values, rows)?;
        self.made.add_column(column.as_ref())?;
        Ok(column)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        let value = self.inner.evaluate(values, range)?;
        self.made.add(&value, 1)?;
        Ok(value)
    }

    fn evaluate_all_with_rank(&self, rows: usize, ranks: &[Range<usize>]) -> Result<ArrayRef> {
        let column = self.inner.evaluate_all_with_rank(rows, ranks)?;
        self.made.add_column(column.as_ref())?;
        Ok(column)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.inner.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.inner.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.inner.include_rank()
    }
}
