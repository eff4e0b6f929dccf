//! Due times of a schedule: a rule on the wall clock of a zone, and what its instants are when that clock is set.
//!
//! A cron expression and `every` name times of day, as a person reads them off the wall. Twice a year some of those do not exist, or exist
//! twice. What is due then:
//!
//! | times | that the clock skips | that the clock repeats |
//! |---|---|---|
//! | fixed: no `*` and no step in minutes and hours, and `every` of a day or longer | once, at the first instant after | once, the first time |
//! | in each hour of the day | are not due: their hour did not exist | both times |
//! | other intervals: `*/15 2`, `0 */6`, `every = "6h"` | once, at the first instant after | both times |
//!
//! The crate `croner` reads expressions and walks the wall clock. It would tell what is due when clocks are set, too, but takes lists and ranges such as
//! `0 2,14 * * *` for intervals, which are lost in a skipped hour and run twice in a repeated one.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use croner::{Cron, CronComponent};

use super::definition::{Schedule, When};
use crate::error::{Error, Result};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Wall clocks differ from UTC by less, and no clock was ever set by more.
const MOST_SHIFT_S: i64 = 26 * 60 * 60;

/// How far back the search for the latest due time looks first, and by how much farther it looks each time that there is none.
const FIRST_LOOK_MS: i64 = 60_000;
const LOOK_FARTHER: i64 = 4;

/// The due times of a schedule.
#[derive(Debug, Clone)]
pub(super) struct Timetable {
    rule: Rule,
    zone: Tz,
    skipped: Skipped,
    repeated: Repeated,
}

#[derive(Debug, Clone)]
enum Rule {
    Cron(Box<Cron>),
    /// Whole multiples of so many seconds since 1970-01-01T00:00:00 on the wall.
    EverySeconds(i64),
}

/// What becomes of times that the clock skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skipped {
    /// They are one due time, at the first instant after.
    After,
    Dropped,
}

/// What becomes of times that the clock repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeated {
    First,
    Both,
}

impl Timetable {
    /// The due times of `schedule`.
    ///
    /// # Errors
    /// [`crate::error::Kind::BadInput`] for an expression that cannot be read.
    pub(super) fn new(schedule: &Schedule) -> Result<Self> {
        let zone = schedule.zone;
        match &schedule.when {
            When::Cron(text) => {
                let cron = Cron::from_str(text)
                    .map_err(|error| Error::bad_input(format!("cron expression \"{text}\" cannot be read: {error}")))?;
                let (skipped, repeated) = kind_of(&cron);
                Ok(Self { rule: Rule::Cron(Box::new(cron)), zone, skipped, repeated })
            }
            When::Every(every) => {
                let seconds = i64::try_from(every.as_secs()).unwrap_or(i64::MAX).max(1);
                let repeated = if *every >= DAY { Repeated::First } else { Repeated::Both };
                Ok(Self { rule: Rule::EverySeconds(seconds), zone, skipped: Skipped::After, repeated })
            }
        }
    }

    /// The zone whose wall clock it follows.
    pub(super) fn zone(&self) -> Tz {
        self.zone
    }

    /// The first due time after an instant; `None` when there is no more.
    pub(super) fn next_after(&self, after_ms: i64) -> Option<i64> {
        let after = instant(after_ms)?;
        let next = self.next_in_walk(after, wall(self.zone, after));
        // Where the clock is going to be set back, times that are over on the wall come again.
        let again = match self.repeated {
            Repeated::First => None,
            Repeated::Both => {
                set_back_at(self.zone, after).and_then(|at| self.next_in_walk(after, wall(self.zone, at) - SECOND))
            }
        };
        let next = next.into_iter().chain(again).min()?;
        Some(next.timestamp_millis())
    }

    /// The latest due time after `after_ms` for which `is_over` holds, which holds up to some due time and not beyond; none of those after
    /// `now_ms` is asked about.
    pub(super) fn latest(&self, after_ms: i64, now_ms: i64, is_over: impl Fn(i64) -> bool) -> Option<i64> {
        let mut look_ms = FIRST_LOOK_MS;
        loop {
            let from_ms = after_ms.max(now_ms.saturating_sub(look_ms));
            let due = std::iter::successors(self.next_after(from_ms), |due_ms| self.next_after(*due_ms));
            let latest = due.take_while(|due_ms| *due_ms <= now_ms && is_over(*due_ms)).last();
            if latest.is_some() || from_ms <= after_ms {
                return latest;
            }
            look_ms = look_ms.saturating_mul(LOOK_FARTHER);
        }
    }

