//! Times as PostgreSQL reads them out of text: `2026-01-31 10:00`, `2026-01-31T10:00:00Z`, `today`, `yesterday 08:00`.

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeDelta, TimeZone, Utc};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::ScalarValue;

use super::interval_text::interval_of;

/// What a text says: a point in time when it names a zone or is `now`, else what a clock in the session's zone shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Instant(DateTime<Utc>),
    Clock(NaiveDateTime),
}

/// Reads a value of a type of times; `None` for another type, and for a text that is no such time.
pub(super) fn time_of_text(text: &str, wanted: &DataType, zone: Tz) -> Option<ScalarValue> {
    let now = Utc::now();
    Some(match wanted {
        DataType::Timestamp(TimeUnit::Nanosecond, Some(name)) => {
            ScalarValue::TimestampNanosecond(Some(instant_ns(text, zone, now)?), Some(name.clone()))
        }
        DataType::Timestamp(TimeUnit::Nanosecond, None) => {
            ScalarValue::TimestampNanosecond(Some(clock_ns(text, zone, now)?), None)
        }
        DataType::Date32 => ScalarValue::Date32(Some(date_days(text, zone, now)?)),
        _ => return None,
    })
}

/// Reads an instant, in nanoseconds since 1970; a text without a zone is read in that of the name. `None` for a text that is no such time, and a name
/// that is no zone.
pub fn instant_of_text(text: &str, zone: &str) -> Option<i64> {
    instant_ns(text, zone.parse().ok()?, Utc::now())
}

/// Reads an interval, or the same length as a duration; `None` for another type, and for a text that is no interval.
pub(super) fn interval_of_text(text: &str, wanted: &DataType) -> Option<ScalarValue> {
    let interval = match wanted {
        DataType::Interval(IntervalUnit::MonthDayNano) | DataType::Duration(TimeUnit::Nanosecond) => interval_of(text)?,
        _ => return None,
    };
    Some(match wanted {
        DataType::Duration(_) => {
            let days = i64::from(interval.months) * MONTH_DAYS + i64::from(interval.days);
            let ns = days.checked_mul(DAY_NS)?.checked_add(interval.nanoseconds)?;
            ScalarValue::DurationNanosecond(Some(ns))
        }
        _ => ScalarValue::IntervalMonthDayNano(Some(interval)),
    })
}

/// A month as long as it is compared with days.
const MONTH_DAYS: i64 = 30;
const DAY_NS: i64 = 86_400_000_000_000;

/// Reads a `timestamptz`, as nanoseconds since 1970; a time without a zone is in `zone`. `None` when it is no such time.
fn instant_ns(text: &str, zone: Tz, now: DateTime<Utc>) -> Option<i64> {
    match read(text, zone, now)? {
        Reading::Instant(instant) => instant.timestamp_nanos_opt(),
        Reading::Clock(clock) => to_utc(clock, zone).and_utc().timestamp_nanos_opt(),
    }
}

/// Reads a `timestamp` without a zone, as nanoseconds since 1970 on that clock; a zone in the text does not count, as in PostgreSQL.
fn clock_ns(text: &str, zone: Tz, now: DateTime<Utc>) -> Option<i64> {
    let (clock, _) = split_zone(text.trim());
    let clock = match read(clock, zone, now)? {
        Reading::Instant(instant) => instant.with_timezone(&zone).naive_local(),
        Reading::Clock(clock) => clock,
    };
    clock.and_utc().timestamp_nanos_opt()
}

/// Reads a date, as days since 1970; a time of day in the text does not count.
fn date_days(text: &str, zone: Tz, now: DateTime<Utc>) -> Option<i32> {
    let epoch = NaiveDate::default();
    let days = clock_ns(text, zone, now)?.div_euclid(DAY_NS);
    i32::try_from(epoch.checked_add_signed(TimeDelta::days(days))?.signed_duration_since(epoch).num_days()).ok()
}

