//! Reads a time out of a text by a pattern, as PostgreSQL's `to_timestamp(text, pattern)` does.
//!
//! Blanks before a field do not count. A separator in the pattern stands for any, or for none; any other letter of it stands for one
//! character. A number ends where its digits do, or where the pattern's next number begins.

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, Weekday};

use super::not_supported;
use super::pattern::{DAYS, Field, MONTHS, Part, ROMAN_MONTHS, TimePattern};
use crate::error::{Error, Result};

/// A clock's reading, and its offset from UTC in seconds where the text has one.
#[derive(Debug, PartialEq)]
pub(in crate::engine::functions) struct ReadTime {
    pub clock: NaiveDateTime,
    pub offset_seconds: Option<i64>,
}

impl TimePattern {
    /// Reads a text.
    ///
    /// # Errors
    /// 22007 for what is no number or name where one has to be, 22008 for a time that is none, 0A000 for names of zones.
    pub(in crate::engine::functions) fn read_time(&self, text: &str) -> Result<ReadTime> {
        let mut reader = Reader { all: text, rest: text, skipped: 0, found: Found::default() };
        reader.skip_blanks();
        for (at, part) in self.0.iter().enumerate() {
            if reader.rest.is_empty() {
                break;
            }
            match part {
                Part::Text(between) => reader.pass(between),
                Part::Field { field, fill, ordinal } => {
                    reader.skip_blanks();
                    if reader.rest.is_empty() {
                        break;
                    }
                    let is_open = !fill || ordinal.is_some() || self.0.get(at + 1).is_none_or(ends_number);
                    reader.read(*field, is_open)?;
                    if ordinal.is_some() {
                        reader.rest = reader.rest.get(2..).unwrap_or("");
                    }
                    reader.skipped = 0;
                    reader.skip_blanks();
                }
            }
        }
        reader.found.time(text)
    }
}

/// Whether a number before this part has as many digits as there are.
fn ends_number(next: &Part) -> bool {
    match next {
        Part::Text(text) => !text.starts_with(|c: char| c.is_ascii_digit()),
        Part::Field { field, .. } => number_of(*field).is_none(),
    }
}

/// What numbers in a text are of.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Hour24,
    Hour12,
    Minute,
    Second,
    Fraction,
    SecondOfDay,
    Year,
    IsoYear,
    Century,
    Month,
    Day,
    DayOfYear,
    DayOfIsoYear,
    IsoDayOfWeek,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    JulianDay,
    ZoneMinutes,
    /// It follows from the others.
    Ignored,
}

/// What a field's number is of, and how many digits it has where another number follows.
fn number_of(field: Field) -> Option<(Number, usize)> {
    Some(match field {
        Field::Hour24 => (Number::Hour24, 2),
        Field::Hour12 => (Number::Hour12, 2),
        Field::Minute => (Number::Minute, 2),
        Field::Second => (Number::Second, 2),
        Field::Millisecond => (Number::Fraction, 3),
        Field::Microsecond => (Number::Fraction, 6),
        Field::Fraction(digits) => (Number::Fraction, digits),
        Field::SecondOfDay => (Number::SecondOfDay, 5),
        Field::Year(digits) => (Number::Year, digits),
        Field::YearWithComma => (Number::Year, 5),
        Field::IsoYear(digits) => (Number::IsoYear, digits),
        Field::Century => (Number::Century, 2),
        Field::Month => (Number::Month, 2),
        Field::Day => (Number::Day, 2),
        Field::DayOfYear => (Number::DayOfYear, 3),
        Field::DayOfIsoYear => (Number::DayOfIsoYear, 3),
        Field::IsoDayOfWeek => (Number::IsoDayOfWeek, 1),
        Field::WeekOfMonth => (Number::WeekOfMonth, 1),
        Field::WeekOfYear => (Number::WeekOfYear, 2),
        Field::IsoWeek => (Number::IsoWeek, 2),
        Field::JulianDay => (Number::JulianDay, 7),
        Field::ZoneMinutes => (Number::ZoneMinutes, 2),
        Field::DayOfWeek | Field::Quarter => (Number::Ignored, 1),
        _ => return None,
    })
}

struct Reader<'a> {
    all: &'a str,
    rest: &'a str,
    /// Blanks that were passed and may stand for characters of the pattern.
    skipped: i32,
    found: Found,
}

