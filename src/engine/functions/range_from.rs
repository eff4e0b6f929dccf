//! `range_from(since, until)`: `since`, where a range may begin there; what functions in FROM check their `since` and `until` with.

use std::sync::Arc;

use chrono::DateTime;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{DataType, TimeUnit, TimestampNanosecondType};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::Error;

/// The function's name.
pub(in crate::engine) const RANGE_FROM: &str = "range_from";

/// The function.
pub(super) fn udf() -> ScalarUDF {
    ScalarUDF::from(RangeFrom { signature: Signature::user_defined(Volatility::Immutable) })
}

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RangeFrom {
    signature: Signature,
}

impl ScalarUDFImpl for RangeFrom {
    fn name(&self) -> &str {
        RANGE_FROM
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [_, _] if types.iter().all(|given| matches!(given, DataType::Timestamp(..) | DataType::Null)) => {
                Ok(vec![time(); 2])
            }
            _ => plan_err!("function range_from wants two times"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(time())
    }

    /// Constants are checked while the statement is planned, also one that then reads nothing.
    fn simplify(&self, args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        let [Expr::Literal(since, _), Expr::Literal(until, _)] = args.as_slice() else {
            return Ok(ExprSimplifyResult::Original(args));
        };
        let ns = |time: &ScalarValue| match time {
            ScalarValue::TimestampNanosecond(ns, _) => *ns,
            _ => None,
        };
        check(ns(since), ns(until))?;
        Ok(ExprSimplifyResult::Simplified(args[0].clone()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let times = ColumnarValue::values_to_arrays(&args.args)?;
        let [since, until] = times.as_slice() else { return exec_err!("range_from wants two times") };
        let pairs = since.as_primitive::<TimestampNanosecondType>().iter();
        for (since, until) in pairs.zip(until.as_primitive::<TimestampNanosecondType>()) {
            check(since, until)?;
        }
        Ok(ColumnarValue::Array(Arc::clone(since)))
    }
}

fn check(since_ns: Option<i64>, until_ns: Option<i64>) -> Result<()> {
    match since_ns.zip(until_ns) {
        Some((since_ns, until_ns)) if since_ns > until_ns => {
            let [since, until] = [since_ns, until_ns].map(DateTime::from_timestamp_nanos);
            let error = Error::bad_input(format!("since must not be after until: it is {since}, and until is {until}"));
            Err(DataFusionError::External(Box::new(error.with_sqlstate("22023"))))
        }
        _ => Ok(()),
    }
}
