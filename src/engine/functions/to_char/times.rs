//! PostgreSQL's patterns for times: `YYYY-MM-DD HH24:MI:SS.US`.

use std::fmt::Write;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, Offset, TimeZone, Timelike, Utc};
use chrono_tz::OffsetName;
use datafusion::arrow::array::timezone::Tz;

use super::not_supported;
use crate::error::Result;

/// Names as PostgreSQL pads them: to the longest, September and Wednesday.
const NAME_WIDTH: usize = 9;

/// What a pattern is made of. Names of months and days, and halves of the day, follow the letters of the pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Hour24,
    Hour12,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    /// Tenths, hundredths, … of a second: that many digits.
    Fraction(usize),
    SecondOfDay,
    HalfDay(Letters, bool),
    /// The year's last digits, that many; four is all of it.
    Year(usize),
    YearWithComma,
    IsoYear(usize),
    Era(Letters, bool),
    MonthName(Letters),
    MonthShort(Letters),
    Month,
    DayName(Letters),
    DayShort(Letters),
    DayOfYear,
    DayOfIsoYear,
    Day,
    /// Sunday is 1.
    DayOfWeek,
    /// Monday is 1.
    IsoDayOfWeek,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Century,
    JulianDay,
    Quarter,
    ZoneName(Letters),
    ZoneHours,
    ZoneMinutes,
    Offset,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Letters {
    Upper,
    Capital,
    Lower,
}

use Letters::{Capital, Lower, Upper};

/// All fields by their spelling; where one begins another, the longer comes first.
const FIELDS: &[(&str, Field)] = &[
    ("A.D.", Field::Era(Upper, true)),
    ("a.d.", Field::Era(Lower, true)),
    ("A.M.", Field::HalfDay(Upper, true)),
    ("a.m.", Field::HalfDay(Lower, true)),
    ("P.M.", Field::HalfDay(Upper, true)),
    ("p.m.", Field::HalfDay(Lower, true)),
    ("B.C.", Field::Era(Upper, true)),
    ("b.c.", Field::Era(Lower, true)),
    ("AD", Field::Era(Upper, false)),
    ("ad", Field::Era(Lower, false)),
    ("BC", Field::Era(Upper, false)),
    ("bc", Field::Era(Lower, false)),
    ("AM", Field::HalfDay(Upper, false)),
    ("am", Field::HalfDay(Lower, false)),
    ("PM", Field::HalfDay(Upper, false)),
    ("pm", Field::HalfDay(Lower, false)),
    ("MONTH", Field::MonthName(Upper)),
    ("Month", Field::MonthName(Capital)),
    ("month", Field::MonthName(Lower)),
    ("MON", Field::MonthShort(Upper)),
    ("Mon", Field::MonthShort(Capital)),
    ("mon", Field::MonthShort(Lower)),
    ("DAY", Field::DayName(Upper)),
    ("Day", Field::DayName(Capital)),
    ("day", Field::DayName(Lower)),
    ("DY", Field::DayShort(Upper)),
    ("Dy", Field::DayShort(Capital)),
    ("dy", Field::DayShort(Lower)),
    ("TZH", Field::ZoneHours),
    ("TZM", Field::ZoneMinutes),
    ("TZ", Field::ZoneName(Upper)),
    ("tz", Field::ZoneName(Lower)),
];

/// Fields that are written in letters of any size.
const ANY_CASE: &[(&str, Field)] = &[
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("MI", Field::Minute),
    ("SSSSS", Field::SecondOfDay),
    ("SSSS", Field::SecondOfDay),
    ("SS", Field::Second),
    ("MS", Field::Millisecond),
    ("US", Field::Microsecond),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("Y,YYY", Field::YearWithComma),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IDDD", Field::DayOfIsoYear),
    ("IY", Field::IsoYear(2)),
    ("ID", Field::IsoDayOfWeek),
    ("IW", Field::IsoWeek),
    ("I", Field::IsoYear(1)),
    ("MM", Field::Month),
    ("DDD", Field::DayOfYear),
    ("DD", Field::Day),
    ("D", Field::DayOfWeek),
    ("WW", Field::WeekOfYear),
    ("W", Field::WeekOfMonth),
    ("CC", Field::Century),
    ("J", Field::JulianDay),
    ("Q", Field::Quarter),
    ("OF", Field::Offset),
];

