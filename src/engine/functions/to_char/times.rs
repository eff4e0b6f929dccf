//! Writes times by a pattern: `YYYY-MM-DD HH24:MI:SS.US`.

use std::fmt::Write;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, Offset, TimeZone, Timelike, Utc};
use chrono_tz::OffsetName;
use datafusion::arrow::array::timezone::Tz;

use super::pattern::Letters::{self, Capital, Lower, Upper};
use super::pattern::{DAYS, Field, MONTHS, Part, ROMAN_MONTHS, TimePattern};

/// Names as PostgreSQL pads them: to the longest, September and Wednesday.
const NAME_WIDTH: usize = 9;

impl TimePattern {
    /// Writes a point in time as a clock in `zone` shows it; a time without a zone is written as it is.
    pub(super) fn write(&self, at_ns: i64, zone: Option<&Zone>) -> String {
        let utc = DateTime::from_timestamp_nanos(at_ns).naive_utc();
        let (offset, name) = zone.map_or((Utc.fix(), String::new()), |zone| zone.at(&utc));
        let time = offset.from_utc_datetime(&utc);
        let mut out = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field { field, fill, ordinal } => {
                    let start = out.len();
                    put(&mut out, *field, *fill, &time, &name);
                    if let Some(letters) = ordinal {
                        let suffix = ordinal_of(&out[start..]);
                        out.push_str(&in_letters(suffix, *letters));
                    }
                }
            }
        }
        out
    }
}

/// A zone with what its clocks are called.
#[derive(Debug)]
pub(super) struct Zone {
    zone: Tz,
    named: Option<chrono_tz::Tz>,
}

impl Zone {
    /// Finds a zone by its name or offset; `None` when there is no such zone.
    pub(super) fn new(name: &str) -> Option<Self> {
        Some(Self { zone: name.parse().ok()?, named: name.parse().ok() })
    }

    /// The offset from UTC and the clock's name then, `CEST`; an offset's name is itself.
    fn at(&self, utc: &NaiveDateTime) -> (FixedOffset, String) {
        let offset = self.zone.offset_from_utc_datetime(utc).fix();
        let named = self.named.map(|zone| zone.offset_from_utc_datetime(utc));
        let name = named.as_ref().and_then(|offset| offset.abbreviation()).map_or_else(
            || {
                let mut name = String::new();
                put_offset(&mut name, Field::Offset, offset.local_minus_utc());
                name
            },
            str::to_owned,
        );
        (offset, name)
    }
}

fn ordinal_of(digits: &str) -> &'static str {
    let teens = digits.len() >= 2 && digits.as_bytes()[digits.len() - 2] == b'1';
    match digits.as_bytes().last() {
        Some(b'1') if !teens => "st",
        Some(b'2') if !teens => "nd",
        Some(b'3') if !teens => "rd",
        _ => "th",
    }
}

fn in_letters(text: &str, letters: Letters) -> String {
    match letters {
        Upper => text.to_ascii_uppercase(),
        Lower => text.to_ascii_lowercase(),
        Capital => text.to_owned(),
    }
}

