//! Time axes: ticks at round times of a zone, wherever its clocks change.

use chrono::{
    DateTime, Datelike, Days, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Timelike, Utc,
};
use chrono_tz::Tz;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Zones differ from one another by whole multiples of this.
const QUARTER_MS: i64 = 15 * MINUTE_MS;
/// Steps within a day.
const STEPS_MS: [i64; 17] = [
    1,
    10,
    100,
    1_000,
    5_000,
    15_000,
    30_000,
    MINUTE_MS,
    5 * MINUTE_MS,
    15 * MINUTE_MS,
    30 * MINUTE_MS,
    HOUR_MS,
    2 * HOUR_MS,
    3 * HOUR_MS,
    6 * HOUR_MS,
    12 * HOUR_MS,
    DAY_MS,
];
/// Months in a step.
const STEPS_MONTHS: [i32; 9] = [1, 3, 6, 12, 24, 60, 120, 600, 1_200];

/// A tick of a time axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tick {
    pub at_ms: i64,
    pub label: String,
    /// Whether a day begins here, on an axis of hours.
    pub is_major: bool,
}

/// How far ticks lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Millis(i64),
    Days(u64),
    Months(i32),
}

/// Ticks between two times, both included, at most `wanted`.
pub fn ticks(from_ms: i64, to_ms: i64, zone: Tz, wanted: usize) -> Vec<Tick> {
    let step = step_of(to_ms.saturating_sub(from_ms), wanted.max(1) as i64);
    let times: Vec<i64> = match step {
        Step::Millis(step_ms) => within_days(from_ms, to_ms, zone, step_ms),
        Step::Days(days) => starts_of_days(from_ms, to_ms, zone, days),
        Step::Months(months) => starts_of_months(from_ms, to_ms, zone, months),
    };
    let mut ticks: Vec<Tick> = times.iter().map(|&at_ms| tick(at_ms, zone, step)).collect();
    tell_twins_apart(&mut ticks, zone);
    ticks
}

/// The wall clock at a time.
pub fn local(at_ms: i64, zone: Tz) -> NaiveDateTime {
    let utc = DateTime::<Utc>::from_timestamp_millis(at_ms).unwrap_or_default();
    utc.with_timezone(&zone).naive_local()
}

/// What the zone calls its time at a time: `CET`, or `+0530`.
pub fn abbreviation(at_ms: i64, zone: Tz) -> String {
    let utc = DateTime::<Utc>::from_timestamp_millis(at_ms).unwrap_or_default();
    utc.with_timezone(&zone).format("%Z").to_string()
}

/// The changes of the clock between two times at most some years apart: when, and by how many minutes it goes forward.
pub fn clock_changes(from_ms: i64, to_ms: i64, zone: Tz) -> Vec<(i64, i64)> {
    /// Enough for ten years of hours.
    const MOST_STEPS: i64 = 100_000;
    let step = (to_ms.saturating_sub(from_ms) / MOST_STEPS).max(HOUR_MS);
    let mut changes = Vec::new();
    let mut before_ms = from_ms;
    while before_ms < to_ms {
        let after_ms = (before_ms + step).min(to_ms);
        let change = offset_ms(after_ms, zone) - offset_ms(before_ms, zone);
        if change != 0 {
            // Halve until the change lies in the next millisecond.
            let (mut low, mut high) = (before_ms, after_ms);
            while high - low > 1 {
                let middle = low + (high - low) / 2;
                match offset_ms(middle, zone) == offset_ms(low, zone) {
                    true => low = middle,
                    false => high = middle,
                }
            }
            changes.push((high, change / MINUTE_MS));
        }
        before_ms = after_ms;
    }
    changes
}

fn offset_ms(at_ms: i64, zone: Tz) -> i64 {
    let utc = DateTime::<Utc>::from_timestamp_millis(at_ms).unwrap_or_default();
    i64::from(zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc()) * 1_000
}

fn step_of(length_ms: i64, wanted: i64) -> Step {
    let fits = |step_ms: i64| length_ms / step_ms < wanted;
    if let Some(&step) = STEPS_MS.iter().find(|step| fits(**step)) {
        return if step == DAY_MS { Step::Days(1) } else { Step::Millis(step) };
    }
    if let Some(days) = [2, 7, 14].into_iter().find(|days| fits(days * DAY_MS)) {
        return Step::Days(days as u64);
    }
    let months = STEPS_MONTHS.into_iter().find(|months| fits(i64::from(*months) * 30 * DAY_MS));
    Step::Months(months.unwrap_or(12_000))
}

