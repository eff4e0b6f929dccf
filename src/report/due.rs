//! Which run of a report is to begin now: a pure decision from its schedule, what ran before and the time.
//!
//! A due time has at most one run, whatever the clock does. Of due times that passed while the report could not run, the latest is run, or
//! none, as its schedule says. A run that died is made once more where its rows are to be recorded: without it its window would be missing from
//! the table. Jitter puts a run off by a part of itself that only the report's name decides, and never beyond the next due time.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::definition::{Missed, Schedule, When};
use super::history::{Cause, History};
use super::schedule::Timetable;

/// A run that begins later than this after its time counts as missed: nothing was running, or the run before it took too long.
const LATE_MS: i64 = 60_000;

/// Runs that died longer ago are not made again: a report that records only now would repeat all that ever died.
const LOST_FOR_MS: i64 = 24 * 60 * 60 * 1000;

/// Runs of a later time than this were due by a clock that was wrong. Without it, one look at such a clock would end a report for years.
const MOST_AHEAD_MS: i64 = 24 * 60 * 60 * 1000;

/// What to do about a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Run {
        due_ms: i64,
        cause: Cause,
    },
    /// The run that was due then died before its rows were recorded.
    Repeat {
        due_ms: i64,
    },
    /// The due time is over and its report does not make up for it.
    Skip {
        due_ms: i64,
    },
    /// Nothing is due before this; `None` when nothing ever will be.
    Wait {
        until_ms: Option<i64>,
    },
}

/// A report with a schedule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate<'a> {
    pub name: &'a str,
    pub schedule: &'a Schedule,
    pub timetable: &'a Timetable,
    /// Whether its rows are recorded as a table.
    pub records: bool,
}

impl Candidate<'_> {
    /// Decides for a report that is not running now, and has its schedule since the time that [`since_ms`] told.
    pub(super) fn decide(&self, history: &History, since_ms: i64, now_ms: i64) -> Decision {
        // What was lost comes first, so that a table grows in the order of time.
        if let Some(due_ms) = self.lost(history, now_ms) {
            return Decision::Repeat { due_ms };
        }
        let latest = self.timetable.latest(since_ms, now_ms, |due_ms| self.start_ms(due_ms) <= now_ms);
        let Some(due_ms) = latest.filter(|due_ms| !history.had(self.name, *due_ms)) else {
            return self.wait(latest.unwrap_or(since_ms));
        };
        match self.schedule.missed {
            _ if now_ms - self.start_ms(due_ms) <= LATE_MS => Decision::Run { due_ms, cause: Cause::Schedule },
            Missed::Once => Decision::Run { due_ms, cause: Cause::Missed },
            Missed::Skip => Decision::Skip { due_ms },
        }
    }

    /// The first due time whose run died and is to be made again.
    fn lost(&self, history: &History, now_ms: i64) -> Option<i64> {
        if !self.records || self.schedule.missed == Missed::Skip {
            return None;
        }
        history.lost(self.name, now_ms.saturating_sub(LOST_FOR_MS)).first().map(|run| run.due_ms)
    }

    fn wait(&self, after_ms: i64) -> Decision {
        Decision::Wait { until_ms: self.timetable.next_after(after_ms).map(|due_ms| self.start_ms(due_ms)) }
    }

    /// When a run that is due begins.
    fn start_ms(&self, due_ms: i64) -> i64 {
        let jitter_ms = whole_ms(self.schedule.jitter);
        if jitter_ms == 0 {
            return due_ms;
        }
        let interval_ms = self.timetable.next_after(due_ms).map_or(i64::MAX, |next_ms| next_ms - due_ms);
        let most_ms = jitter_ms.min(interval_ms).max(1);
        // The remainder is less than what fits.
        due_ms.saturating_add((xxh3_64(self.name.as_bytes()) % most_ms.unsigned_abs()) as i64)
    }
}

