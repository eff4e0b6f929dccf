//! The time that a run asks about, true to the calendar of the schedule's zone.
//!
//! The window of a run begins where the one of the run before ended, if the schedule and the window have the same length: a day is from a
//! time on the wall to the same time on the next day, and may have 23 or 25 hours.

use chrono::{Days, Months, NaiveDateTime};
use chrono_tz::Tz;

use super::definition::{Span, Window};
use super::schedule::{Timetable, first_instant, instant, wall};
use crate::error::{Error, Result};

/// From the first moment of a window to the first one after it, in milliseconds.
pub(super) type WindowMs = (i64, i64);

/// The window of a run that is due at `due_ms` by its timetable.
pub(super) fn of_due(window: &Window, timetable: &Timetable, due_ms: i64) -> Result<WindowMs> {
    ending(window, timetable.zone(), due_ms, timetable.named_time(due_ms))
}

/// The window of a run that a person starts at `now_ms`.
pub(super) fn of_now(window: &Window, zone: Tz, now_ms: i64) -> Result<WindowMs> {
    ending(window, zone, now_ms, instant(now_ms).map(|now| wall(zone, now)))
}

/// `named` is what the wall would show at `due_ms` if no clock were set.
fn ending(window: &Window, zone: Tz, due_ms: i64, named: Option<NaiveDateTime>) -> Result<WindowMs> {
    let delay_ms = i64::try_from(window.delay.as_millis()).unwrap_or(i64::MAX);
    let from_ms = match window.length {
        Span::Fixed(length) => {
            i64::try_from(length.as_millis()).ok().and_then(|length_ms| due_ms.checked_sub(length_ms))
        }
        Span::Calendar { months, days } => {
            let from = named.and_then(|named| earlier(named, months, days));
            from.and_then(|from| first_instant(zone, from)).map(|from| from.timestamp_millis())
        }
    };
    let moved = |ms: i64| ms.checked_sub(delay_ms);
    // The delay counts after the length: where the clock is set in between, windows still meet.
    match (from_ms.and_then(moved), moved(due_ms)) {
        (Some(from_ms), Some(to_ms)) => Ok((from_ms, to_ms)),
        _ => Err(Error::bad_input("the window begins before there is time; give a shorter one")),
    }
}

/// The same time some months and days before; the last day of a month that has no such day.
fn earlier(named: NaiveDateTime, months: u32, days: u32) -> Option<NaiveDateTime> {
    let date = named.date().checked_sub_months(Months::new(months))?.checked_sub_days(Days::new(u64::from(days)))?;
    Some(NaiveDateTime::new(date, named.time()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono_tz::America::New_York;
    use chrono_tz::Australia::Lord_Howe;
    use chrono_tz::Europe::Berlin;

    use super::*;
    use crate::report::schedule::tests::{cron, every, ms};

    const HOUR_MS: i64 = 3_600_000;

    fn days(days: u32) -> Window {
        Window { length: Span::Calendar { months: 0, days }, delay: Duration::ZERO }
    }

    fn months(months: u32) -> Window {
        Window { length: Span::Calendar { months, days: 0 }, delay: Duration::ZERO }
    }

    #[test]
    fn a_day_has_as_many_hours_as_its_zone_gives_it() {
        for (zone, now, half_hours) in [
            (Berlin, "2026-03-29T07:00:00+02:00", 46),
            (Berlin, "2026-03-30T07:00:00+02:00", 48),
            (Berlin, "2026-10-25T07:00:00+01:00", 50),
            (New_York, "2026-03-08T07:00:00-04:00", 46),
            (New_York, "2026-11-01T07:00:00-05:00", 50),
            (Lord_Howe, "2026-10-04T07:00:00+11:00", 47),
            (Lord_Howe, "2026-04-05T07:00:00+10:30", 49),
            (Tz::UTC, "2026-03-29T07:00:00Z", 48),
        ] {
            let (from_ms, to_ms) = of_now(&days(1), zone, ms(now)).expect("a window");
            assert_eq!((to_ms, to_ms - from_ms), (ms(now), half_hours * HOUR_MS / 2), "{zone} {now}");
        }
        let week = of_now(&days(7), Berlin, ms("2026-04-01T07:00:00+02:00")).expect("a window");
        assert_eq!(week.1 - week.0, (7 * 24 - 1) * HOUR_MS);
    }

    #[test]
    fn a_month_is_from_day_to_day() {
        for (now, from) in [
            ("2026-04-01T00:00:00+02:00", "2026-03-01T00:00:00+01:00"),
            ("2026-03-31T00:00:00+02:00", "2026-02-28T00:00:00+01:00"),
            ("2028-03-31T00:00:00+02:00", "2028-02-29T00:00:00+01:00"),
            ("2026-01-15T12:30:00+01:00", "2025-12-15T12:30:00+01:00"),
        ] {
            assert_eq!(of_now(&months(1), Berlin, ms(now)).expect("a window"), (ms(from), ms(now)), "{now}");
        }
        let leap = of_now(&months(12), Berlin, ms("2028-02-29T00:00:00+01:00")).expect("a window");
        assert_eq!(leap.0, ms("2027-02-28T00:00:00+01:00"));
    }

    #[test]
    fn hours_are_hours_and_a_delay_moves_the_whole_window() {
        let hours = Window { length: Span::Fixed(Duration::from_secs(7200)), delay: Duration::from_secs(300) };
        let now_ms = ms("2026-03-29T03:30:00+02:00");
        let expected = (now_ms - 2 * HOUR_MS - 300_000, now_ms - 300_000);
        assert_eq!(of_now(&hours, Berlin, now_ms).expect("a window"), expected);
        let endless = Window { length: Span::Fixed(Duration::MAX), delay: Duration::ZERO };
        assert!(of_now(&endless, Berlin, now_ms).is_err());
        let ancient = of_now(&months(u32::MAX), Berlin, now_ms);
        assert!(ancient.is_err());
    }

    #[test]
    fn windows_of_a_daily_report_meet_over_a_year_whatever_the_clock_does() {
        let delay = Duration::from_secs(3600);
        for (schedule, window) in [
            (cron("30 2 * * *", Berlin), days(1)),
            (cron("0 2 * * *", New_York), days(1)),
            (cron("45 1 * * *", Lord_Howe), days(1)),
            (cron("15 2 * * *", Lord_Howe), days(1)),
            (cron("0 3 * * *", Berlin), Window { delay, ..days(1) }),
            (cron("30 2 * * 0", Berlin), days(7)),
            (cron("0 0 1 * *", Berlin), months(1)),
            (every(24 * 3600, Berlin), days(1)),
            (cron("0 * * * *", Berlin), Window { length: Span::Fixed(Duration::from_secs(3600)), delay }),
        ] {
            let table = Timetable::new(&schedule).expect("a timetable");
            let mut due_ms = table.next_after(ms("2025-12-31T12:00:00Z")).expect("a due time");
            let mut last_to_ms = None;
            let mut windows = 0;
            while due_ms < ms("2027-01-01T12:00:00Z") {
                let (from_ms, to_ms) = of_due(&window, &table, due_ms).expect("a window");
                let shown = instant(due_ms).expect("a time").with_timezone(&schedule.zone);
                assert!(last_to_ms.is_none_or(|last_ms| last_ms == from_ms), "{schedule:?} at {shown}");
                last_to_ms = Some(to_ms);
                windows += 1;
                due_ms = table.next_after(due_ms).expect("another due time");
            }
            assert!(windows >= 12, "{schedule:?} had {windows}");
        }
    }
}