fn put(out: &mut String, field: Field, fill: bool, time: &DateTime<FixedOffset>, zone: &str) {
    let mut number = |value: i64, width: usize| {
        // Writing to a String does not fail.
        let _ = match fill {
            true => write!(out, "{value:0width$}"),
            false => write!(out, "{value}"),
        };
    };
    let days_of_year = i64::from(time.ordinal());
    let nanos = i64::from(time.nanosecond() % 1_000_000_000);
    match field {
        Field::Hour24 => number(time.hour().into(), 2),
        Field::Hour12 => number(time.hour12().1.into(), 2),
        Field::Minute => number(time.minute().into(), 2),
        Field::Second => number(time.second().into(), 2),
        Field::Millisecond => number(nanos / 1_000_000, 3),
        Field::Microsecond => number(nanos / 1_000, 6),
        Field::Fraction(digits) => {
            let _ = write!(out, "{:0digits$}", nanos / 10_i64.pow(9 - digits as u32));
        }
        Field::SecondOfDay => number(time.num_seconds_from_midnight().into(), 1),
        Field::Year(digits) => number(last_digits(i64::from(shown_year(time.year())), digits), digits),
        Field::YearWithComma => {
            let year = shown_year(time.year());
            let _ = write!(out, "{},{:03}", year / 1_000, year % 1_000);
        }
        Field::IsoYear(digits) => number(last_digits(i64::from(time.iso_week().year()), digits), digits),
        Field::Month => number(time.month().into(), 2),
        Field::DayOfYear => number(days_of_year, 3),
        Field::DayOfIsoYear => {
            number(i64::from(time.iso_week().week0()) * 7 + i64::from(time.weekday().number_from_monday()), 3);
        }
        Field::Day => number(time.day().into(), 2),
        Field::DayOfWeek => number(time.weekday().number_from_sunday().into(), 1),
        Field::IsoDayOfWeek => number(time.weekday().number_from_monday().into(), 1),
        Field::WeekOfMonth => number(i64::from(time.day0() / 7 + 1), 1),
        Field::WeekOfYear => number((days_of_year - 1) / 7 + 1, 2),
        Field::IsoWeek => number(time.iso_week().week().into(), 2),
        Field::Century => number(i64::from((time.year() + 99).div_euclid(100)), 2),
        // Days from noon of 4713 BC; 1970-01-01 is 2,440,588.
        Field::JulianDay => number(time.naive_local().and_utc().timestamp().div_euclid(86_400) + 2_440_588, 1),
        Field::Quarter => number(i64::from(time.month0() / 3 + 1), 1),
        Field::MonthName(letters) => put_name(out, MONTHS[time.month0() as usize], letters, fill),
        Field::DayName(letters) => put_name(out, DAYS[time.weekday().num_days_from_sunday() as usize], letters, fill),
        Field::MonthRoman(letters) => {
            let width = if fill { 4 } else { 0 };
            let _ = write!(out, "{:width$}", in_letters(ROMAN_MONTHS[time.month0() as usize], letters));
        }
        Field::MonthShort(letters) => out.push_str(&in_letters(&MONTHS[time.month0() as usize][..3], letters)),
        Field::DayShort(letters) => {
            out.push_str(&in_letters(&DAYS[time.weekday().num_days_from_sunday() as usize][..3], letters));
        }
        Field::HalfDay(letters, dots) => {
            let half = match (time.hour() < 12, dots) {
                (true, true) => "A.M.",
                (true, false) => "AM",
                (false, true) => "P.M.",
                (false, false) => "PM",
            };
            out.push_str(&in_letters(half, letters));
        }
        Field::Era(letters, dots) => {
            let era = match (time.year() > 0, dots) {
                (true, true) => "A.D.",
                (true, false) => "AD",
                (false, true) => "B.C.",
                (false, false) => "BC",
            };
            out.push_str(&in_letters(era, letters));
        }
        Field::ZoneName(letters) => out.push_str(&in_letters(zone, letters)),
        Field::ZoneHours | Field::ZoneMinutes | Field::Offset => {
            put_offset(out, field, time.offset().local_minus_utc())
        }
    }
}

fn put_name(out: &mut String, name: &str, letters: Letters, fill: bool) {
    let width = if fill { NAME_WIDTH } else { 0 };
    let _ = write!(out, "{:width$}", in_letters(name, letters));
}

/// The offset from UTC: hours with their sign, minutes, or both without minutes that are none.
fn put_offset(out: &mut String, field: Field, seconds: i32) {
    let (hours, minutes) = (seconds.abs() / 3_600, seconds.abs() / 60 % 60);
    let sign = if seconds < 0 { '-' } else { '+' };
    let _ = match field {
        Field::ZoneMinutes => write!(out, "{minutes:02}"),
        Field::Offset if minutes != 0 => write!(out, "{sign}{hours:02}:{minutes:02}"),
        _ => write!(out, "{sign}{hours:02}"),
    };
}

fn shown_year(year: i32) -> i32 {
    if year > 0 { year } else { 1 - year }
}

fn last_digits(year: i64, digits: usize) -> i64 {
    if digits >= 4 { year } else { year % 10_i64.pow(digits as u32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PostgreSQL 16 answers.
    #[test]
    fn patterns_write_what_postgresql_writes() {
        let berlin = Zone::new("Europe/Berlin").expect("a zone");
        // 2026-08-02 13:05:06.123456789 in Berlin, a Sunday.
        let at = 1_785_668_706_123_456_789;
        for (pattern, text) in [
            ("YYYY-MM-DD HH24:MI:SS.US", "2026-08-02 13:05:06.123456"),
            ("YYYY-MM-DD\"T\"HH24:MI:SS.MSOF", "2026-08-02T13:05:06.123+02"),
            ("Day, DD Month YYYY", "Sunday   , 02 August    2026"),
            ("FMDay, FMDD FMMonth YYYY", "Sunday, 2 August 2026"),
            ("Dy Mon DD", "Sun Aug 02"),
            ("DAY day Mon MON mon", "SUNDAY    sunday    Aug AUG aug"),
            ("HH12:MI AM, HH:MI p.m.", "01:05 PM, 01:05 p.m."),
            ("TZ tz TZH:TZM OF", "CEST cest +02:00 +02"),
            ("DDD D ID IW IYYY WW W Q CC J", "214 1 7 31 2026 31 1 3 21 2461255"),
            ("FMDDth, DDTH", "2nd, 02ND"),
            ("TMMonth, RM|rm|FMRM", "August, VIII|viii|VIII"),
            ("FF3 FF6 SSSS", "123 123456 47106"),
            ("YY Y Y,YYY", "26 6 2,026"),
            ("yyyy/mm/dd hh24", "2026/08/02 13"),
            ("at: x", "at: x"),
            ("", ""),
        ] {
            assert_eq!(TimePattern::read(pattern).expect(pattern).write(at, Some(&berlin)), text, "{pattern}");
        }
        for pattern in ["FXYYYY", "DDSP"] {
            assert_eq!(TimePattern::read(pattern).expect_err(pattern).sqlstate(), "0A000");
        }
    }
}
