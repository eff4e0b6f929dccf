//! Intervals as PostgreSQL reads them, `1 day 02:03:04`, and ISO 8601, `P1DT2H`, as the three counts that an interval has, which alone are read
//! further on.
//!
//! A fraction goes to the next smaller counts as in PostgreSQL: half a month is 15 days, half a day 12 hours, and a fraction of a year whole months.

use std::ops::ControlFlow;

use datafusion::arrow::datatypes::IntervalMonthDayNano;
use datafusion::sql::sqlparser::ast::{
    Expr, Interval, Statement, UnaryOperator, Value, ValueWithSpan, VisitMut, VisitorMut,
};

use crate::error::{Error, Result};

/// Puts the counts into the constants of a statement.
///
/// # Errors
/// [`crate::error::Kind::BadInput`] for a text that is no interval.
pub(super) fn rewrite(statement: &mut Statement) -> Result<()> {
    match statement.visit(&mut Constants) {
        ControlFlow::Break(error) => Err(error),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Constants;

impl VisitorMut for Constants {
    type Break = Error;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Error> {
        match expr {
            Expr::Interval(Interval { value, leading_field: None, .. }) => {
                if let Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(text), .. }) = value.as_mut() {
                    match Counts::of(text) {
                        Some(counts) => *text = counts.words(),
                        None => return ControlFlow::Break(unreadable(text)),
                    }
                }
            }
            // The planner would put the minus before the text, where only the first count has it.
            Expr::UnaryOp { op: UnaryOperator::Minus, expr: of } if matches!(of.as_ref(), Expr::Interval(_)) => {
                let interval = std::mem::replace(of.as_mut(), Expr::Value(Value::Null.with_empty_span()));
                **of = Expr::Nested(Box::new(interval));
            }
            _ => {}
        }
        ControlFlow::Continue(())
    }
}

/// Reads an interval; `None` for a text that is none.
pub(super) fn interval_of(text: &str) -> Option<IntervalMonthDayNano> {
    let Counts { months, days, ns } = Counts::of(text)?;
    Some(IntervalMonthDayNano::new(months.try_into().ok()?, days.try_into().ok()?, ns.try_into().ok()?))
}

fn unreadable(text: &str) -> Error {
    Error::bad_input(format!("invalid input syntax for type interval: \"{text}\""))
        .with_sqlstate("22007")
        .with_hint("write a number and a unit, such as INTERVAL '90 minutes'")
}

const DAY_NS: i128 = 86_400_000_000_000;
const SECOND_NS: i128 = 1_000_000_000;

/// What an interval is made of.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    months: i128,
    days: i128,
    ns: i128,
}

/// How long a unit is, in the count that it belongs to.
#[derive(Clone, Copy)]
enum Unit {
    Months(i128),
    Days(i128),
    Nanoseconds(i128),
}

impl Unit {
    fn of(word: &str) -> Option<Self> {
        Some(match word.to_ascii_lowercase().as_str() {
            "ns" | "nsec" | "nsecs" | "nanosecond" | "nanoseconds" => Self::Nanoseconds(1),
            "us" | "usec" | "usecs" | "microsecond" | "microseconds" => Self::Nanoseconds(1_000),
            "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => Self::Nanoseconds(1_000_000),
            "s" | "sec" | "secs" | "second" | "seconds" => Self::Nanoseconds(SECOND_NS),
            "m" | "min" | "mins" | "minute" | "minutes" => Self::Nanoseconds(60 * SECOND_NS),
            "h" | "hr" | "hrs" | "hour" | "hours" => Self::Nanoseconds(3_600 * SECOND_NS),
            "d" | "day" | "days" => Self::Days(1),
            "w" | "week" | "weeks" => Self::Days(7),
            "mon" | "mons" | "month" | "months" => Self::Months(1),
            "y" | "yr" | "yrs" | "year" | "years" => Self::Months(12),
            "dec" | "decs" | "decade" | "decades" => Self::Months(120),
            "c" | "cent" | "century" | "centuries" => Self::Months(1_200),
            "mil" | "mils" | "millennium" | "millennia" => Self::Months(12_000),
            _ => return None,
        })
    }
}

/// A decimal number, in billionths.
#[derive(Clone, Copy)]
struct Number(i128);

const ONE: i128 = 1_000_000_000;

impl Number {
    fn of(text: &str) -> Option<Self> {
        let (sign, digits) = signed(text);
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
        let are_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        // More than eighteen digits fit no count.
        let fits = whole.len() <= 18 && whole.len() + decimals.len() > 0 && are_digits(whole) && are_digits(decimals);
        let whole: i128 = if whole.is_empty() { 0 } else { fits.then(|| whole.parse().ok())?? };
        let billionths: i128 = format!("{decimals:0<9}").get(..9).filter(|_| fits)?.parse().ok()?;
        Some(Self(sign * (whole * ONE + billionths)))
    }

