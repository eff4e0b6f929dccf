//! `age_between(later, earlier)`: years, months, days and a time of day, as a calendar counts them. `age` is made of it.

use std::sync::Arc;

use chrono::{DateTime, Datelike, Months, NaiveDateTime, Timelike};
use datafusion::arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::arity::try_binary;
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit, TimeUnit, TimestampNanosecondType};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

const DAY_NS: i64 = 86_400_000_000_000;
const CLOCK: DataType = DataType::Timestamp(TimeUnit::Nanosecond, None);

/// The function.
pub(super) fn udf() -> ScalarUDF {
    ScalarUDF::from(Age { signature: Signature::exact(vec![CLOCK, CLOCK], Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Age {
    signature: Signature,
}

impl ScalarUDFImpl for Age {
    fn name(&self) -> &str {
        "age_between"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let times = ColumnarValue::values_to_arrays(&args.args)?;
        let times = times.iter().map(|times| cast(times, &CLOCK)).collect::<Result<Vec<_>, _>>()?;
        let [later, earlier] = times.as_slice() else { return exec_err!("age_between wants two times") };
        let ages: IntervalMonthDayNanoArray = try_binary(
            later.as_primitive::<TimestampNanosecondType>(),
            earlier.as_primitive::<TimestampNanosecondType>(),
            |later, earlier| Ok(age(later, earlier)),
        )?;
        Ok(ColumnarValue::Array(Arc::new(ages) as ArrayRef))
    }
}

/// The whole months from the earlier time on, then days and the rest. Where the day of the month does not reach as far, the month borrowed from
/// has the days that it has in the calendar of the earlier time, as in PostgreSQL.
fn age(later_ns: i64, earlier_ns: i64) -> IntervalMonthDayNano {
    if later_ns < earlier_ns {
        let IntervalMonthDayNano { months, days, nanoseconds } = age(earlier_ns, later_ns);
        return IntervalMonthDayNano { months: -months, days: -days, nanoseconds: -nanoseconds };
    }
    let (later, earlier) = (clock(later_ns), clock(earlier_ns));
    let mut months = (later.year() - earlier.year()) * 12 + later.month() as i32 - earlier.month() as i32;
    let mut days = later.day() as i32 - earlier.day() as i32;
    let mut nanoseconds = time_of_day(&later) - time_of_day(&earlier);
    if nanoseconds < 0 {
        nanoseconds += DAY_NS;
        days -= 1;
    }
    if days < 0 {
        days += days_of_month(&earlier);
        months -= 1;
    }
    IntervalMonthDayNano { months, days, nanoseconds }
}

fn clock(ns: i64) -> NaiveDateTime {
    DateTime::from_timestamp_nanos(ns).naive_utc()
}

fn time_of_day(time: &NaiveDateTime) -> i64 {
    i64::from(time.num_seconds_from_midnight()) * 1_000_000_000 + i64::from(time.nanosecond())
}

fn days_of_month(time: &NaiveDateTime) -> i32 {
    let first = time.date().with_day(1);
    let next = first.and_then(|first| first.checked_add_months(Months::new(1)));
    first.zip(next).map_or(31, |(first, next)| (next - first).num_days() as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PostgreSQL 15 answers.
    #[test]
    fn ages_are_counted_by_the_calendar() {
        let ns = |text: &str| {
            let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").expect("a time");
            time.and_utc().timestamp_nanos_opt().expect("in range")
        };
        for (later, earlier, months, days, seconds) in [
            ("2026-03-31 00:00:00", "2026-02-28 00:00:00", 1, 3, 0),
            ("2026-02-28 00:00:00", "2026-03-31 00:00:00", -1, -3, 0),
            ("2026-03-01 00:00:00", "2026-01-31 00:00:00", 1, 1, 0),
            ("2024-03-01 12:00:00", "2024-02-29 13:00:00", 0, 0, 23 * 3_600),
            ("2026-01-01 10:00:00", "2025-12-31 11:00:00", 0, 0, 23 * 3_600),
            ("2026-05-01 00:00:00", "2020-02-29 00:00:01", 74, 0, 86_399),
        ] {
            let expected = IntervalMonthDayNano { months, days, nanoseconds: seconds * 1_000_000_000 };
            assert_eq!(age(ns(later), ns(earlier)), expected, "{later} {earlier}");
        }
    }
}