impl Reader<'_> {
    fn passed(&self) -> &str {
        &self.all[..self.all.len() - self.rest.len()]
    }

    fn skip_blanks(&mut self) {
        let after = self.rest.trim_start();
        self.skipped += (self.rest.len() - after.len()) as i32;
        self.rest = after;
    }

    /// Passes what a pattern has between fields.
    fn pass(&mut self, between: &str) {
        for wanted in between.chars() {
            let Some(next) = self.rest.chars().next() else { return };
            let is_separator = |c: char| c.is_whitespace() || c.is_ascii_punctuation();
            if is_separator(wanted) {
                match is_separator(next) {
                    true => self.rest = &self.rest[next.len_utf8()..],
                    false => self.skipped -= 1,
                }
            } else if self.skipped > 0 {
                self.skipped -= 1;
            } else {
                self.rest = &self.rest[next.len_utf8()..];
            }
        }
    }

    fn read(&mut self, field: Field, is_open: bool) -> Result<()> {
        if let Some((number, digits)) = number_of(field) {
            let (value, digits) = match field {
                Field::YearWithComma => self.number_with_comma(field)?,
                _ => self.number(field, (!is_open).then_some(digits))?,
            };
            self.found.numbers.push((number, value, digits));
            return Ok(());
        }
        match field {
            Field::MonthName(_) | Field::MonthShort(_) => {
                let month = self.name(&MONTHS, matches!(field, Field::MonthShort(_)), field)?;
                self.found.numbers.push((Number::Month, month as i64 + 1, 2));
            }
            Field::MonthRoman(_) => {
                // The longest come first where one begins another.
                let mut months: Vec<_> = ROMAN_MONTHS.iter().copied().enumerate().collect();
                months.sort_by_key(|(_, name)| std::cmp::Reverse(name.len()));
                let found = months.into_iter().find(|(_, name)| self.take(name));
                let Some((month, _)) = found else { return Err(invalid(self.rest, field)) };
                self.found.numbers.push((Number::Month, month as i64 + 1, 2));
            }
            Field::DayName(_) | Field::DayShort(_) => {
                self.name(&DAYS, matches!(field, Field::DayShort(_)), field)?;
            }
            Field::HalfDay(..) => {
                let is_after = self.one_of(&["a.m.", "am"], &["p.m.", "pm"], field)?;
                self.found.is_after_noon = Some(is_after);
            }
            Field::Era(..) => self.found.is_before_christ = self.one_of(&["a.d.", "ad"], &["b.c.", "bc"], field)?,
            Field::ZoneHours => {
                // A separator of the pattern may have taken the sign.
                let is_west = self.rest.starts_with('-') || (self.skipped > 0 && self.passed().ends_with('-'));
                self.rest = self.rest.strip_prefix(['+', '-']).unwrap_or(self.rest);
                let (hours, _) = self.number(field, (!is_open).then_some(2))?;
                self.found.zone_hours = Some(if is_west { (-1, hours) } else { (1, hours) });
            }
            _ => return Err(not_supported("the name of a zone, which is for writing only,")),
        }
        Ok(())
    }

    /// A number and its digits: so many, or as many as there are.
    fn number(&mut self, field: Field, exactly: Option<usize>) -> Result<(i64, usize)> {
        let is_negative = exactly.is_none() && self.rest.starts_with('-');
        let text = if is_negative { &self.rest[1..] } else { self.rest };
        let there = text.bytes().take_while(u8::is_ascii_digit).count();
        let digits = match exactly {
            Some(digits) if there < digits => {
                let hint = format!(
                    "the field has {digits} digits where another number follows; FM takes as many as there are"
                );
                return Err(invalid(self.rest, field).with_hint(hint));
            }
            Some(digits) => digits,
            None => there,
        };
        let Ok(value) = text[..digits].parse::<i64>() else { return Err(invalid(self.rest, field)) };
        self.rest = &text[digits..];
        Ok((if is_negative { -value } else { value }, digits))
    }

    fn number_with_comma(&mut self, field: Field) -> Result<(i64, usize)> {
        let (thousands, _) = self.number(field, None)?;
        let Some(after) = self.rest.strip_prefix(',') else { return Err(invalid(self.rest, field)) };
        self.rest = after;
        let (rest, _) = self.number(field, Some(3))?;
        Ok((thousands.saturating_mul(1_000).saturating_add(rest), 4))
    }

    /// Passes a word, whatever its letters' size.
    fn take(&mut self, word: &str) -> bool {
        let is_there = self.rest.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word));
        if is_there {
            self.rest = &self.rest[word.len()..];
        }
        is_there
    }

    fn name(&mut self, names: &[&str], short: bool, field: Field) -> Result<usize> {
        let found = names.iter().position(|name| self.take(if short { &name[..3] } else { name }));
        found.ok_or_else(|| invalid(self.rest, field))
    }

    /// Whether one of the second words comes, and none of the first.
    fn one_of(&mut self, first: &[&str], second: &[&str], field: Field) -> Result<bool> {
        if first.iter().any(|word| self.take(word)) {
            return Ok(false);
        }
        match second.iter().any(|word| self.take(word)) {
            true => Ok(true),
            false => Err(invalid(self.rest, field)),
        }
    }
}