    fn whole(self) -> i128 {
        self.0 / ONE
    }

    fn fraction(self) -> i128 {
        self.0 % ONE
    }
}

/// A sign and what stands behind it.
fn signed(text: &str) -> (i128, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    }
}

impl Counts {
    fn of(text: &str) -> Option<Self> {
        let text = text.trim();
        let counts = match text.strip_prefix('P') {
            Some(parts) => Self::of_iso(parts)?,
            None => Self::of_words(text)?,
        };
        let fits = i32::try_from(counts.months).is_ok() && i32::try_from(counts.days).is_ok();
        (fits && i64::try_from(counts.ns).is_ok()).then_some(counts)
    }

    fn of_words(text: &str) -> Option<Self> {
        let text = text.strip_prefix('@').unwrap_or(text);
        let mut parts = tokens(text);
        let is_ago = parts.last().is_some_and(|part| part.eq_ignore_ascii_case("ago"));
        if is_ago {
            parts.pop();
        }
        if parts.is_empty() {
            return None;
        }
        let mut counts = Self::default();
        let mut parts = parts.into_iter().peekable();
        while let Some(part) = parts.next() {
            if part.contains(':') {
                counts.add_clock(part)?;
                // A time of day stands last.
                return parts.peek().is_none().then(|| counts.turned(is_ago));
            }
            if let Some((years, months)) = years_and_months(part) {
                counts.months += years * 12 + months;
                continue;
            }
            let number = Number::of(part)?;
            let unit = match parts.peek() {
                // A number alone counts seconds, and before a time of day days.
                None => Unit::Nanoseconds(SECOND_NS),
                Some(next) if next.contains(':') => Unit::Days(1),
                Some(next) => {
                    let unit = Unit::of(next)?;
                    parts.next();
                    unit
                }
            };
            counts.add(number, unit);
        }
        Some(counts.turned(is_ago))
    }

    /// What stands behind `P`: `1Y2M3DT4H5M6.5S`, `2W`.
    fn of_iso(text: &str) -> Option<Self> {
        let (days, clock) = text.split_once('T').unwrap_or((text, ""));
        let mut counts = Self::default();
        counts.add_each(
            days,
            &[('Y', Unit::Months(12)), ('M', Unit::Months(1)), ('W', Unit::Days(7)), ('D', Unit::Days(1))],
        )?;
        let of_clock =
            [('H', 3_600), ('M', 60), ('S', 1)].map(|(letter, s)| (letter, Unit::Nanoseconds(s * SECOND_NS)));
        counts.add_each(clock, &of_clock)?;
        (text.len() > 1).then_some(counts)
    }

    /// Numbers with units behind them, in the units' order.
    fn add_each(&mut self, mut text: &str, units: &[(char, Unit)]) -> Option<()> {
        let mut units = units.iter();
        while !text.is_empty() {
            let end = text.find(|c: char| c.is_ascii_alphabetic())?;
            let (count, rest) = text.split_at(end);
            let (_, unit) = units.find(|(letter, _)| rest.starts_with(*letter))?;
            self.add(Number::of(count)?, *unit);
            text = &rest[1..];
        }
        Some(())
    }

    fn add(&mut self, number: Number, unit: Unit) {
        match unit {
            Unit::Months(1) => {
                self.months += number.whole();
                self.add_days(number.fraction() * 30);
            }
            Unit::Months(months) => {
                let fraction = number.fraction() * months;
                let half = ONE / 2 * fraction.signum();
                self.months += number.whole() * months + (fraction + half) / ONE;
            }
            Unit::Days(days) => {
                self.days += number.whole() * days;
                self.add_days(number.fraction() * days);
            }
            Unit::Nanoseconds(ns) => self.ns += number.0 * ns / ONE,
        }
    }

    /// Adds billionths of days.
    fn add_days(&mut self, billionths: i128) {
        self.days += billionths / ONE;
        self.ns += billionths % ONE * DAY_NS / ONE;
    }

    /// `[-]hours:minutes[:seconds[.decimals]]`, `[-]minutes:seconds.decimals`.
    fn add_clock(&mut self, text: &str) -> Option<()> {
        let (sign, digits) = signed(text);
        let parts: Vec<&str> = digits.split(':').collect();
        let (hours, minutes, seconds) = match parts.as_slice() {
            [minutes, seconds] if seconds.contains('.') => ("0", *minutes, *seconds),
            [hours, minutes] => (*hours, *minutes, "0"),
            [hours, minutes, seconds] => (*hours, *minutes, *seconds),
            _ => return None,
        };
        let count = |part: &str| Number::of(part).filter(|_| part.starts_with(|c: char| c.is_ascii_digit()));
        let (hours, minutes, seconds) = (count(hours)?, count(minutes)?, count(seconds)?);
        let are_whole = hours.fraction() == 0 && minutes.fraction() == 0;
        if !are_whole || minutes.whole() > 59 || seconds.0 > 60 * ONE {
            return None;
        }
        self.ns += sign * ((hours.whole() * 3_600 + minutes.whole() * 60) * SECOND_NS + seconds.0);
        Some(())
    }