/// Times whose wall clock is at a multiple of the step; an hour that comes twice has its ticks twice.
fn within_days(from_ms: i64, to_ms: i64, zone: Tz, step_ms: i64) -> Vec<i64> {
    let stride = step_ms.min(QUARTER_MS);
    let first = from_ms.div_euclid(stride) * stride;
    let candidates =
        (0..).map(|at| first + at * stride).take_while(|at_ms| *at_ms <= to_ms).filter(|at_ms| *at_ms >= from_ms);
    candidates.filter(|at_ms| (at_ms + offset_ms(*at_ms, zone)).rem_euclid(DAY_MS) % step_ms == 0).collect()
}

fn starts_of_days(from_ms: i64, to_ms: i64, zone: Tz, days: u64) -> Vec<i64> {
    let first = local(from_ms, zone).date();
    // Whole weeks begin on Mondays, pairs of days wherever the first is.
    let first = match days.is_multiple_of(7) {
        true => first.checked_sub_days(Days::new(u64::from(first.weekday().num_days_from_monday()))).unwrap_or(first),
        false => first,
    };
    let dates = std::iter::successors(Some(first), |date| date.checked_add_days(Days::new(days)));
    let times = dates.map_while(|date| start_of_day(date, zone)).take_while(|at_ms| *at_ms <= to_ms);
    times.filter(|at_ms| *at_ms >= from_ms).collect()
}

fn starts_of_months(from_ms: i64, to_ms: i64, zone: Tz, months: i32) -> Vec<i64> {
    let from = local(from_ms, zone).date();
    let first = (from.year() * 12 + from.month0() as i32).div_euclid(months) * months;
    let date = |month: i32| NaiveDate::from_ymd_opt(month.div_euclid(12), month.rem_euclid(12) as u32 + 1, 1);
    let starts = (0..).map_while(|at| start_of_day(date(first + at * months)?, zone));
    starts.take_while(|at_ms| *at_ms <= to_ms).filter(|at_ms| *at_ms >= from_ms).collect()
}

/// The first moment of a day; not every day has a midnight.
fn start_of_day(date: NaiveDate, zone: Tz) -> Option<i64> {
    (0..12).find_map(|quarters| {
        let time = NaiveTime::from_hms_opt(quarters / 4, quarters % 4 * 15, 0)?;
        match zone.from_local_datetime(&date.and_time(time)) {
            LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Some(time.timestamp_millis()),
            LocalResult::None => None,
        }
    })
}

fn tick(at_ms: i64, zone: Tz, step: Step) -> Tick {
    let local = local(at_ms, zone);
    let is_midnight = local.time() == NaiveTime::MIN;
    let day = || local.format("%-d %b").to_string();
    let (label, is_major) = match step {
        Step::Millis(step_ms) if step_ms < 1_000 => (local.format("%H:%M:%S%.3f").to_string(), false),
        Step::Millis(step_ms) if step_ms < MINUTE_MS => (local.format("%H:%M:%S").to_string(), local.second() == 0),
        Step::Millis(_) if is_midnight => (day(), true),
        Step::Millis(_) => (local.format("%H:%M").to_string(), false),
        Step::Days(_) => (day(), local.day() == 1),
        Step::Months(months) if months < 12 && local.month() != 1 => (local.format("%b").to_string(), false),
        Step::Months(_) => (local.format("%Y").to_string(), true),
    };
    Tick { at_ms, label, is_major }
}

