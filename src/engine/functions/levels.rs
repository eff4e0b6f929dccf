//! What the quantile functions share: how they read their levels.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::logical_expr::function::AccumulatorArgs;

/// The most levels of one call, far above what a person asks for.
const MAX_LEVELS: usize = 1_000;

/// The types of a call: a number, then at most `max_levels` levels.
pub(super) fn coerce(name: &str, types: &[DataType], max_levels: usize) -> Result<Vec<DataType>> {
    let is_number = |data_type: &DataType| data_type.is_numeric() || data_type.is_null();
    match types {
        [value, levels @ ..] if is_number(value) && levels.iter().all(is_number) => {
            if levels.len() > max_levels.min(MAX_LEVELS) {
                return plan_err!("{name} was given {} levels, more than it takes", levels.len());
            }
            Ok(vec![DataType::Float64; types.len()])
        }
        [value, ..] if !is_number(value) => {
            plan_err!("function {name} wants numbers, not {value}; write {name}(CAST(x AS DOUBLE), …)")
        }
        _ => plan_err!("function {name} wants a number and levels between 0 and 1"),
    }
}

/// The levels of a call: the constants after the value; 0.5 when none is given.
pub(super) fn levels_of(name: &str, args: &AccumulatorArgs) -> Result<Vec<f64>> {
    let mut levels = Vec::new();
    for expr in args.exprs.iter().skip(1) {
        let value = expr.evaluate(&RecordBatch::new_empty(args.schema.clone().into()));
        let Ok(ColumnarValue::Scalar(ScalarValue::Float64(Some(level)))) = value else {
            return plan_err!("the levels of {name} must be constant numbers");
        };
        if !(0.0..=1.0).contains(&level) {
            return plan_err!("{name} wants levels between 0 and 1, not {level}");
        }
        levels.push(level);
    }
    Ok(if levels.is_empty() { vec![0.5] } else { levels })
}