    fn turned(self, is_ago: bool) -> Self {
        let sign = if is_ago { -1 } else { 1 };
        Self { months: sign * self.months, days: sign * self.days, ns: sign * self.ns }
    }

    fn words(self) -> String {
        let Self { months, days, ns } = self;
        let sign = if ns < 0 { "-" } else { "" };
        let (seconds, rest) = (ns.abs() / SECOND_NS, ns.abs() % SECOND_NS);
        let decimals = if rest == 0 { String::new() } else { format!(".{rest:09}") };
        format!("{months} months {days} days {sign}{seconds}{decimals} seconds")
    }
}

/// Numbers, times of day and words, which may stand without blanks: `1d 2h`, `1day`.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for mut part in text.split_ascii_whitespace() {
        while !part.is_empty() {
            let is_word = part.starts_with(|c: char| c.is_ascii_alphabetic());
            let end = part.find(|c: char| c.is_ascii_alphabetic() != is_word).unwrap_or(part.len());
            tokens.push(&part[..end]);
            part = &part[end..];
        }
    }
    tokens
}

/// `years-months`.
fn years_and_months(text: &str) -> Option<(i128, i128)> {
    let (sign, digits) = signed(text);
    let (years, months) = digits.split_once('-')?;
    let number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse::<i32>().ok())?;
    let (years, months) = (number(years)?, number(months)?);
    (months < 12).then_some((sign * i128::from(years), sign * i128::from(months)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_become_counts_as_in_postgresql() {
        for (text, months, days, seconds) in [
            ("01:30:00", 0, 0, 5_400.0),
            ("-1:30", 0, 0, -5_400.0),
            ("1 day 02:03:04.5", 0, 1, 7_384.5),
            ("1 02:00", 0, 1, 7_200.0),
            ("1 year 2 mons -3 days 00:00:01", 14, -3, 1.0),
            ("P1DT2H", 0, 1, 7_200.0),
            ("P1DT", 0, 1, 0.0),
            ("P1Y2M3W4DT5H6M7.5S", 14, 25, 18_367.5),
            ("PT-5M", 0, 0, -300.0),
            ("P0.25M", 0, 7, 43_200.0),
            ("1 day ago", 0, -1, 0.0),
            ("@ 1 day 2 hours ago", 0, -1, -7_200.0),
            ("1-2", 14, 0, 0.0),
            ("-1-2", -14, 0, 0.0),
            ("5", 0, 0, 5.0),
            ("1  day", 0, 1, 0.0),
            ("+1 day", 0, 1, 0.0),
            ("1 day +2 hours", 0, 1, 7_200.0),
            ("-1 mons +3 days", -1, 3, 0.0),
            ("12:30.5", 0, 0, 750.5),
            ("01:02:60", 0, 0, 3_780.0),
            ("1 century 2 decades 1 millennium", 13_440, 0, 0.0),
            ("1d 2h3m", 0, 1, 7_380.0),
            ("0.25 mon", 0, 7, 43_200.0),
            ("-0.25 month", 0, -7, -43_200.0),
            ("0.5 weeks", 0, 3, 43_200.0),
            ("1.5 years", 18, 0, 0.0),
            ("0.04 years", 0, 0, 0.0),
            (".5 day", 0, 0, 43_200.0),
            ("1 us", 0, 0, 0.000_001),
        ] {
            let expected = Counts { months, days, ns: (seconds * 1e9_f64).round() as i128 };
            assert_eq!(Counts::of(text), Some(expected), "{text}");
        }
        for text in [
            "1:2:3:4",
            "1:60",
            "P",
            "P1H",
            "P1D2Y",
            "01:30 1 day",
            "a:b",
            "",
            "-:1",
            "--1:00",
            "1 2 days",
            "ago",
            "1 blip",
            "3000000000 days",
            ".",
            "99999999999999999999 s",
            "1-12",
            "é",
        ] {
            assert_eq!(Counts::of(text), None, "{text}");
        }
    }

    #[test]
    fn counts_are_written_in_words() {
        for (text, words) in [
            ("1 day -00:00:00.5", "0 months 1 days -0.500000000 seconds"),
            ("-14 months 3 s", "-14 months 0 days 3 seconds"),
        ] {
            assert_eq!(Counts::of(text).map(Counts::words).as_deref(), Some(words), "{text}");
        }
    }
}