fn invalid(rest: &str, field: Field) -> Error {
    let shown: String = rest.chars().take(10).collect();
    let field = format!("{field:?}").split('(').next().unwrap_or_default().to_lowercase();
    Error::bad_input(format!("invalid value \"{shown}\" for a pattern's {field}")).with_sqlstate("22007")
}

/// What a text said.
#[derive(Debug, Default)]
struct Found {
    numbers: Vec<(Number, i64, usize)>,
    is_after_noon: Option<bool>,
    is_before_christ: bool,
    /// The sign, and the hours.
    zone_hours: Option<(i64, i64)>,
}

impl Found {
    /// The last number of its kind.
    fn get(&self, wanted: Number) -> Option<i64> {
        self.digits(wanted).map(|(value, _)| value)
    }

    fn digits(&self, wanted: Number) -> Option<(i64, usize)> {
        self.numbers.iter().rev().find(|(number, ..)| *number == wanted).map(|(_, value, digits)| (*value, *digits))
    }

    fn time(&self, text: &str) -> Result<ReadTime> {
        let out_of_range = || {
            let message = format!("date/time field value out of range: \"{text}\"");
            Error::bad_input(message).with_sqlstate("22008")
        };
        let date = self.date().ok_or_else(out_of_range)?;
        let time =
            self.clock()?.and_then(|(hour, minute, second, ns)| NaiveTime::from_hms_nano_opt(hour, minute, second, ns));
        let clock = time.map(|time| date.and_time(time));
        let minutes = self.get(Number::ZoneMinutes).unwrap_or(0);
        let offset_seconds = self.zone_hours.map(|(sign, hours)| sign * (hours * 3_600 + minutes * 60));
        Ok(ReadTime { clock: clock.ok_or_else(out_of_range)?, offset_seconds })
    }

    /// Hour, minute, second and nanoseconds; `None` when a number is far too large.
    fn clock(&self) -> Result<Option<(u32, u32, u32, u32)>> {
        let whole = |number| self.get(number).map_or(Some(0), |value| u32::try_from(value).ok());
        let second_of_day = self.get(Number::SecondOfDay).and_then(|seconds| u32::try_from(seconds).ok());
        let hour = match self.get(Number::Hour12) {
            Some(hour) if !(1..=12).contains(&hour) && self.is_after_noon.is_some() => {
                let message = format!("hour \"{hour}\" is invalid for the 12-hour clock");
                return Err(Error::bad_input(message).with_sqlstate("22007").with_hint("write HH24 in the pattern"));
            }
            Some(hour) => match self.is_after_noon {
                Some(true) => u32::try_from(hour % 12 + 12).ok(),
                Some(false) => u32::try_from(hour % 12).ok(),
                None => u32::try_from(hour).ok(),
            },
            None => whole(Number::Hour24),
        };
        let fraction = self.digits(Number::Fraction).map_or(Some(0), |(value, digits)| {
            let scale = 10_i64.checked_pow(u32::try_from(9_usize.checked_sub(digits)?).ok()?)?;
            u32::try_from(value.checked_mul(scale)?).ok()
        });
        let parts = match second_of_day {
            Some(seconds) => Some((seconds / 3_600, seconds / 60 % 60, seconds % 60)),
            None => hour.zip(whole(Number::Minute)).zip(whole(Number::Second)).map(|((h, m), s)| (h, m, s)),
        };
        Ok(parts.zip(fraction).map(|((hour, minute, second), ns)| (hour, minute, second, ns)))
    }

    fn date(&self) -> Option<NaiveDate> {
        if let Some(day) = self.get(Number::JulianDay) {
            /// 0001-01-01 counted from 4713 BC, where chrono counts it as one.
            const BEFORE_CHRIST: i64 = 1_721_425;
            return NaiveDate::from_num_days_from_ce_opt(i32::try_from(day - BEFORE_CHRIST).ok()?);
        }
        if let Some(year) = self.year(Number::IsoYear) {
            let day_of_year = self.get(Number::DayOfIsoYear).map(|day| day - 1);
            let week = day_of_year.map(|day| day / 7 + 1).or(self.get(Number::IsoWeek)).unwrap_or(1);
            let day = day_of_year.map(|day| day % 7 + 1).or(self.get(Number::IsoDayOfWeek)).unwrap_or(1);
            let day = u8::try_from(day - 1).ok().and_then(|day| Weekday::try_from(day).ok())?;
            return NaiveDate::from_isoywd_opt(year, u32::try_from(week).ok()?, day);
        }
        let year = self.year(Number::Year)?;
        let of_week = |number| self.get(number).map(|week| (week - 1) * 7 + 1);
        let day_of_year = self.get(Number::DayOfYear).or_else(|| of_week(Number::WeekOfYear));
        match (self.get(Number::Month), day_of_year) {
            (None, Some(day)) => NaiveDate::from_yo_opt(year, u32::try_from(day).ok()?),
            (month, _) => {
                let day = self.get(Number::Day).or_else(|| of_week(Number::WeekOfMonth)).unwrap_or(1);
                NaiveDate::from_ymd_opt(year, u32::try_from(month.unwrap_or(1)).ok()?, u32::try_from(day).ok()?)
            }
        }
    }