/// After which time a report's due times count: its last run, or when its present schedule was first seen. `None` when that is not noted yet.
pub(super) fn since_ms(history: &History, name: &str, schedule: &str, now_ms: i64) -> Option<i64> {
    let not_after_ms = now_ms.saturating_add(MOST_AHEAD_MS);
    let seen = history.scheduled(name).filter(|seen| seen.schedule == schedule && seen.at_ms <= not_after_ms)?;
    Some(history.last_due_ms(name, not_after_ms).map_or(seen.at_ms, |last_ms| last_ms.max(seen.at_ms)))
}

/// The part of a schedule that says which times are due, as the journal has it: another text is another schedule.
pub(super) fn schedule_text(schedule: &Schedule) -> String {
    match &schedule.when {
        When::Cron(text) => format!("{text} {}", schedule.zone),
        When::Every(every) => format!("every {} ms {}", every.as_millis(), schedule.zone),
    }
}

fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use chrono_tz::Africa::Cairo;
    use chrono_tz::America::New_York;
    use chrono_tz::Australia::Lord_Howe;
    use chrono_tz::Europe::Berlin;
    use chrono_tz::Tz;

    use super::*;
    use crate::report::history::tests::run;
    use crate::report::history::{Entry, Run, Status};
    use crate::report::schedule::tests::{cron, every, ms};

    const MINUTE_MS: i64 = 60_000;

    /// A scheduler without its input and output: it decides, and notes what it decided.
    struct Bench {
        name: &'static str,
        records: bool,
        schedule: Schedule,
        timetable: Timetable,
        history: History,
        /// What began: due time, start, cause.
        began: Vec<(i64, i64, Cause)>,
        skipped: Vec<i64>,
    }

    impl Bench {
        fn new(schedule: Schedule) -> Self {
            let timetable = Timetable::new(&schedule).expect("a timetable");
            let history = History::default();
            Self {
                name: "health",
                records: false,
                schedule,
                timetable,
                history,
                began: Vec::new(),
                skipped: Vec::new(),
            }
        }

        fn candidate(&self) -> Candidate<'_> {
            Candidate { name: self.name, schedule: &self.schedule, timetable: &self.timetable, records: self.records }
        }

        /// Decides once, and again after what was decided.
        fn look(&mut self, now_ms: i64) -> Option<i64> {
            let text = schedule_text(&self.schedule);
            loop {
                let Some(since_ms) = since_ms(&self.history, self.name, &text, now_ms) else {
                    let (report, schedule) = (self.name.to_owned(), text.clone());
                    self.history.apply(Entry::Scheduled { report, schedule, at_ms: now_ms });
                    continue;
                };
                let candidate = self.candidate();
                match candidate.decide(&self.history, since_ms, now_ms) {
                    Decision::Wait { until_ms } => return until_ms,
                    Decision::Run { due_ms, cause } => {
                        self.began.push((due_ms, now_ms, cause));
                        self.history.apply(Entry::Run(Box::new(run(self.name, due_ms))));
                    }
                    Decision::Repeat { due_ms } => {
                        self.began.push((due_ms, now_ms, Cause::Repeat));
                        let id = run(self.name, due_ms).key().repeat_id();
                        let repeat = Run { id, cause: Cause::Repeat, started_ms: now_ms, ..run(self.name, due_ms) };
                        self.history.apply(Entry::Run(Box::new(repeat)));
                    }
                    Decision::Skip { due_ms } => {
                        self.skipped.push(due_ms);
                        self.history.apply(Entry::Run(Box::new(run(self.name, due_ms))));
                    }
                }
            }
        }

        /// Looks each minute from one time to another.
        fn watch(&mut self, from: &str, until: &str) {
            let mut now_ms = ms(from);
            while now_ms <= ms(until) {
                self.look(now_ms);
                now_ms += MINUTE_MS;
            }
        }

        fn due(&self) -> Vec<i64> {
            self.began.iter().map(|(due_ms, ..)| *due_ms).collect()
        }
    }

    #[test]
    fn each_due_time_of_a_month_has_one_run_whatever_clocks_do() {
        // March has New York's change and Berlin's, September 2010 has two of Cairo's, and April and October have Lord Howe's.
        for (zone, rule, from, until, expected) in [
            (Berlin, "30 2 * * *", "2026-03-01T00:00:00+01:00", "2026-04-01T00:00:00+02:00", 31),
            (New_York, "30 2 * * *", "2026-03-01T00:00:00-05:00", "2026-04-01T00:00:00-04:00", 31),
            (Berlin, "0 * * * *", "2026-03-01T00:30:00+01:00", "2026-03-31T23:30:00+02:00", 31 * 24 - 2),
            (Berlin, "30 2 * * *", "2026-10-01T00:00:00+02:00", "2026-11-01T00:00:00+01:00", 31),
            (Berlin, "0 * * * *", "2026-10-01T00:30:00+02:00", "2026-10-31T23:30:00+01:00", 31 * 24),
            (Cairo, "30 0 * * *", "2010-09-01T00:00:00+02:00", "2010-10-01T00:00:00+02:00", 30),
            (Cairo, "30 23 * * *", "2010-09-01T00:00:00+02:00", "2010-10-01T00:00:00+02:00", 30),
            (Cairo, "30 * * * *", "2010-09-01T00:00:00+02:00", "2010-10-01T00:00:00+02:00", 30 * 24),
            (Lord_Howe, "45 1 * * *", "2026-04-01T00:00:00+11:00", "2026-05-01T00:00:00+10:30", 30),
            (Lord_Howe, "15 2 * * *", "2026-10-01T00:00:00+10:30", "2026-11-01T00:00:00+11:00", 31),
        ] {
            let mut bench = Bench::new(cron(rule, zone));
            bench.watch(from, until);
            assert_eq!(bench.began.len(), expected, "{rule} in {zone} from {from}");
            assert!(bench.due().is_sorted_by(|a, b| a < b), "{rule} in {zone}");
            let late = bench
                .began
                .iter()
                .filter(|(due_ms, now_ms, cause)| now_ms - due_ms >= MINUTE_MS || *cause != Cause::Schedule);
            assert_eq!(late.count(), 0, "{rule} in {zone}");
        }
    }

    #[test]
    fn of_what_was_missed_the_latest_is_run_or_nothing() {
        let (went, came) = ("2026-03-27T12:00:00+01:00", "2026-03-30T09:15:00+02:00");
        for (missed, began, skipped) in [
            (
                Missed::Once,
                vec!["2026-03-27T07:00:00+01:00", "2026-03-30T07:00:00+02:00", "2026-03-31T07:00:00+02:00"],
                vec![],
            ),
            (
                Missed::Skip,
                vec!["2026-03-27T07:00:00+01:00", "2026-03-31T07:00:00+02:00"],
                vec!["2026-03-30T07:00:00+02:00"],
            ),
        ] {
            let mut bench = Bench::new(Schedule { missed, ..cron("0 7 * * *", Berlin) });
            bench.watch("2026-03-27T00:00:00+01:00", went);
            bench.watch(came, "2026-03-31T12:00:00+02:00");
            assert_eq!(bench.due(), began.into_iter().map(ms).collect::<Vec<_>>(), "{missed:?}");
            assert_eq!(bench.skipped, skipped.into_iter().map(ms).collect::<Vec<_>>(), "{missed:?}");
            if missed == Missed::Once {
                assert_eq!(bench.began[1], (ms("2026-03-30T07:00:00+02:00"), ms(came), Cause::Missed));
            }
        }
    }

    #[test]
    fn a_start_within_a_minute_of_its_time_was_not_missed() {
        for (late_ms, expected) in [(0, Cause::Schedule), (LATE_MS, Cause::Schedule), (LATE_MS + 1, Cause::Missed)] {
            let mut bench = Bench::new(cron("0 7 * * *", Berlin));
            let due_ms = ms("2026-03-27T07:00:00+01:00");
            bench.look(due_ms - 1);
            assert!(bench.began.is_empty());
            bench.look(due_ms + late_ms);
            assert_eq!(bench.began, [(due_ms, due_ms + late_ms, expected)]);
        }
    }

    #[test]
    fn what_was_due_before_a_report_was_there_or_had_its_schedule_is_nobodys_miss() {
        let mut bench = Bench::new(cron("0 7 * * *", Berlin));
        assert_eq!(bench.look(ms("2026-03-27T08:00:00+01:00")), Some(ms("2026-03-28T07:00:00+01:00")));
        bench.watch("2026-03-28T06:00:00+01:00", "2026-03-28T10:00:00+01:00");
        assert_eq!(bench.due(), [ms("2026-03-28T07:00:00+01:00")]);
        // At ten somebody writes nine.
        bench.schedule = cron("0 9 * * *", Berlin);
        bench.timetable = Timetable::new(&bench.schedule).expect("a timetable");
        assert_eq!(bench.look(ms("2026-03-28T10:01:00+01:00")), Some(ms("2026-03-29T09:00:00+02:00")));
        assert_eq!(bench.began.len(), 1);
    }

    #[test]
    fn a_run_that_died_is_made_once_more_where_rows_are_recorded() {
        let (due, died) = ("2026-03-27T07:00:00Z", "2026-03-27T07:05:00Z");
        for (records, missed, expected) in
            [(true, Missed::Once, 1), (true, Missed::Skip, 0), (false, Missed::Once, 0), (false, Missed::Skip, 0)]
        {
            let mut bench = Bench { records, ..Bench::new(Schedule { missed, ..cron("0 7 * * *", Tz::UTC) }) };
            bench.watch("2026-03-27T06:59:00Z", due);
            let lost = Run { status: Status::Died, ..run(bench.name, ms(due)) };
            bench.history.apply(Entry::Run(Box::new(lost)));
            bench.watch(died, "2026-03-28T06:00:00Z");
            let repeats = || bench.began.iter().filter(|(.., cause)| *cause == Cause::Repeat).collect::<Vec<_>>();
            let first = repeats().first().map(|(due_ms, now_ms, _)| (*due_ms, *now_ms));
            assert_eq!((repeats().len(), first.is_none_or(|first| first == (ms(due), ms(died)))), (expected, true));
        }
        // The one in its place died as well, and that is that; of two that died the first one comes first, and before what is due.
        let mut bench = Bench { records: true, ..Bench::new(cron("0 * * * *", Tz::UTC)) };
        bench.watch("2026-03-27T06:59:00Z", "2026-03-27T08:00:00Z");
        let hours = ["2026-03-27T07:00:00Z", "2026-03-27T08:00:00Z"].map(ms);
        for due_ms in hours {
            let lost = Run { status: Status::Died, ..run(bench.name, due_ms) };
            bench.history.apply(Entry::Run(Box::new(lost)));
        }
        bench.began.clear();
        let now_ms = ms("2026-03-27T09:00:00Z");
        bench.look(now_ms);
        let [first, second] = hours.map(|due_ms| (due_ms, now_ms, Cause::Repeat));
        assert_eq!(bench.began, [first, second, (now_ms, now_ms, Cause::Schedule)]);
        let id = run(bench.name, hours[0]).key().repeat_id();
        let repeat = Run { id, cause: Cause::Repeat, status: Status::Died, ..run(bench.name, hours[0]) };
        bench.history.apply(Entry::Run(Box::new(repeat)));
        bench.watch("2026-03-27T09:01:00Z", "2026-03-27T09:59:00Z");
        assert_eq!(bench.began.len(), 3);
        // Nobody repeats what died long ago.
        let mut bench = Bench { records: true, ..Bench::new(cron("0 0 1 * *", Tz::UTC)) };
        bench.watch("2026-03-31T23:59:00Z", "2026-04-01T00:00:00Z");
        let lost = Run { status: Status::Died, ..run(bench.name, ms("2026-04-01T00:00:00Z")) };
        bench.history.apply(Entry::Run(Box::new(lost)));
        bench.look(ms("2026-04-02T00:00:10Z"));
        assert_eq!(bench.began.len(), 1);
    }

    #[test]
    fn a_clock_that_jumps_backward_repeats_nothing_and_ends_nothing() {
        let mut bench = Bench::new(cron("0 * * * *", Tz::UTC));
        bench.watch("2026-03-27T07:30:00Z", "2026-03-27T11:30:00Z");
        assert_eq!(bench.began.len(), 4);
        // Two hours back: the hours come again, their runs do not.
        bench.watch("2026-03-27T09:30:00Z", "2026-03-27T12:30:00Z");
        assert_eq!(bench.began.len(), 5, "12:00 alone");
        // For a moment the clock was wrong by years. What it ran then is not run again, and the rest goes on.
        bench.look(ms("2031-01-01T00:00:10Z"));
        assert_eq!(
            bench.began.last(),
            Some(&(ms("2031-01-01T00:00:00Z"), ms("2031-01-01T00:00:10Z"), Cause::Schedule))
        );
        bench.watch("2026-03-27T12:31:00Z", "2026-03-27T15:30:00Z");
        assert_eq!(bench.began.len(), 6 + 3);
        bench.watch("2030-12-31T23:30:00Z", "2031-01-01T02:30:00Z");
        assert_eq!(bench.due().iter().filter(|due_ms| **due_ms == ms("2031-01-01T00:00:00Z")).count(), 1);
    }

    #[test]
    fn jitter_is_stable_less_than_the_interval_and_other_for_other_names() {
        let mut starts = BTreeMap::new();
        for name in ["a", "b", "c", "health", "slow"] {
            let schedule = Schedule { jitter: Duration::from_secs(600), ..cron("0 7 * * *", Berlin) };
            let timetable = Timetable::new(&schedule).expect("a timetable");
            let candidate = Candidate { name, schedule: &schedule, timetable: &timetable, records: false };
            let days = ["2026-03-28T07:00:00+01:00", "2026-03-29T07:00:00+02:00", "2026-12-24T07:00:00+01:00"];
            let puts_off = days.map(|day| candidate.start_ms(ms(day)) - ms(day));
            assert!(puts_off.iter().all(|ms| *ms == puts_off[0] && (0..600_000).contains(ms)), "{name}: {puts_off:?}");
            starts.insert(puts_off[0], name);
        }
        assert_eq!(starts.len(), 5, "five names begin at five times: {starts:?}");
        // More jitter than there is between two due times.
        let mut bench = Bench::new(Schedule { jitter: Duration::from_secs(86_400), ..every(600, Tz::UTC) });
        bench.watch("2026-03-27T00:00:00Z", "2026-03-27T02:00:00Z");
        let put_off_ms = bench.candidate().start_ms(0);
        assert!((0..600_000).contains(&put_off_ms));
        assert!((11..=12).contains(&bench.began.len()), "{:?}", bench.began);
        assert!(bench.began.iter().all(|(due_ms, now_ms, cause)| {
            let late_ms = now_ms - due_ms - put_off_ms;
            (0..MINUTE_MS).contains(&late_ms) && *cause == Cause::Schedule
        }));
    }

    #[test]
    fn a_rare_day_is_waited_for_and_an_impossible_one_is_not() {
        let mut leap = Bench::new(cron("0 7 29 2 *", New_York));
        assert_eq!(leap.look(ms("2026-03-01T00:00:00Z")), Some(ms("2028-02-29T07:00:00-05:00")));
        assert_eq!(leap.look(ms("2028-03-02T00:00:00Z")), Some(ms("2032-02-29T07:00:00-05:00")));
        assert_eq!(leap.began[0].2, Cause::Missed);
        assert_eq!(Bench::new(cron("0 7 30 2 *", New_York)).look(ms("2026-03-01T00:00:00Z")), None);
    }
}
