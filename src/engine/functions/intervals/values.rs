//! What PostgreSQL does with single intervals (`timestamp.c`: `interval_mul`, `interval_justify_hours` and their kin).

use datafusion::arrow::array::{ArrayRef, AsArray, IntervalMonthDayNanoArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalUnit};
use datafusion::arrow::error::ArrowError;
use datafusion::error::{DataFusionError, Result};

use crate::pg::days_and_time;

pub(super) const DAY_NS: i64 = 86_400 * 1_000_000_000;
const MONTH_DAYS: i32 = 30;

/// Intervals, of a column of intervals or durations. The time of a duration that is over a day counts as days.
pub(super) fn intervals(array: &ArrayRef) -> Result<IntervalMonthDayNanoArray> {
    Ok(match array.data_type() {
        DataType::Duration(_) => days_and_time(array).map_err(|error| DataFusionError::External(Box::new(error)))?,
        _ => cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?.as_primitive().clone(),
    })
}

/// How long an interval is, in nanoseconds, when a month has 30 days and a day 24 hours.
pub(in crate::engine::functions) fn length_ns(interval: IntervalMonthDayNano) -> i128 {
    let days = i128::from(interval.months) * i128::from(MONTH_DAYS) + i128::from(interval.days);
    days * i128::from(DAY_NS) + i128::from(interval.nanoseconds)
}

/// An interval by a number: what is left of months becomes days, what is left of days becomes time.
pub(super) fn scaled(
    interval: IntervalMonthDayNano,
    by: impl Fn(f64) -> f64,
) -> Result<IntervalMonthDayNano, ArrowError> {
    let (months, days) = (by(f64::from(interval.months)), by(f64::from(interval.days)));
    let left_of_months_days = micros((months - months.trunc()) * f64::from(MONTH_DAYS));
    let left_of_days = micros(days - days.trunc() + left_of_months_days - left_of_months_days.trunc());
    let days = days.trunc() + left_of_months_days.trunc() + left_of_days.trunc();
    let time = by(interval.nanoseconds as f64) + (left_of_days - left_of_days.trunc()) * DAY_NS as f64;
    Ok(IntervalMonthDayNano::new(whole_i32(months.trunc())?, whole_i32(days)?, whole_i64(time.round())?))
}

/// A whole number that fits.
pub(super) fn whole_i64(x: f64) -> Result<i64, ArrowError> {
    // The largest double below 2^63 fits, and the next one does not.
    let fits = x >= i64::MIN as f64 && x < -(i64::MIN as f64);
    if fits { Ok(x as i64) } else { Err(ArrowError::ArithmeticOverflow("interval out of range".to_owned())) }
}

fn whole_i32(x: f64) -> Result<i32, ArrowError> {
    let whole = whole_i64(x)?;
    i32::try_from(whole).map_err(|_| ArrowError::ArithmeticOverflow("interval out of range".to_owned()))
}

/// Doubles carry errors below a millionth, as PostgreSQL has it.
fn micros(x: f64) -> f64 {
    (x * 1e6).round() / 1e6
}

/// Hours beyond a day as days.
pub(super) fn justify_hours(interval: IntervalMonthDayNano) -> IntervalMonthDayNano {
    let (days, time) = one_sign(carried(interval.days, interval.nanoseconds, DAY_NS), DAY_NS);
    IntervalMonthDayNano::new(interval.months, days, time)
}

/// Days beyond 30 as months.
pub(super) fn justify_days(interval: IntervalMonthDayNano) -> IntervalMonthDayNano {
    let month = i64::from(MONTH_DAYS);
    let (months, days) = one_sign(carried(interval.months, i64::from(interval.days), month), month);
    IntervalMonthDayNano::new(months, days as i32, interval.nanoseconds)
}

/// Hours as days and days as months, all of one sign.
pub(super) fn justify_interval(interval: IntervalMonthDayNano) -> IntervalMonthDayNano {
    let (days, time) = carried(interval.days, interval.nanoseconds, DAY_NS);
    let (mut months, days) = carried(interval.months, i64::from(days), i64::from(MONTH_DAYS));
    let (mut days, mut time) = (days as i32, time);
    if months > 0 && (days < 0 || days == 0 && time < 0) {
        (months, days) = (months - 1, days + MONTH_DAYS);
    } else if months < 0 && (days > 0 || days == 0 && time > 0) {
        (months, days) = (months + 1, days - MONTH_DAYS);
    }
    (days, time) = one_sign((days, time), DAY_NS);
    IntervalMonthDayNano::new(months, days, time)
}

/// Moves whole units of the smaller part to the larger one.
fn carried(large: i32, small: i64, units: i64) -> (i32, i64) {
    let whole = i32::try_from(small / units).unwrap_or(i32::MAX);
    (large.saturating_add(whole), small % units)
}

/// Gives both parts one sign.
fn one_sign((large, small): (i32, i64), units: i64) -> (i32, i64) {
    match (large.signum(), small.signum()) {
        (1, -1) => (large - 1, small + units),
        (-1, 1) => (large + 1, small - units),
        _ => (large, small),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_NS: i64 = 3_600_000_000_000;

    #[test]
    fn intervals_are_scaled_and_justified_as_postgresql_does() {
        let new = IntervalMonthDayNano::new;
        // interval '1 month' / 4, '1 day' * 1.5, '1 mon 1 day' * 0.5.
        for by in [f64::INFINITY, f64::NAN, 1e12] {
            scaled(new(0, 1, 0), |x| x * by).expect_err("no interval is so long");
        }
        assert_eq!(scaled(new(1, 0, 0), |x| x / 4.0).expect("it fits"), new(0, 7, 12 * HOUR_NS));
        assert_eq!(scaled(new(0, 1, 0), |x| x * 1.5).expect("it fits"), new(0, 1, 12 * HOUR_NS));
        assert_eq!(scaled(new(1, 1, 0), |x| x * 0.5).expect("it fits"), new(0, 15, 12 * HOUR_NS));
        assert_eq!(justify_hours(new(0, 0, 27 * HOUR_NS)), new(0, 1, 3 * HOUR_NS));
        assert_eq!(justify_hours(new(0, 1, -HOUR_NS)), new(0, 0, 23 * HOUR_NS));
        assert_eq!(justify_days(new(0, 35, 0)), new(1, 5, 0));
        assert_eq!(justify_interval(new(1, 0, -HOUR_NS)), new(0, 29, 23 * HOUR_NS));
        assert_eq!(length_ns(new(1, 0, 0)), length_ns(new(0, 30, 0)));
    }
}
