//! PostgreSQL's patterns for times, and what they are made of.

use super::not_supported;
use crate::error::Result;

/// What a pattern is made of. Names of months and days, and halves of the day, follow the letters of the pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
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
    MonthRoman(Letters),
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
pub(super) enum Letters {
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
    ("RM", Field::MonthRoman(Upper)),
    ("rm", Field::MonthRoman(Lower)),
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
const UNKNOWN: &[&str] = &["FX", "SP"];

#[derive(Debug)]
pub(super) enum Part {
    Text(String),
    Field { field: Field, fill: bool, ordinal: Option<Letters> },
}

/// A pattern, read once for all rows.
#[derive(Debug)]
pub(in crate::engine::functions) struct TimePattern(pub(super) Vec<Part>);

impl TimePattern {
    /// Reads a pattern; letters that mean nothing stand for themselves, as in PostgreSQL.
    ///
    /// # Errors
    /// 0A000 for exact and spelled-out fields.
    pub(in crate::engine::functions) fn read(pattern: &str) -> Result<Self> {
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
            // Names are English in every language, so TM only takes the blanks away.
            let (fill, after) = match starts_with(rest, "FM") || starts_with(rest, "TM") {
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

pub(super) const MONTHS: [&str; 12] = [
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
pub(super) const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

pub(super) const ROMAN_MONTHS: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];