fn read(text: &str, zone: Tz, now: DateTime<Utc>) -> Option<Reading> {
    let text = text.trim();
    let today = now.with_timezone(&zone).date_naive();
    let (word, rest) = text.split_once(' ').map_or((text, ""), |(word, rest)| (word, rest.trim()));
    let day = match word.to_ascii_lowercase().as_str() {
        "now" if rest.is_empty() => return Some(Reading::Instant(now)),
        "epoch" if rest.is_empty() => return Some(Reading::Instant(DateTime::UNIX_EPOCH)),
        "today" => today,
        "tomorrow" => today.checked_add_days(Days::new(1))?,
        "yesterday" => today.checked_sub_days(Days::new(1))?,
        _ => return written(text),
    };
    match rest {
        "" => Some(Reading::Clock(day.and_time(NaiveTime::MIN))),
        time => Some(Reading::Clock(day.and_time(time_of_day(time)?))),
    }
}

/// A date, a time of day after a blank or `T`, and a zone.
fn written(text: &str) -> Option<Reading> {
    let (clock, zone) = split_zone(text);
    let (date, time) = match clock.find([' ', 'T', 't']) {
        Some(at) => (&clock[..at], clock[at + 1..].trim()),
        None => (clock, ""),
    };
    let date = date_of(date)?;
    let time = if time.is_empty() { NaiveTime::MIN } else { time_of_day(time)? };
    let clock = date.and_time(time);
    match zone {
        None => Some(Reading::Clock(clock)),
        Some(zone) => {
            let zone = if matches!(zone, "Z" | "z") { "UTC" } else { zone };
            let zone = with_minutes(zone).parse::<Tz>().ok()?;
            Some(Reading::Instant(to_utc(clock, zone).and_utc()))
        }
    }
}

/// Parts the zone from the rest: `Z`, an offset after a time of day, or a name after a blank.
fn split_zone(text: &str) -> (&str, Option<&str>) {
    if let Some(clock) = text.strip_suffix(['Z', 'z']).filter(|clock| clock.ends_with(|c: char| c.is_ascii_digit())) {
        return (clock, Some(&text[clock.len()..]));
    }
    let named = text
        .rsplit_once(' ')
        .filter(|(_, zone)| zone.starts_with(|c: char| c.is_ascii_alphabetic()) && zone.parse::<Tz>().is_ok());
    if let Some((clock, zone)) = named {
        return (clock.trim_end(), Some(zone));
    }
    // An offset stands after a time of day; before it a minus parts the date's numbers.
    let Some(colon) = text.find(':') else { return (text, None) };
    match text[colon..].find(['+', '-']) {
        Some(at) => (text[..colon + at].trim_end(), Some(&text[colon + at..])),
        None => (text, None),
    }
}

/// `+2`, `+0230` and `+02` as `+02:00` and `+02:30`.
fn with_minutes(zone: &str) -> String {
    let Some(sign) = zone.chars().next().filter(|sign| matches!(sign, '+' | '-')) else { return zone.to_string() };
    let digits = &zone[1..];
    match digits.split_once(':') {
        Some((hours, minutes)) => format!("{sign}{hours:0>2}:{minutes}"),
        None if digits.len() == 4 && digits.is_ascii() => format!("{sign}{}:{}", &digits[..2], &digits[2..]),
        None => format!("{sign}{digits:0>2}:00"),
    }
}

fn date_of(text: &str) -> Option<NaiveDate> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next(), parts.next());
    if parts.next().is_some() {
        return None;
    }
    match (month, day) {
        (Some(month), Some(day)) => {
            let digits = |text: &str, most: usize| {
                (!text.is_empty() && text.len() <= most && text.bytes().all(|b| b.is_ascii_digit())).then_some(())
            };
            digits(year, 6).and(digits(month, 2)).and(digits(day, 2))?;
            (year.len() >= 4).then_some(())?;
            NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
        }
        (None, None) if year.len() == 8 && year.is_ascii() => {
            NaiveDate::from_ymd_opt(year[..4].parse().ok()?, year[4..6].parse().ok()?, year[6..].parse().ok()?)
        }
        _ => None,
    }
}

