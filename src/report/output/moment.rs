//! Times as people read them in the zone of a report.

use chrono::{DateTime, Days, NaiveDateTime, NaiveTime, Utc};
use chrono_tz::Tz;

use super::chart::abbreviation;

/// A moment to the second, with the name of its time: `2026-03-29 07:00:03 CEST`.
pub(super) fn instant(at_ms: i64, zone: Tz) -> String {
    format!("{} {}", wall(at_ms, zone).format("%Y-%m-%d %H:%M:%S"), abbreviation(at_ms, zone))
}

/// A moment to the minute, or to the second where it has one: `2026-03-29 07:00`.
pub(super) fn minute(at_ms: i64, zone: Tz) -> String {
    let at = wall(at_ms, zone);
    format!("{} {}", at.format("%Y-%m-%d"), clock(at))
}

/// A moment as programs read it.
pub(super) fn machine(at_ms: i64) -> String {
    utc(at_ms).format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A stretch of time: a day or some by their dates, else from one moment to the other.
pub fn window(from_ms: i64, to_ms: i64, zone: Tz) -> String {
    let (from, to) = (wall(from_ms, zone), wall(to_ms, zone));
    let (before, after) = (abbreviation(from_ms, zone), abbreviation(to_ms, zone));
    let has_one_name = before == after;
    let names = if has_one_name { before.clone() } else { format!("{before} to {after}") };
    let is_days = from.time() == NaiveTime::MIN && to.time() == NaiveTime::MIN && from < to;
    let last = to.date().checked_sub_days(Days::new(1)).filter(|_| is_days);
    match last {
        Some(last) if last == from.date() => format!("{}, {names}", last.format("%A %-d %B %Y")),
        Some(last) => format!("{} to {}, {names}", from.format("%a %-d %B %Y"), last.format("%a %-d %B %Y")),
        None if from.date() == to.date() && !has_one_name => {
            format!("{}, {} {before} to {} {after}", from.format("%A %-d %B %Y"), clock(from), clock(to))
        }
        None if !has_one_name => {
            let (from_day, to_day) = (from.format("%Y-%m-%d"), to.format("%Y-%m-%d"));
            format!("{from_day} {} {before} to {to_day} {} {after}", clock(from), clock(to))
        }
        None if from.date() == to.date() => {
            format!("{}, {} to {} {names}", from.format("%A %-d %B %Y"), clock(from), clock(to))
        }
        None => {
            format!("{} {} to {} {} {names}", from.format("%Y-%m-%d"), clock(from), to.format("%Y-%m-%d"), clock(to))
        }
    }
}

fn clock(at: NaiveDateTime) -> String {
    let seconds = at.format("%S").to_string() != "00";
    at.format(if seconds { "%H:%M:%S" } else { "%H:%M" }).to_string()
}

fn wall(at_ms: i64, zone: Tz) -> NaiveDateTime {
    utc(at_ms).with_timezone(&zone).naive_local()
}

fn utc(at_ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at_ms).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_read_as_people_say_them() {
        let ms = |text: &str| DateTime::parse_from_rfc3339(text).expect("a time").timestamp_millis();
        let berlin = chrono_tz::Europe::Berlin;
        let cases = [
            ("2026-11-20T23:00:00Z", "2026-11-21T23:00:00Z", "Saturday 21 November 2026, CET"),
            // A day of 23 hours is a day.
            ("2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", "Sunday 29 March 2026, CET to CEST"),
            ("2026-11-15T23:00:00Z", "2026-11-22T23:00:00Z", "Mon 16 November 2026 to Sun 22 November 2026, CET"),
            ("2026-11-21T06:00:00Z", "2026-11-21T07:30:00Z", "Saturday 21 November 2026, 07:00 to 08:30 CET"),
            ("2026-11-20T06:00:00Z", "2026-11-21T06:00:30Z", "2026-11-20 07:00 to 2026-11-21 07:00:30 CET"),
            // The hour that comes twice, and a stretch that ends on another time than it begins.
            ("2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "Sunday 25 October 2026, 02:00 CEST to 02:00 CET"),
            ("2026-10-24T06:00:00Z", "2026-10-25T06:00:00Z", "2026-10-24 08:00 CEST to 2026-10-25 07:00 CET"),
        ];
        for (from, to, shown) in cases {
            assert_eq!(window(ms(from), ms(to), berlin), shown);
        }
        assert_eq!(instant(ms("2026-03-29T05:00:03Z"), berlin), "2026-03-29 07:00:03 CEST");
        assert_eq!(machine(ms("2026-03-29T05:00:03Z")), "2026-03-29T05:00:03Z");
    }
}