/// Where one label follows itself, an hour came twice: both say which it is.
fn tell_twins_apart(ticks: &mut [Tick], zone: Tz) {
    for at in 1..ticks.len() {
        let (before, after) = ticks.split_at_mut(at);
        let Some(earlier) = before.iter_mut().rev().find(|tick| tick.label == after[0].label) else { continue };
        if after[0].at_ms - earlier.at_ms <= 3 * HOUR_MS {
            for tick in [earlier, &mut after[0]] {
                tick.label = format!("{} {}", tick.label, abbreviation(tick.at_ms, zone));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> i64 {
        DateTime::parse_from_rfc3339(text).expect("a time").timestamp_millis()
    }

    fn labels(from: &str, to: &str, zone: Tz, wanted: usize) -> String {
        let ticks = ticks(utc(from), utc(to), zone, wanted);
        ticks.into_iter().map(|tick| tick.label).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn ticks_are_round_where_the_report_lives() {
        let berlin = chrono_tz::Europe::Berlin;
        let kolkata = chrono_tz::Asia::Kolkata;
        let cases = [
            (
                "2026-11-20T23:00:00Z",
                "2026-11-21T23:00:00Z",
                berlin,
                9,
                "21 Nov, 03:00, 06:00, 09:00, 12:00, 15:00, 18:00, 21:00, 22 Nov",
            ),
            ("2026-11-20T23:10:00Z", "2026-11-21T05:00:00Z", kolkata, 7, "05:00, 06:00, 07:00, 08:00, 09:00, 10:00"),
            ("2026-11-20T23:00:00Z", "2026-11-20T23:10:00Z", Tz::UTC, 4, "23:00, 23:05, 23:10"),
            (
                "2026-11-20T23:00:00.100Z",
                "2026-11-20T23:00:00.400Z",
                Tz::UTC,
                4,
                "23:00:00.100, 23:00:00.200, 23:00:00.300, 23:00:00.400",
            ),
            ("2026-03-01T00:00:00Z", "2026-03-31T00:00:00Z", berlin, 6, "2 Mar, 9 Mar, 16 Mar, 23 Mar, 30 Mar"),
            ("2025-11-15T00:00:00Z", "2026-07-15T00:00:00Z", berlin, 9, "Dec, 2026, Feb, Mar, Apr, May, Jun, Jul"),
            ("2001-01-01T00:00:00Z", "2026-01-01T00:00:00Z", Tz::UTC, 6, "2005, 2010, 2015, 2020, 2025"),
        ];
        for (from, to, zone, wanted, shown) in cases {
            assert_eq!(labels(from, to, zone, wanted), shown, "{from} to {to}");
        }
    }

    #[test]
    fn an_hour_that_is_missing_has_no_tick_and_one_that_comes_twice_has_two() {
        let berlin = chrono_tz::Europe::Berlin;
        let spring = labels("2026-03-28T23:00:00Z", "2026-03-29T04:00:00Z", berlin, 8);
        assert_eq!(spring, "29 Mar, 01:00, 03:00, 04:00, 05:00, 06:00");
        let autumn = labels("2026-10-24T22:00:00Z", "2026-10-25T04:00:00Z", berlin, 8);
        assert_eq!(autumn, "25 Oct, 01:00, 02:00 CEST, 02:00 CET, 03:00, 04:00, 05:00");
        // Days of 23 and 25 hours still begin at their midnights.
        let days = ticks(utc("2026-10-23T22:00:00Z"), utc("2026-10-26T23:00:00Z"), berlin, 5);
        let gaps: Vec<i64> = days.windows(2).map(|pair| (pair[1].at_ms - pair[0].at_ms) / HOUR_MS).collect();
        assert_eq!(gaps, [24, 25, 24]);
        // In Santiago, the day of the change has no midnight.
        let santiago = ticks(utc("2026-09-04T12:00:00Z"), utc("2026-09-07T12:00:00Z"), chrono_tz::America::Santiago, 4);
        assert_eq!(santiago.iter().map(|tick| tick.label.as_str()).collect::<Vec<_>>(), ["5 Sep", "6 Sep", "7 Sep"]);
    }

    #[test]
    fn changes_of_the_clock_are_found_to_the_millisecond() {
        let year = clock_changes(utc("2026-01-01T00:00:00Z"), utc("2027-01-01T00:00:00Z"), chrono_tz::Europe::Berlin);
        assert_eq!(year, [(utc("2026-03-29T01:00:00Z"), 60), (utc("2026-10-25T01:00:00Z"), -60)]);
        assert!(clock_changes(0, DAY_MS, Tz::UTC).is_empty());
    }

    #[test]
    fn no_stretch_of_time_has_too_many_ticks() {
        for length_ms in [0, 1, 999, 61_000, HOUR_MS, DAY_MS, 400 * DAY_MS, 4_000 * DAY_MS, 400_000 * DAY_MS] {
            for zone in [Tz::UTC, chrono_tz::Asia::Kathmandu, chrono_tz::Australia::Lord_Howe] {
                let count = ticks(1_700_000_000_000, 1_700_000_000_000 + length_ms, zone, 8).len();
                assert!(count <= 10, "{count} ticks over {length_ms} ms");
            }
        }
    }
}
