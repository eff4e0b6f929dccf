//! Writes intervals by a pattern: `HH24:MI:SS` of 26 hours is `26:00:00`.

use std::fmt::Write;

use datafusion::arrow::datatypes::IntervalMonthDayNano;

use super::pattern::{Field, Letters, Part, TimePattern};
use crate::error::{Error, Result};

impl TimePattern {
    /// Writes an interval: its years, months, days, and hours however many they are.
    ///
    /// # Errors
    /// 22007 for what only a point in time has: names, eras, zones, weeks.
    pub(super) fn write_interval(&self, interval: IntervalMonthDayNano) -> Result<String> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field { field, fill, .. } => put(&mut out, *field, *fill, interval)?,
            }
        }
        Ok(out)
    }
}

fn put(out: &mut String, field: Field, fill: bool, interval: IntervalMonthDayNano) -> Result<()> {
    let IntervalMonthDayNano { months, days, nanoseconds: ns } = interval;
    let (years, months, days) = (i64::from(months / 12), i64::from(months % 12), i64::from(days));
    let (seconds, fraction) = (ns / 1_000_000_000, ns % 1_000_000_000);
    let hours = seconds / 3_600;
    let (value, width) = match field {
        Field::Hour24 => (hours, 2),
        Field::Hour12 => (if hours % 12 == 0 { 12 } else { hours % 12 }, 2),
        Field::Minute => (seconds / 60 % 60, 2),
        Field::Second => (seconds % 60, 2),
        Field::Millisecond => (fraction / 1_000_000, 3),
        Field::Microsecond => (fraction / 1_000, 6),
        Field::Fraction(digits) => (fraction / 10_i64.pow(9 - digits as u32), digits),
        Field::SecondOfDay => (seconds, 1),
        Field::Day => (days, 2),
        Field::DayOfYear => ((years * 12 + months) * 30 + days, 3),
        Field::Month => (months, 2),
        Field::Quarter if months > 0 => ((months - 1) / 3 + 1, 1),
        Field::Year(digits @ 4) => (years, digits),
        Field::Year(digits) => (years % 10_i64.pow(digits as u32), digits),
        Field::Century => (years / 100, 2),
        Field::HalfDay(letters, dots) => {
            let half = if hours.rem_euclid(24) < 12 { 'a' } else { 'p' };
            let text = if dots { format!("{half}.m.") } else { format!("{half}m") };
            out.push_str(&if letters == Letters::Upper { text.to_uppercase() } else { text });
            return Ok(());
        }
        _ => {
            let error = Error::bad_input("invalid format specification for an interval value").with_sqlstate("22007");
            return Err(error.with_hint("intervals are not tied to a date"));
        }
    };
    // The sign of a number comes on top of its width. Writing to a String does not fail.
    let width = if value < 0 { width + 1 } else { width };
    let _ = match fill {
        true => write!(out, "{value:0width$}"),
        false => write!(out, "{value}"),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PostgreSQL 15 answers.
    #[test]
    fn intervals_are_written_with_all_their_hours() {
        let hour = 3_600 * 1_000_000_000_i64;
        let interval = |months, days, nanoseconds| IntervalMonthDayNano { months, days, nanoseconds };
        for (interval, pattern, text) in [
            (interval(0, 0, 26 * hour + hour / 12), "HH24:MI:SS", "26:05:00"),
            (interval(14, 3, 2 * hour), "YYYY-MM-DD HH12:MI AM", "0001-02-03 02:00 AM"),
            (interval(0, 0, -hour / 2), "HH24:MI", "00:-30"),
            (interval(0, 0, 1_500_000_000), "FMSS.MS", "1.500"),
            (interval(1, 2, 0), "DDD", "032"),
        ] {
            let pattern = TimePattern::read(pattern).expect(pattern);
            assert_eq!(pattern.write_interval(interval).expect("written"), text);
        }
        let named = TimePattern::read("Month").expect("a pattern");
        assert_eq!(named.write_interval(interval(1, 0, 0)).expect_err("a name").sqlstate(), "22007");
    }
}
