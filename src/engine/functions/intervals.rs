//! `interval_seconds(i)`: what `extract(epoch FROM i)` means, fractions of a second included.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, DurationNanosecondType, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

const NAME: &str = "interval_seconds";

const SECOND_NS: f64 = 1e9;
const DAY_SECONDS: f64 = 86_400.0;
/// PostgreSQL counts a year as 365.25 days and a month that is left over as 30.
const YEAR_DAYS: f64 = 365.25;
const MONTH_DAYS: f64 = 30.0;

/// The function.
pub(super) fn udf() -> ScalarUDF {
    ScalarUDF::from(IntervalSeconds { signature: Signature::user_defined(Volatility::Immutable) })
}

/// The seconds of an interval.
pub(in crate::engine) fn interval_seconds(interval: Expr) -> Expr {
    udf().call(vec![interval])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IntervalSeconds {
    signature: Signature,
}

impl ScalarUDFImpl for IntervalSeconds {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::Duration(_)] => Ok(vec![DataType::Duration(TimeUnit::Nanosecond)]),
            [DataType::Interval(_)] => Ok(vec![DataType::Interval(IntervalUnit::MonthDayNano)]),
            _ => plan_err!("{NAME} takes an interval"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [interval] = args.args.as_slice() else { return exec_err!("{NAME} takes an interval") };
        let array = interval.to_array(args.number_rows)?;
        let seconds: Float64Array = match array.data_type() {
            DataType::Duration(_) => {
                let durations = cast(&array, &DataType::Duration(TimeUnit::Nanosecond))?;
                durations.as_primitive::<DurationNanosecondType>().unary(|ns| ns as f64 / SECOND_NS)
            }
            _ => array.as_primitive::<IntervalMonthDayNanoType>().unary(|interval| {
                let (years, months) = (interval.months / 12, interval.months % 12);
                let days = f64::from(years) * YEAR_DAYS + f64::from(months) * MONTH_DAYS + f64::from(interval.days);
                days * DAY_SECONDS + interval.nanoseconds as f64 / SECOND_NS
            }),
        };
        Ok(ColumnarValue::Array(Arc::new(seconds)))
    }
}