    /// What the wall would show at a due time if no clock had skipped it: the time that the rule names.
    pub(super) fn named_time(&self, due_ms: i64) -> Option<NaiveDateTime> {
        let due = instant(due_ms)?;
        let (shown, before) = (wall(self.zone, due), wall(self.zone, due - SECOND));
        let is_after_skip = self.skipped == Skipped::After && shown - before > SECOND;
        let named = if is_after_skip { self.next_wall(before) } else { None };
        Some(named.filter(|named| *named < shown).unwrap_or(shown))
    }

    /// The first instant after `after` among those of the rule's times after `from` on the wall.
    fn next_in_walk(&self, after: DateTime<Utc>, from: NaiveDateTime) -> Option<DateTime<Utc>> {
        let mut named = self.next_wall(from)?;
        loop {
            if let Some(due) = self.instants(named).into_iter().flatten().find(|due| *due > after) {
                return Some(due);
            }
            named = self.next_wall(named)?;
        }
    }

    /// The rule's first time after one on the wall.
    fn next_wall(&self, after: NaiveDateTime) -> Option<NaiveDateTime> {
        match &self.rule {
            // What can never be, such as a 30th of February, is sought in vain.
            Rule::Cron(cron) => cron.find_next_occurrence(&whole_seconds(after), false).ok(),
            Rule::EverySeconds(every) => {
                let seconds = after.and_utc().timestamp();
                let next = seconds.div_euclid(*every).checked_add(1)?.checked_mul(*every)?;
                Some(DateTime::from_timestamp(next, 0)?.naive_utc())
            }
        }
    }

    /// When a time on the wall is due, the earlier instant first.
    fn instants(&self, named: NaiveDateTime) -> [Option<DateTime<Utc>>; 2] {
        match self.zone.from_local_datetime(&named) {
            MappedLocalTime::Single(only) => [Some(only.to_utc()), None],
            MappedLocalTime::Ambiguous(first, second) => match self.repeated {
                Repeated::First => [Some(first.to_utc()), None],
                Repeated::Both => [Some(first.to_utc()), Some(second.to_utc())],
            },
            MappedLocalTime::None => match self.skipped {
                Skipped::After => [first_after_skip(self.zone, named), None],
                Skipped::Dropped => [None, None],
            },
        }
    }
}

const SECOND: TimeDelta = TimeDelta::seconds(1);

/// What an expression's times are when clocks are set.
fn kind_of(cron: &Cron) -> (Skipped, Repeated) {
    let is_interval = |field: &CronComponent| field.from_wildcard || field.step > 1;
    let pattern = &cron.pattern;
    // Without seconds in the expression there is one, 0.
    let is_fixed = ![&pattern.seconds, &pattern.minutes, &pattern.hours].into_iter().any(is_interval);
    let in_each_hour = pattern.hours.values().len() == 24;
    match (is_fixed, in_each_hour) {
        (_, true) => (Skipped::Dropped, Repeated::Both),
        (true, false) => (Skipped::After, Repeated::First),
        (false, false) => (Skipped::After, Repeated::Both),
    }
}

/// The first instant of a time on the wall: of two the earlier one, and of none the first one after.
pub(super) fn first_instant(zone: Tz, named: NaiveDateTime) -> Option<DateTime<Utc>> {
    match zone.from_local_datetime(&named) {
        MappedLocalTime::Single(only) => Some(only.to_utc()),
        MappedLocalTime::Ambiguous(first, _) => Some(first.to_utc()),
        MappedLocalTime::None => first_after_skip(zone, named),
    }
}

/// What the wall shows.
pub(super) fn wall(zone: Tz, at: DateTime<Utc>) -> NaiveDateTime {
    at.with_timezone(&zone).naive_local()
}

/// The instant of a number of milliseconds.
pub(super) fn instant(ms: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_millis(ms)
}

/// The first instant at which the wall shows more than a time that it skips.
fn first_after_skip(zone: Tz, skipped: NaiveDateTime) -> Option<DateTime<Utc>> {
    let named_s = skipped.and_utc().timestamp();
    first_second(named_s - MOST_SHIFT_S, named_s + MOST_SHIFT_S, |at| wall(zone, at) > skipped)
}