    /// The year; one of less than four digits is the nearest to 2020, and a century says more.
    fn year(&self, number: Number) -> Option<i32> {
        let century = self.get(Number::Century).filter(|_| number == Number::Year);
        let year = match (self.digits(number), century) {
            (Some((year, 0..=2)), Some(century)) => (century - 1) * 100 + year,
            (None, Some(century)) => (century - 1) * 100 + 1,
            (Some((year, 0..=3)), _) => match year {
                0..70 => year + 2_000,
                70..100 => year + 1_900,
                100..520 => year + 2_000,
                _ => year + 1_000,
            },
            (found, _) => found?.0,
        };
        let year = if self.is_before_christ { 1 - year } else { year };
        i32::try_from(year).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PostgreSQL 15 answers.
    #[test]
    fn texts_are_read_as_postgresql_reads_them() {
        for (text, pattern, meant) in [
            ("2026-01-02 03:04", "YYYY-MM-DD HH24:MI", "2026-01-02 03:04:00"),
            ("20260102030405", "YYYYMMDDHH24MISS", "2026-01-02 03:04:05"),
            ("  2026/1/2", "YYYY-MM-DD", "2026-01-02 00:00:00"),
            ("2 Jan 2026 3:04 pm", "DD Mon YYYY HH12:MI AM", "2026-01-02 15:04:00"),
            ("12:30 AM 2026-01-02", "HH:MI PM YYYY-MM-DD", "2026-01-02 00:30:00"),
            ("January 2, 2026", "Month DD, YYYY", "2026-01-02 00:00:00"),
            ("2026-01-02T03:04:05.123456Z", "YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"", "2026-01-02 03:04:05.123456"),
            ("2026-01-02 03:04:05.6", "YYYY-MM-DD HH24:MI:SS.MS", "2026-01-02 03:04:05.600"),
            ("26-032", "YY-DDD", "2026-02-01 00:00:00"),
            ("2026-W05-3", "IYYY-\"W\"IW-ID", "2026-01-28 00:00:00"),
            ("2461043", "J", "2026-01-02 00:00:00"),
            ("3661 2026", "SSSSS YYYY", "2026-01-01 01:01:01"),
            ("2026 VIII", "YYYY RM", "2026-08-01 00:00:00"),
            ("2nd of 2,026", "DDth \"of\" Y,YYY", "2026-01-02 00:00:00"),
            ("2026-12", "YYYY-MM-DD", "2026-12-01 00:00:00"),
            ("99", "YY", "1999-01-01 00:00:00"),
        ] {
            let read = TimePattern::read(pattern).expect(pattern).read_time(text);
            assert_eq!(read.expect(text).clock.format("%Y-%m-%d %H:%M:%S%.f").to_string(), meant, "{text} {pattern}");
        }
        let zoned = TimePattern::read("YYYY-MM-DD HH24:MI TZH:TZM").expect("a pattern");
        assert_eq!(zoned.read_time("2026-01-02 03:04 -05:30").expect("a time").offset_seconds, Some(-19_800));
        for (text, pattern, sqlstate) in [
            ("soon", "YYYY", "22007"),
            ("2026-13-01", "YYYY-MM-DD", "22008"),
            ("2026-02-30", "YYYY-MM-DD", "22008"),
            ("2026-01-02 24:00", "YYYY-MM-DD HH24:MI", "22008"),
            ("13 pm 2026", "HH12 AM YYYY", "22007"),
            ("20261", "YYYYMMDD", "22007"),
            ("10:00", "HH24:MI", "22008"),
            ("2026 UTC", "YYYY TZ", "0A000"),
            ("2026 Foo", "YYYY Mon", "22007"),
        ] {
            let read = TimePattern::read(pattern).expect(pattern).read_time(text);
            assert_eq!(read.expect_err(text).sqlstate(), sqlstate, "{text} {pattern}");
        }
    }
}
