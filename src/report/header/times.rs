//! Schedules, windows and limits of a header.

use std::ops::RangeInclusive;
use std::time::Duration;

use chrono_tz::Tz;
use toml::de::DeValue;

use super::section::Section;
use crate::report::definition::{Missed, Schedule, Span, When, Window};
use crate::report::schedule::Timetable;
use crate::typed::{duration_text, nearest, parse_duration, parse_size, split_unit};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a run may take: the engine's own limit is a number of milliseconds, and a day is longer than anybody waits.
pub(super) const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=DAY;
/// How long results are kept; less would delete what nobody has read yet.
pub(super) const KEEPS: RangeInclusive<Duration> =
    Duration::from_secs(60 * 60)..=Duration::from_secs(100 * 366 * 86_400);
/// Longer gaps between runs are for cron.
const EVERY: RangeInclusive<Duration> = Schedule::LEAST_EVERY..=Duration::from_secs(366 * 86_400);
/// Less memory runs nothing.
const LEAST_MEMORY_BYTES: u64 = 1 << 20;
/// Longer windows are slips of the keyboard.
const MOST_WINDOW_DAYS: u32 = 100 * 366;

/// A duration within bounds.
pub(super) fn bounded(header: &Section<'_>, key: &str, bounds: RangeInclusive<Duration>) -> Option<Duration> {
    let duration = header.duration(key)?;
    if bounds.contains(&duration) {
        return Some(duration);
    }
    let (least, most) = (duration_text(*bounds.start()), duration_text(*bounds.end()));
    header.mistake(key, format!("it must be from {least} to {most}"));
    None
}

pub(super) fn memory(header: &Section<'_>) -> Option<usize> {
    let bytes = parse_size(&header.text("memory")?).map_err(|why| header.mistake("memory", why)).ok()?;
    if bytes < LEAST_MEMORY_BYTES {
        header.mistake("memory", "it is too little: give at least 1MiB".to_owned());
        return None;
    }
    Some(usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// `schedule = "0 7 * * *"`, or a table with `cron` or `every`.
pub(super) fn schedule(header: &Section<'_>) -> Option<Schedule> {
    if let DeValue::String(cron) = header.value("schedule")? {
        if let Some(every) = cron.strip_prefix("every ") {
            header.mistake("schedule", format!("for one that is no cron expression write {{ every = \"{every}\" }}"));
            return None;
        }
        let schedule = Schedule {
            when: When::Cron(cron.to_string()),
            zone: Tz::UTC,
            missed: Missed::default(),
            jitter: Duration::ZERO,
        };
        return checked(header, "schedule", schedule);
    }
    let section = header.section("schedule", &["cron", "every", "time_zone", "missed", "jitter"])?;
    let zone = section.text("time_zone").map(|name| zone(&section, &name));
    let missed = section.choice("missed", &[("once", Missed::Once), ("skip", Missed::Skip)]).unwrap_or_default();
    let jitter = section.has("jitter").then(|| bounded(&section, "jitter", Duration::ZERO..=DAY));
    let (key, when) = match (section.has("cron"), section.has("every")) {
        (true, false) => ("cron", When::Cron(section.needed_text("cron")?)),
        (false, true) => ("every", When::Every(bounded(&section, "every", EVERY)?)),
        _ => {
            section.mistake_here("schedule: write either cron = \"0 7 * * *\" or every = \"5m\"".to_owned());
            return None;
        }
    };
    let (zone, jitter) = (zone.unwrap_or(Some(Tz::UTC))?, jitter.unwrap_or(Some(Duration::ZERO))?);
    if let When::Every(every) = when
        && jitter >= every
    {
        section.mistake("jitter", "it must be shorter than what is between two runs".to_owned());
    }
    checked(&section, key, Schedule { when, zone, missed, jitter })
}

/// The schedule, if it has due times.
fn checked(section: &Section<'_>, key: &str, schedule: Schedule) -> Option<Schedule> {
    let table = Timetable::new(&schedule).map_err(|error| section.mistake(key, error.to_string())).ok()?;
    if table.next_after(0).is_none() {
        section.mistake(key, "it is never due: there is no such date".to_owned());
        return None;
    }
    Some(schedule)
}

fn zone(section: &Section<'_>, name: &str) -> Option<Tz> {
    let zone = name.parse::<Tz>().ok();
    if zone.is_none() {
        let known = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name());
        let advice = match nearest(name, known) {
            Some(near) => format!("did you mean {near}?"),
            None => "write one such as Europe/Berlin or UTC".to_owned(),
        };
        section.mistake("time_zone", format!("there is no time zone \"{name}\": {advice}"));
    }
    zone
}

/// `window = "1 day"`, or a table with `length` and `delay`.
pub(super) fn window(header: &Section<'_>) -> Option<Window> {
    if let DeValue::String(_) = header.value("window")? {
        return Some(Window { length: span(header, "window")?, delay: Duration::ZERO });
    }
    let section = header.section("window", &["length", "delay"])?;
    if !section.has("length") {
        section.mistake_here("length is missing: how long is the window?".to_owned());
    }
    let delay = section.duration("delay");
    Some(Window { length: span(&section, "length")?, delay: delay.unwrap_or_default() })
}

fn span(section: &Section<'_>, key: &str) -> Option<Span> {
    parse_span(&section.text(key)?).map_err(|why| section.mistake(key, why)).ok()
}

/// Reads a length of time as a person means it: days and longer follow the calendar.
pub(in crate::report) fn parse_span(text: &str) -> Result<Span, String> {
    let wrong = || format!("\"{text}\" is not a length of time: write such as 90m, 1 day, 1 week or 1 month");
    let (number, unit) = split_unit(text);
    let calendar = |months: u32, days: u32| {
        let number: u32 = number.parse().map_err(|_| wrong())?;
        match (number.checked_mul(months), number.checked_mul(days)) {
            (Some(months), Some(days)) if u64::from(months) * 31 + u64::from(days) <= u64::from(MOST_WINDOW_DAYS) => {
                Ok(Span::Calendar { months, days })
            }
            _ => Err(format!("\"{text}\" is too long")),
        }
    };
    let span = match unit {
        "d" | "day" | "days" => calendar(0, 1)?,
        "w" | "week" | "weeks" => calendar(0, 7)?,
        "month" | "months" => calendar(1, 0)?,
        "y" | "year" | "years" => calendar(12, 0)?,
        _ => Span::Fixed(parse_duration(text).map_err(|_| wrong())?),
    };
    match span {
        Span::Fixed(Duration::ZERO) | Span::Calendar { months: 0, days: 0 } => {
            Err(format!("\"{text}\" is no time at all"))
        }
        Span::Fixed(length) if length > DAY * MOST_WINDOW_DAYS => Err(format!("\"{text}\" is too long")),
        span => Ok(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_longer_follow_the_calendar() {
        let days = |days| Ok(Span::Calendar { months: 0, days });
        for (text, expected) in [
            ("1 day", days(1)),
            ("2d", days(2)),
            ("4 weeks", days(28)),
            ("1 month", Ok(Span::Calendar { months: 1, days: 0 })),
            ("1 year", Ok(Span::Calendar { months: 12, days: 0 })),
            ("24h", Ok(Span::Fixed(DAY))),
            ("90m", Ok(Span::Fixed(Duration::from_secs(5400)))),
        ] {
            assert_eq!(parse_span(text), expected, "{text}");
        }
        for bad in ["", "day", "0 days", "0h", "1.5 days", "1 fortnight", "99999999 years", "9999999999 days"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }
}