/// When the clock is set back next, for an instant whose time on the wall comes again.
fn set_back_at(zone: Tz, at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let MappedLocalTime::Ambiguous(_, again) = zone.from_local_datetime(&wall(zone, at)) else { return None };
    let again = again.to_utc();
    let offset_s = |at: DateTime<Utc>| at.with_timezone(&zone).offset().fix().local_minus_utc();
    match at < again {
        true => first_second(at.timestamp(), again.timestamp(), |at| offset_s(at) == offset_s(again)),
        false => None,
    }
}

/// The first second in a range from which on something holds; it holds at the end of the range.
fn first_second(from_s: i64, to_s: i64, holds: impl Fn(DateTime<Utc>) -> bool) -> Option<DateTime<Utc>> {
    let (mut before_s, mut after_s) = (from_s, to_s);
    while after_s - before_s > 1 {
        let middle_s = before_s + (after_s - before_s) / 2;
        match holds(DateTime::from_timestamp(middle_s, 0)?) {
            true => after_s = middle_s,
            false => before_s = middle_s,
        }
    }
    DateTime::from_timestamp(after_s, 0)
}

fn whole_seconds(time: NaiveDateTime) -> NaiveDateTime {
    time.with_nanosecond(0).unwrap_or(time)
}

#[cfg(test)]
pub(super) mod tests {
    use chrono_tz::America::New_York;
    use chrono_tz::Australia::Lord_Howe;
    use chrono_tz::Europe::Berlin;
    use chrono_tz::Pacific::Apia;

    use super::*;
    use crate::report::definition::Missed;

    pub fn cron(text: &str, zone: Tz) -> Schedule {
        Schedule { when: When::Cron(text.to_owned()), zone, missed: Missed::Once, jitter: Duration::ZERO }
    }

    pub fn every(seconds: u64, zone: Tz) -> Schedule {
        Schedule { when: When::Every(Duration::from_secs(seconds)), ..cron("", zone) }
    }

