//! Functions of intervals that DataFusion lacks or means otherwise.
//!
//! | function | gives |
//! |---|---|
//! | `date_part(part, i)` | what `extract(part FROM i)` means, with fractions; of a time, its seconds |
//! | `interval_length(i)` | a number by which intervals compare: a month has 30 days, a day 24 hours |
//! | `interval_times(i, n)`, `interval_over(i, n)` | `i * n`, `i / n` |
//! | `justify_hours(i)`, `justify_days(i)`, `justify_interval(i)` | hours as days, days as months, both |
//!
//! The difference of two times is a duration in Arrow; in PostgreSQL it is an interval of days and a time of day.

mod age;
mod parts;
mod values;

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Decimal128Array, DurationNanosecondArray, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::arity::try_binary;
use datafusion::arrow::datatypes::{
    DataType, DurationNanosecondType, IntervalMonthDayNanoType, IntervalUnit, TimeUnit,
};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use values::{intervals, justify_days, justify_hours, justify_interval, scaled, whole_i64};

pub(in crate::engine) use parts::date_part_udf;
pub(super) use values::length_ns;

/// The functions.
pub(super) fn udfs() -> Vec<ScalarUDF> {
    let all = [Does::Length, Does::Times, Does::Over, Does::JustifyHours, Does::JustifyDays, Does::JustifyInterval];
    all.into_iter().map(udf).chain([date_part_udf(), age::udf()]).collect()
}

/// A number by which intervals compare.
pub(in crate::engine) fn interval_length(interval: Expr) -> Expr {
    udf(Does::Length).call(vec![interval])
}

/// `interval * number`, or `interval / number`.
pub(in crate::engine) fn interval_scaled(interval: Expr, number: Expr, divides: bool) -> Expr {
    udf(if divides { Does::Over } else { Does::Times }).call(vec![interval, number])
}

/// A duration as an interval of days and the rest.
pub(in crate::engine) fn days_of_duration(duration: Expr) -> Expr {
    udf(Does::JustifyHours).call(vec![duration])
}

/// The interval with days for hours and months for days: equal intervals become the same one.
pub(in crate::engine) fn justified(interval: Expr) -> Expr {
    udf(Does::JustifyInterval).call(vec![interval])
}

/// Durations as intervals of days and the rest.
pub(super) fn intervals_of(durations: &ArrayRef) -> Result<ArrayRef> {
    Ok(Arc::new(intervals(durations)?.unary::<_, IntervalMonthDayNanoType>(justify_hours)))
}

/// Digits of a length: 2³¹ months in nanoseconds take 25.
const LENGTH_DIGITS: u8 = 38;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Does {
    Length,
    Times,
    Over,
    JustifyHours,
    JustifyDays,
    JustifyInterval,
}

fn udf(does: Does) -> ScalarUDF {
    ScalarUDF::from(OfIntervals { does, signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfIntervals {
    does: Does,
    signature: Signature,
}

impl ScalarUDFImpl for OfIntervals {
    fn name(&self) -> &str {
        match self.does {
            Does::Length => "interval_length",
            Does::Times => "interval_times",
            Does::Over => "interval_over",
            Does::JustifyHours => "justify_hours",
            Does::JustifyDays => "justify_days",
            Does::JustifyInterval => "justify_interval",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let Some(interval) = types.first().and_then(taken) else {
            return plan_err!("function {} wants an interval", self.name());
        };
        match (self.does, types) {
            (Does::Times | Does::Over, [_, number]) if number.is_numeric() || number.is_null() => {
                Ok(vec![interval, DataType::Float64])
            }
            (Does::Times | Does::Over, _) => plan_err!("function {} wants an interval and a number", self.name()),
            (_, [_]) => Ok(vec![interval]),
            _ => plan_err!("function {} wants an interval", self.name()),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match self.does {
            Does::Length => DataType::Decimal128(LENGTH_DIGITS, 0),
            Does::Times | Does::Over => types.first().cloned().unwrap_or(month_day_nano()),
            Does::JustifyHours | Does::JustifyDays | Does::JustifyInterval => month_day_nano(),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let values = ColumnarValue::values_to_arrays(&args.args)?;
        let made = match (self.does, values.as_slice()) {
            (Does::Length, [interval]) => {
                let lengths: Decimal128Array = intervals(interval)?.unary(length_ns);
                Arc::new(lengths.with_precision_and_scale(LENGTH_DIGITS, 0)?) as ArrayRef
            }
            (Does::Times, [interval, number]) => scaled_by(interval, number.as_primitive(), |x, n| x * n)?,
            (Does::Over, [interval, number]) => scaled_by(interval, number.as_primitive(), |x, n| x / n)?,
            (Does::JustifyHours, [interval]) => {
                Arc::new(intervals(interval)?.unary::<_, IntervalMonthDayNanoType>(justify_hours))
            }
            (Does::JustifyDays, [interval]) => {
                Arc::new(intervals(interval)?.unary::<_, IntervalMonthDayNanoType>(justify_days))
            }
            (Does::JustifyInterval, [interval]) => {
                Arc::new(intervals(interval)?.unary::<_, IntervalMonthDayNanoType>(justify_interval))
            }
            _ => return exec_err!("function {} was given other arguments than it wants", self.name()),
        };
        Ok(ColumnarValue::Array(made))
    }
}

/// What is taken of an interval's type; `None` for another type. A text constant is read as an interval.
fn taken(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Duration(_) => Some(DataType::Duration(TimeUnit::Nanosecond)),
        DataType::Interval(_) | DataType::Null => Some(month_day_nano()),
        text if text.is_string() => Some(month_day_nano()),
        _ => None,
    }
}

fn month_day_nano() -> DataType {
    DataType::Interval(IntervalUnit::MonthDayNano)
}

/// Each interval by its number; a duration stays one.
fn scaled_by(interval: &ArrayRef, numbers: &Float64Array, by: fn(f64, f64) -> f64) -> Result<ArrayRef> {
    if matches!(interval.data_type(), DataType::Duration(_)) {
        let durations = cast(interval, &DataType::Duration(TimeUnit::Nanosecond))?;
        let durations = durations.as_primitive::<DurationNanosecondType>();
        let scaled: DurationNanosecondArray =
            try_binary::<_, &Float64Array, _, _>(durations, numbers, |ns, n| whole_i64(by(ns as f64, n).round()))?;
        return Ok(Arc::new(scaled));
    }
    let intervals = intervals(interval)?;
    let scaled = try_binary::<_, _, _, IntervalMonthDayNanoType>(&intervals, numbers, |interval, n| {
        scaled(interval, |x| by(x, n))
    })?;
    Ok(Arc::new(scaled))
}