/// `HH:MM`, `HH:MM:SS` or that with decimals, of which nine count.
fn time_of_day(text: &str) -> Option<NaiveTime> {
    let mut parts = text.split(':');
    let number = |text: &str| {
        (matches!(text.len(), 1 | 2) && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<u32>().ok())?
    };
    let (hour, minute) = (number(parts.next()?)?, number(parts.next()?)?);
    let (second, nanos) = match parts.next() {
        None => (0, 0),
        Some(seconds) => {
            let (whole, decimals) = seconds.split_once('.').unwrap_or((seconds, "0"));
            let digits: String = decimals.chars().take(9).collect();
            if !decimals.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            (number(whole)?, format!("{digits:0<9}").parse().ok()?)
        }
    };
    if parts.next().is_some() {
        return None;
    }
    NaiveTime::from_hms_nano_opt(hour, minute, second, nanos)
}

/// A clock's reading as UTC. One that comes twice is the first; one that is skipped is read by the offset before the gap.
pub(super) fn to_utc(clock: NaiveDateTime, zone: Tz) -> NaiveDateTime {
    /// Longer than any zone ever skipped but a whole day.
    const BEFORE_GAP: TimeDelta = TimeDelta::hours(3);
    if let Some(time) = zone.from_local_datetime(&clock).earliest() {
        return time.naive_utc();
    }
    let offset = zone.offset_from_utc_datetime(&(clock - BEFORE_GAP)).fix().local_minus_utc();
    clock - TimeDelta::seconds(i64::from(offset))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: DateTime<Utc> = DateTime::from_timestamp_nanos(1_772_323_199_000_000_000); // 2026-02-28 23:59:59

    fn shown(ns: Option<i64>) -> String {
        ns.map_or("none".into(), |ns| DateTime::from_timestamp_nanos(ns).format("%Y-%m-%d %H:%M:%S%.f").to_string())
    }

    #[test]
    fn texts_are_read_as_postgresql_reads_them() {
        let berlin: Tz = "Europe/Berlin".parse().expect("a zone");
        for (text, meant) in [
            ("2026-01-31", "2026-01-30 23:00:00"),
            ("2026-01-31 10:00", "2026-01-31 09:00:00"),
            ("20260131 10:00", "2026-01-31 09:00:00"),
            ("2026-1-31 9:05", "2026-01-31 08:05:00"),
            ("2026-07-31T10:00", "2026-07-31 08:00:00"),
            ("2026-01-31T10:00:00Z", "2026-01-31 10:00:00"),
            ("2026-01-31 10:00Z", "2026-01-31 10:00:00"),
            ("2026-01-31 10:00:00.123456789+02", "2026-01-31 08:00:00.123456789"),
            ("2026-01-31 10:00 -0330", "2026-01-31 13:30:00"),
            ("2026-01-31 10:00:00+05:30", "2026-01-31 04:30:00"),
            ("2026-01-31 10:00 America/New_York", "2026-01-31 15:00:00"),
            ("2026-01-31 10:00:00 UTC", "2026-01-31 10:00:00"),
            // The clock shows these twice and never.
            ("2026-10-25 02:30", "2026-10-25 00:30:00"),
            ("2026-03-29 02:30", "2026-03-29 01:30:00"),
            ("now", "2026-02-28 23:59:59"),
            ("today", "2026-02-28 23:00:00"),
            ("YESTERDAY 08:00", "2026-02-28 07:00:00"),
            ("tomorrow", "2026-03-01 23:00:00"),
            ("epoch", "1970-01-01 00:00:00"),
            ("soon", "none"),
            ("2026-13-01", "none"),
            ("2026-01-31 25:00", "none"),
            ("10:00", "none"),
            ("", "none"),
        ] {
            assert_eq!(shown(instant_ns(text, berlin, NOW)), meant, "{text}");
        }
    }

    #[test]
    fn without_a_zone_the_clock_counts() {
        let berlin: Tz = "Europe/Berlin".parse().expect("a zone");
        for (text, meant) in [
            ("2026-01-31 10:00:00+05:30", "2026-01-31 10:00:00"),
            ("2026-01-31T10:00Z", "2026-01-31 10:00:00"),
            ("now", "2026-03-01 00:59:59"),
            ("today", "2026-03-01 00:00:00"),
        ] {
            assert_eq!(shown(clock_ns(text, berlin, NOW)), meant, "{text}");
        }
        assert_eq!(date_days("1970-01-03 23:00", berlin, NOW), Some(2));
        assert_eq!(date_days("1969-12-31", berlin, NOW), Some(-1));
    }
}