    /// Milliseconds of `2026-03-29T01:00:00Z`, or of a text with another offset.
    pub fn ms(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).expect(text).timestamp_millis()
    }

    /// Due times after one time up to another, as the zone's wall shows them: `DD HH:MM±HH`.
    fn due(schedule: &Schedule, after: &str, until: &str) -> Vec<String> {
        let table = Timetable::new(schedule).expect("a timetable");
        let times = std::iter::successors(table.next_after(ms(after)), |due_ms| table.next_after(*due_ms));
        let shown =
            |due_ms| instant(due_ms).expect("a time").with_timezone(&schedule.zone).format("%d %H:%M%z").to_string();
        let short = |shown: String| shown.strip_suffix("00").map(str::to_owned).unwrap_or(shown);
        times.take_while(|due_ms| *due_ms <= ms(until)).map(|due_ms| short(shown(due_ms))).collect()
    }

    const BERLIN_SPRING: (&str, &str) = ("2026-03-28T22:00:00Z", "2026-03-29T04:00:00Z");
    const BERLIN_AUTUMN: (&str, &str) = ("2026-10-24T21:30:00Z", "2026-10-25T04:00:00Z");

    #[test]
    fn a_time_that_the_clock_skips_is_due_once_at_the_first_instant_after() {
        let (after, until) = BERLIN_SPRING;
        for (text, expected) in [
            ("30 2 * * *", &["29 03:00+02"][..]),
            ("0 2 * * *", &["29 03:00+02"]),
            // All that is skipped is one due time, and what is due then anyway is not due twice.
            ("0,20,40 2 * * *", &["29 03:00+02"]),
            ("30 2,3 * * *", &["29 03:00+02", "29 03:30+02"]),
            ("0 2,3,4 * * *", &["29 03:00+02", "29 04:00+02"]),
            ("0 1-4 * * *", &["29 01:00+01", "29 03:00+02", "29 04:00+02"]),
            ("30 2 * * 0", &["29 03:00+02"]),
            ("30 2 29 3 *", &["29 03:00+02"]),
            ("30 2 * * 1", &[]),
            // Intervals other than in each hour.
            ("*/15 2 * * *", &["29 03:00+02"]),
            ("0 */2 * * *", &["29 00:00+01", "29 03:00+02", "29 04:00+02", "29 06:00+02"]),
            // In each hour: the skipped one did not exist.
            ("30 * * * *", &["28 23:30+01", "29 00:30+01", "29 01:30+01", "29 03:30+02", "29 04:30+02", "29 05:30+02"]),
        ] {
            assert_eq!(due(&cron(text, Berlin), after, until), expected, "{text}");
        }
    }

    #[test]
    fn a_time_that_the_clock_repeats_is_due_once_unless_it_is_one_of_an_interval() {
        let (after, until) = BERLIN_AUTUMN;
        for (text, expected) in [
            ("30 2 * * *", &["25 02:30+02"][..]),
            ("0 2 * * *", &["25 02:00+02"]),
            ("59 2 * * *", &["25 02:59+02"]),
            ("0,30 2,3 * * *", &["25 02:00+02", "25 02:30+02", "25 03:00+01", "25 03:30+01"]),
            ("0 1-4 * * *", &["25 01:00+02", "25 02:00+02", "25 03:00+01", "25 04:00+01"]),
            ("*/30 2 * * *", &["25 02:00+02", "25 02:30+02", "25 02:00+01", "25 02:30+01"]),
            ("0 */2 * * *", &["25 00:00+02", "25 02:00+02", "25 02:00+01", "25 04:00+01"]),
            (
                "45 * * * *",
                &[
                    "24 23:45+02",
                    "25 00:45+02",
                    "25 01:45+02",
                    "25 02:45+02",
                    "25 02:45+01",
                    "25 03:45+01",
                    "25 04:45+01",
                ],
            ),
        ] {
            assert_eq!(due(&cron(text, Berlin), after, until), expected, "{text}");
        }
    }

    #[test]
    fn half_hours_whole_days_and_midnights_are_set_too() {
        // Lord Howe's clock goes by half an hour: from 02:00 to 02:30 in October, and back to 01:30 in April.
        let (spring, autumn) =
            (("2026-10-03T14:00:00Z", "2026-10-03T17:00:00Z"), ("2026-04-04T13:30:00Z", "2026-04-04T17:00:00Z"));
        let lord_howe = |text: &str, (after, until)| due(&cron(text, Lord_Howe), after, until);
        assert_eq!(lord_howe("15 2 * * *", spring), ["04 02:30+11"]);
        assert_eq!(lord_howe("45 1 * * *", autumn), ["05 01:45+11"]);
        let twice = ["05 00:45+11", "05 01:45+11", "05 01:45+1030", "05 02:45+1030"];
        assert_eq!(lord_howe("45 * * * *", autumn), twice);
        // Samoa had no 30th of December 2011.
        let apia = due(&cron("0 7 * * *", Apia), "2011-12-29T12:00:00Z", "2012-01-01T00:00:00Z");
        assert_eq!(apia, ["29 07:00-10", "31 00:00+14", "31 07:00+14", "01 07:00+14"]);
        // In Havana the clock goes from 01:00 back to 00:00, in Beirut from 00:00 to 01:00.
        let havana = cron("0 0 * * *", chrono_tz::America::Havana);
        assert_eq!(due(&havana, "2025-11-01T12:00:00Z", "2025-11-03T06:00:00Z"), ["02 00:00-04", "03 00:00-05"]);
        let beirut = cron("0 0 * * *", chrono_tz::Asia::Beirut);
        assert_eq!(due(&beirut, "2026-03-28T12:00:00Z", "2026-03-30T00:00:00Z"), ["29 01:00+03", "30 00:00+03"]);
    }

    #[test]
    fn every_is_aligned_to_the_day_of_the_zone() {
        let (after, until) = BERLIN_SPRING;
        assert_eq!(due(&every(6 * 3600, Berlin), after, until), ["29 00:00+01", "29 06:00+02"]);
        assert_eq!(
            due(&every(3600, Berlin), "2026-03-28T23:30:00Z", "2026-03-29T02:00:00Z"),
            ["29 01:00+01", "29 03:00+02", "29 04:00+02"]
        );
        // The skipped time between 02:00 and 03:00 is made up for.
        assert_eq!(
            due(&every(4 * 1800, Berlin), "2026-03-28T23:30:00Z", "2026-03-29T03:00:00Z"),
            ["29 03:00+02", "29 04:00+02"]
        );
        let (after, until) = BERLIN_AUTUMN;
        assert_eq!(
            due(&every(1800, Berlin), "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"),
            ["25 02:30+02", "25 02:00+01", "25 02:30+01", "25 03:00+01"]
        );
        assert_eq!(due(&every(24 * 3600, Berlin), after, until), ["25 00:00+02"]);
        assert_eq!(due(&every(24 * 3600, Tz::UTC), after, until), ["25 00:00+00"]);
        // India is half an hour beside the others.
        let kolkata = every(3600, chrono_tz::Asia::Kolkata);
        assert_eq!(due(&kolkata, "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"), ["01 06:00+0530"]);
    }

    #[test]
    fn days_that_are_rare_come_when_they_come() {
        let leap = Timetable::new(&cron("0 7 29 2 *", New_York)).expect("a timetable");
        assert_eq!(leap.next_after(ms("2026-01-01T00:00:00Z")), Some(ms("2028-02-29T07:00:00-05:00")));
        assert_eq!(leap.next_after(ms("2028-02-29T07:00:00-05:00")), Some(ms("2032-02-29T07:00:00-05:00")));
        let never = Timetable::new(&cron("0 7 30 2 *", Berlin)).expect("a timetable");
        assert_eq!(never.next_after(ms("2026-01-01T00:00:00Z")), None);
        assert_eq!(never.latest(0, ms("2026-01-01T00:00:00Z"), |_| true), None);
        let last_day = Timetable::new(&cron("0 0 L * *", Berlin)).expect("a timetable");
        assert_eq!(last_day.next_after(ms("2028-02-01T00:00:00Z")), Some(ms("2028-02-29T00:00:00+01:00")));
        assert!(Timetable::new(&cron("61 * * * *", Berlin)).is_err());
    }

    #[test]
    fn no_due_time_is_lost_or_twice_wherever_the_search_begins() {
        // In each zone from before one change to after it, from each minute: what comes next is what comes next in the list of all.
        let spans = [
            (Berlin, "2026-03-28T23:00:00Z", 5),
            (Berlin, "2026-10-24T22:00:00Z", 6),
            (New_York, "2026-03-08T05:00:00Z", 5),
            (New_York, "2026-11-01T04:00:00Z", 5),
            (Lord_Howe, "2026-10-03T13:00:00Z", 5),
            (Lord_Howe, "2026-04-04T13:00:00Z", 5),
        ];
        let rules = ["30 2 * * *", "*/7 * * * *", "0,45 1-2 * * *", "*/20 2 * * *", "15 */2 * * *", "59 1 * * *"];
        for (zone, from, hours) in spans {
            for rule in rules {
                let table = Timetable::new(&cron(rule, zone)).expect("a timetable");
                let (from_ms, until_ms) = (ms(from), ms(from) + hours * 3_600_000);
                let all: Vec<i64> =
                    std::iter::successors(table.next_after(from_ms), |due_ms| table.next_after(*due_ms))
                        .take_while(|due_ms| *due_ms <= until_ms)
                        .collect();
                assert!(all.is_sorted_by(|a, b| a < b), "{rule} in {zone}: {all:?}");
                for minute in 0..hours * 60 {
                    let at_ms = from_ms + minute * 60_000;
                    let next = all.iter().copied().find(|due_ms| *due_ms > at_ms);
                    assert_eq!(
                        table.next_after(at_ms).filter(|due_ms| *due_ms <= until_ms),
                        next,
                        "{rule} in {zone} after {at_ms}"
                    );
                    let last = all.iter().copied().filter(|due_ms| *due_ms <= at_ms).max();
                    assert_eq!(table.latest(from_ms, at_ms, |_| true), last, "{rule} in {zone} until {at_ms}");
                }
            }
        }
    }

    #[test]
    fn the_time_that_a_rule_names_is_known_where_the_clock_skipped_it() {
        let table = Timetable::new(&cron("30 2 * * *", Berlin)).expect("a timetable");
        for (due, named) in [
            ("2026-03-28T02:30:00+01:00", "2026-03-28T02:30:00"),
            ("2026-03-29T03:00:00+02:00", "2026-03-29T02:30:00"),
            ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00"),
        ] {
            assert_eq!(
                table.named_time(ms(due)).expect("a time").and_utc().timestamp_millis(),
                ms(&format!("{named}Z"))
            );
        }
        let at_three = Timetable::new(&cron("0 3 * * *", Berlin)).expect("a timetable");
        let shown = at_three.named_time(ms("2026-03-29T03:00:00+02:00")).expect("a time");
        assert_eq!(shown.and_utc().timestamp_millis(), ms("2026-03-29T03:00:00Z"));
    }
}
