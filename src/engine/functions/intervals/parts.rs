//! `date_part(part, x)`, which is `extract(part FROM x)`: DataFusion's, with the parts of intervals and with fractions of seconds.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNano, Time64NanosecondType, TimeUnit, TimestampNanosecondType,
};
use datafusion::error::Result;
use datafusion::functions::datetime::date_part;
use datafusion::logical_expr::preimage::PreimageResult;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
};

use super::values::intervals;

const SECOND_NS: f64 = 1e9;
const MINUTE_NS: i64 = 60 * 1_000_000_000;
const HOUR_NS: i64 = 60 * MINUTE_NS;
const DAY_SECONDS: f64 = 86_400.0;
/// PostgreSQL counts a year as 365.25 days and a month that is left over as 30.
const YEAR_DAYS: f64 = 365.25;
const MONTH_DAYS: f64 = 30.0;

/// The function.
pub(in crate::engine) fn date_part_udf() -> ScalarUDF {
    ScalarUDF::from(DatePart { inner: date_part() })
}

/// The part, if it is one that DataFusion would cut to a whole number or take of a whole duration.
fn ours(part: &str, data_type: &DataType) -> Option<Part> {
    let part = Part::of(part)?;
    let is_ours = match data_type {
        DataType::Duration(_) | DataType::Interval(_) => true,
        DataType::Timestamp(..) | DataType::Time64(_) => {
            matches!(part, Part::Second | Part::Millisecond | Part::Microsecond)
        }
        _ => false,
    };
    is_ours.then_some(part)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Epoch,
    Millennium,
    Century,
    Decade,
    Year,
    Quarter,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
}

impl Part {
    fn of(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        Some(match name.strip_suffix('s').filter(|_| !matches!(name.as_str(), "ms" | "us")).unwrap_or(&name) {
            "epoch" => Self::Epoch,
            "millennium" => Self::Millennium,
            "century" => Self::Century,
            "decade" => Self::Decade,
            "year" | "yr" | "y" => Self::Year,
            "quarter" | "qtr" => Self::Quarter,
            "month" | "mon" => Self::Month,
            "day" | "d" => Self::Day,
            "hour" | "hr" | "h" => Self::Hour,
            "minute" | "min" | "m" => Self::Minute,
            "second" | "sec" => Self::Second,
            "millisecond" | "msec" | "ms" => Self::Millisecond,
            "microsecond" | "usec" | "us" => Self::Microsecond,
            _ => return None,
        })
    }

    fn of_interval(self, interval: IntervalMonthDayNano) -> f64 {
        let (years, months) = (interval.months / 12, interval.months % 12);
        let whole = match self {
            Self::Epoch => {
                let days = f64::from(years) * YEAR_DAYS + f64::from(months) * MONTH_DAYS + f64::from(interval.days);
                return days * DAY_SECONDS + interval.nanoseconds as f64 / SECOND_NS;
            }
            Self::Second | Self::Millisecond | Self::Microsecond => {
                return self.of_clock(interval.nanoseconds % MINUTE_NS);
            }
            Self::Millennium => years / 1000,
            Self::Century => years / 100,
            Self::Decade => years / 10,
            Self::Year => years,
            Self::Quarter => months / 3 + 1,
            Self::Month => months,
            Self::Day => interval.days,
            Self::Hour => (interval.nanoseconds / HOUR_NS) as i32,
            Self::Minute => (interval.nanoseconds % HOUR_NS / MINUTE_NS) as i32,
        };
        f64::from(whole)
    }

    /// Of a time within its minute.
    fn of_clock(self, ns: i64) -> f64 {
        match self {
            Self::Millisecond => ns as f64 / 1e6,
            Self::Microsecond => ns as f64 / 1e3,
            _ => ns as f64 / SECOND_NS,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DatePart {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for DatePart {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        if let ([Some(part), _], [_, value]) = (args.scalar_arguments, args.arg_fields)
            && ours(part.try_as_str().flatten().unwrap_or_default(), value.data_type()).is_some()
        {
            return Ok(Arc::new(Field::new(self.name(), DataType::Float64, true)));
        }
        self.inner.return_field_from_args(args)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        if let [ColumnarValue::Scalar(part), value] = args.args.as_slice()
            && let Some(part) = ours(part.try_as_str().flatten().unwrap_or_default(), &value.data_type())
        {
            return Ok(ColumnarValue::Array(Arc::new(part_of(part, &value.to_array(args.number_rows)?)?)));
        }
        self.inner.invoke_with_args(args)
    }

    fn preimage(&self, args: &[Expr], constant: &Expr, info: &SimplifyContext) -> Result<PreimageResult> {
        self.inner.preimage(args, constant, info)
    }
}

fn part_of(part: Part, values: &ArrayRef) -> Result<Float64Array> {
    let of_clock = |ns: i64| part.of_clock(ns.rem_euclid(MINUTE_NS));
    Ok(match values.data_type() {
        DataType::Timestamp(_, zone) => {
            let times = cast(values, &DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()))?;
            times.as_primitive::<TimestampNanosecondType>().unary(of_clock)
        }
        DataType::Time64(_) => {
            let times = cast(values, &DataType::Time64(TimeUnit::Nanosecond))?;
            times.as_primitive::<Time64NanosecondType>().unary(of_clock)
        }
        _ => intervals(values)?.unary(|interval| part.of_interval(interval)),
    })
}
