//! `traces_with(condition)`: a row need not be there when no span of its trace meets the condition.
//!
//! It is true of every row. Functions over whole traces say with it which traces they look at, so that a relation of trees leaves others out
//! where the times or the ids in the condition tell them.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF, SimpleScalarUDF, Volatility};

const NAME: &str = "traces_with";

/// The function.
pub(super) fn udf() -> ScalarUDF {
    let every_row = Arc::new(|_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true)))));
    let (condition, result) = (vec![DataType::Boolean], DataType::Boolean);
    ScalarUDF::from(SimpleScalarUDF::new(NAME, condition, result, Volatility::Immutable, every_row))
}

/// What is true of every row, and says that only traces are wanted of which a span meets the condition.
pub(in crate::engine) fn traces_with(condition: Expr) -> Expr {
    udf().call(vec![condition])
}

/// The conditions that a span of each trace must meet, all of them, where `expr` says so.
pub(in crate::engine) fn conditions_on_traces(expr: &Expr) -> Option<Vec<&Expr>> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == NAME => call.args.first().map(split_conjunction),
        _ => None,
    }
}