/// What PostgreSQL has and this does not.
const UNKNOWN: &[&str] = &["RM", "TM", "FX", "SP"];

#[derive(Debug)]
enum Part {
    Text(String),
    Field { field: Field, fill: bool, ordinal: Option<Letters> },
}

/// A pattern, read once for all rows.
#[derive(Debug)]
pub(super) struct TimePattern(Vec<Part>);

impl TimePattern {
    /// Reads a pattern; letters that mean nothing stand for themselves, as in PostgreSQL.
    ///
    /// # Errors
    /// 0A000 for Roman numerals, translated names, exact and spelled-out fields.
    pub(super) fn read(pattern: &str) -> Result<Self> {
        let mut parts = Vec::new();
        let mut rest = pattern;
        while let Some(next) = rest.chars().next() {
            if next == '"' {
                let (quoted, after) = quoted(&rest[1..]);
                push_text(&mut parts, &quoted);
                rest = after;
                continue;
            }
            if let Some(unknown) = UNKNOWN.iter().find(|unknown| starts_with(rest, unknown)) {
                return Err(not_supported(unknown));
            }
            let (fill, after) = match starts_with(rest, "FM") {
                true => (false, &rest[2..]),
                false => (true, rest),
            };
            match field_at(after) {
                Some((length, field)) => {
                    let (ordinal, after) = ordinal(&after[length..]);
                    parts.push(Part::Field { field, fill, ordinal });
                    rest = after;
                }
                None if fill => {
                    push_text(&mut parts, &rest[..next.len_utf8()]);
                    rest = &rest[next.len_utf8()..];
                }
                None => rest = after,
            }
        }
        Ok(Self(parts))
    }

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

fn push_text(parts: &mut Vec<Part>, text: &str) {
    match parts.last_mut() {
        Some(Part::Text(before)) => before.push_str(text),
        _ => parts.push(Part::Text(text.to_owned())),
    }
}

/// Text up to the closing quote; a backslash makes the next character ordinary.
fn quoted(text: &str) -> (String, &str) {
    let (mut out, mut escaped) = (String::new(), false);
    for (at, char) in text.char_indices() {
        match char {
            '"' if !escaped => return (out, &text[at + 1..]),
            '\\' if !escaped => escaped = true,
            char => {
                out.push(char);
                escaped = false;
            }
        }
    }
    (out, "")
}

fn starts_with(text: &str, word: &str) -> bool {
    text.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
}

fn field_at(text: &str) -> Option<(usize, Field)> {
    let exact = FIELDS.iter().find(|(name, _)| text.starts_with(name));
    let any_case = || ANY_CASE.iter().find(|(name, _)| starts_with(text, name));
    // PostgreSQL reads mixed letters as all small.
    let mixed =
        || FIELDS.iter().find(|(name, _)| starts_with(text, name) && name.starts_with(|c: char| c.is_lowercase()));
    exact.or_else(any_case).or_else(mixed).map(|(name, field)| (name.len(), *field))
}

fn ordinal(text: &str) -> (Option<Letters>, &str) {
    match text.get(..2) {
        Some("TH") => (Some(Upper), &text[2..]),
        Some("th") => (Some(Lower), &text[2..]),
        _ => (None, text),
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

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

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
            ("FF3 FF6 SSSS", "123 123456 47106"),
            ("YY Y Y,YYY", "26 6 2,026"),
            ("yyyy/mm/dd hh24", "2026/08/02 13"),
            ("at: x", "at: x"),
            ("", ""),
        ] {
            assert_eq!(TimePattern::read(pattern).expect(pattern).write(at, Some(&berlin)), text, "{pattern}");
        }
        for pattern in ["RM", "TMMonth", "FXYYYY"] {
            assert_eq!(TimePattern::read(pattern).expect_err(pattern).sqlstate(), "0A000");
        }
    }
}
