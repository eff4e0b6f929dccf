//! What ran and what became of it: runs as the journal tells them.
//!
//! Entries in, runs out. Reading and writing the lines is the journal's.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

use super::journal::{Journal, Told};
use crate::error::{Error, Result};

/// Why a report ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// It was due.
    Schedule,
    /// It had been due while nothing ran.
    Missed,
    /// A run of a report that records had died, and its rows are wanted all the same.
    Repeat,
    /// A person asked.
    Manual,
}

impl Cause {
    /// The name that SQL and journals give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Missed => "missed",
            Self::Repeat => "repeat",
            Self::Manual => "manual",
        }
    }
}

/// What became of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Running,
    Succeeded,
    Failed,
    TimedOut,
    /// Its process ended before it did, or it made its thread panic.
    Died,
    /// It was due and is not run.
    Skipped,
}

impl Status {
    /// The name that SQL and journals give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Died => "died",
            Self::Skipped => "skipped",
        }
    }

    /// Whether it ended and not well.
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut | Self::Died)
    }
}

/// A due time of a report: what runs at most once.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RunKey {
    pub report: String,
    pub due_ms: i64,
}

impl RunKey {
    /// The id of the run that is due, such as `health@2026-03-29T05:00:00Z`.
    pub fn id(&self) -> String {
        format!("{}@{}", self.report, time_text(self.due_ms, SecondsFormat::Secs))
    }

    /// The id of the run that is made in the place of one that died.
    pub fn repeat_id(&self) -> String {
        format!("{}-repeat", self.id())
    }

    /// The id of a run that a person started at that time.
    pub fn manual_id(&self) -> String {
        format!("{}@{}-manual", self.report, time_text(self.due_ms, SecondsFormat::Millis))
    }
}

/// A time as people and programs read it: `2026-03-29T05:00:00Z`.
pub(super) fn time_text(ms: i64, digits: SecondsFormat) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(digits, true)
}

/// A run of a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub id: String,
    pub report: String,
    /// The hash of the report's text at that time.
    pub report_version: String,
    pub cause: Cause,
    pub due_ms: i64,
    pub started_ms: i64,
    pub ended_ms: Option<i64>,
    pub window_from_ms: Option<i64>,
    pub window_to_ms: Option<i64>,
    /// What the run was given, in the order of the report's parameters.
    pub parameters: Vec<(String, String)>,
    pub status: Status,
    pub rows: Option<u64>,
    pub error: Option<String>,
    /// The folder with its files.
    pub result: Option<String>,
    pub deliveries: Vec<Delivered>,
}

impl Run {
    /// What it runs at most once for.
    pub(super) fn key(&self) -> RunKey {
        RunKey { report: self.report.clone(), due_ms: self.due_ms }
    }
}

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    Delivered,
    Failed,
    /// It is tried, or will be when the server starts again.
    Pending,
}

impl DeliveryStatus {
    /// The name that SQL and journals give it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed => "failed",
            Self::Pending => "pending",
        }
    }
}

/// A delivery of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivered {
    pub name: String,
    /// The same each time that it is tried, by which a receiver knows what came twice: `REPORT@DUE/NAME`.
    pub key: String,
    pub status: DeliveryStatus,
    pub attempts: u32,
    /// Why the last attempt failed; holds no secret.
    pub error: Option<String>,
    pub at_ms: i64,
}

/// A line of the journal of runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Entry {
    /// The report was first seen with this schedule: what was due before is nobody's miss.
    Scheduled {
        report: String,
        schedule: String,
        at_ms: i64,
    },
    /// A run that begins, or one that is skipped.
    Run(Box<Run>),
    Ended {
        id: String,
        ended_ms: i64,
        status: Status,
        rows: Option<u64>,
        error: Option<String>,
        result: Option<String>,
        deliveries: Vec<Delivered>,
    },
    Delivered {
        id: String,
        delivered: Delivered,
    },
}

impl Entry {
    /// The entry as a line, without its end.
    pub(super) fn line(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::internal(format!("a run that is no JSON: {error}")))
    }

    pub(super) fn parse(line: &str) -> Result<Self> {
        serde_json::from_str(line).map_err(|error| Error::corrupt(error.to_string()))
    }
}

/// Since when a report has its schedule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scheduled {
    pub schedule: String,
    pub at_ms: i64,
}

/// All runs, in the order in which they began.
#[derive(Debug, Clone, Default)]
pub struct History {
    runs: Vec<Run>,
    places: HashMap<String, usize>,
    /// The due times of each report that had their run.
    due: BTreeMap<String, BTreeSet<i64>>,
    scheduled: BTreeMap<String, Scheduled>,
}

impl Told for History {
    fn take(&mut self, line: &str) -> Result<()> {
        self.apply(Entry::parse(line)?);
        Ok(())
    }
}

impl History {
    /// What a journal of runs tells. Waits for the disk.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`], naming the line, when one is damaged.
    pub(super) fn read(runs: &Journal) -> Result<Self> {
        let mut history = Self::default();
        runs.read_as(Entry::parse)?.into_iter().for_each(|entry| history.apply(entry));
        Ok(history)
    }

    /// Takes in what happened next.
    pub(super) fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Scheduled { report, schedule, at_ms } => {
                self.scheduled.insert(report, Scheduled { schedule, at_ms });
            }
            Entry::Run(run) => match self.places.get(&run.id) {
                // It was noted, but nobody could be sure of that, and so it did not begin.
                Some(at) => self.runs[*at] = *run,
                None => {
                    if run.cause != Cause::Manual {
                        self.due.entry(run.report.clone()).or_default().insert(run.due_ms);
                    }
                    self.places.insert(run.id.clone(), self.runs.len());
                    self.runs.push(*run);
                }
            },
            Entry::Ended { id, ended_ms, status, rows, error, result, deliveries } => {
                if let Some(run) = self.run_mut(&id) {
                    (run.ended_ms, run.status, run.rows) = (Some(ended_ms), status, rows);
                    (run.error, run.result, run.deliveries) = (error, result, deliveries);
                }
            }
            Entry::Delivered { id, delivered } => {
                let Some(run) = self.run_mut(&id) else { return };
                match run.deliveries.iter_mut().find(|known| known.key == delivered.key) {
                    Some(known) => *known = delivered,
                    None => run.deliveries.push(delivered),
                }
            }
        }
    }

    fn run_mut(&mut self, id: &str) -> Option<&mut Run> {
        self.places.get(id).map(|at| &mut self.runs[*at])
    }

    /// All runs, the first one first.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The runs of a report, the first one first.
    pub fn of<'a>(&'a self, report: &'a str) -> impl DoubleEndedIterator<Item = &'a Run> {
        self.runs.iter().filter(move |run| run.report == report)
    }

    /// A run by its id.
    pub fn run(&self, id: &str) -> Option<&Run> {
        self.places.get(id).map(|at| &self.runs[*at])
    }

    /// Whether a due time of a report has had its run, or was skipped.
    pub(super) fn had(&self, report: &str, due_ms: i64) -> bool {
        self.due.get(report).is_some_and(|due| due.contains(&due_ms))
    }

    /// The latest due time of a report that had its run, not after `not_after_ms`.
    pub(super) fn last_due_ms(&self, report: &str, not_after_ms: i64) -> Option<i64> {
        self.due.get(report)?.range(..=not_after_ms).next_back().copied()
    }

    /// The schedule that the report was last seen with.
    pub(super) fn scheduled(&self, report: &str) -> Option<&Scheduled> {
        self.scheduled.get(report)
    }

    /// The reports whose schedule is not `schedule`, but for those that `is_left_out` says.
    pub(super) fn scheduled_but(&self, schedule: &str, is_left_out: impl Fn(&str) -> bool) -> Vec<String> {
        let others = self.scheduled.iter().filter(|(name, seen)| seen.schedule != schedule && !is_left_out(name));
        others.map(|(name, _)| name.clone()).collect()
    }

    /// The due runs of a report that began after `after_ms`, died and were not made again; the first one first.
    pub(super) fn lost(&self, report: &str, after_ms: i64) -> Vec<&Run> {
        let recent = self.runs.iter().rev().take_while(|run| run.started_ms > after_ms);
        let is_due = |run: &Run| matches!(run.cause, Cause::Schedule | Cause::Missed);
        let lost = recent.filter(|run| run.report == report && run.status == Status::Died && is_due(run));
        let mut lost: Vec<&Run> = lost.filter(|run| !self.places.contains_key(&run.key().repeat_id())).collect();
        lost.sort_by_key(|run| run.due_ms);
        lost
    }

    /// The runs that began and did not end.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.status == Status::Running)
    }

    /// The runs with deliveries that are still to be made.
    pub(super) fn undelivered(&self) -> impl Iterator<Item = &Run> {
        let is_pending = |delivered: &Delivered| delivered.status == DeliveryStatus::Pending;
        self.runs.iter().filter(move |run| run.deliveries.iter().any(is_pending))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn run(report: &str, due_ms: i64) -> Run {
        Run {
            id: RunKey { report: report.to_owned(), due_ms }.id(),
            report: report.to_owned(),
            report_version: "v1".to_owned(),
            cause: Cause::Schedule,
            due_ms,
            started_ms: due_ms + 5,
            ended_ms: None,
            window_from_ms: Some(due_ms - 60_000),
            window_to_ms: Some(due_ms),
            parameters: vec![("service".to_owned(), "%".to_owned())],
            status: Status::Running,
            rows: None,
            error: None,
            result: None,
            deliveries: Vec::new(),
        }
    }

    fn delivered(run: &Run, name: &str, status: DeliveryStatus) -> Delivered {
        let key = format!("{}/{name}", run.id);
        Delivered { name: name.to_owned(), key, status, attempts: 1, error: None, at_ms: run.due_ms + 9 }
    }

    fn told(entries: &[Entry]) -> History {
        let mut history = History::default();
        for entry in entries {
            let line = entry.line().expect("a line");
            assert!(!line.contains('\n'), "{line}");
            history.apply(Entry::parse(&line).expect("what was written"));
        }
        history
    }

    #[test]
    fn a_run_is_what_its_lines_tell_in_turn() {
        let begun = run("health", 1_774_760_400_000);
        assert_eq!(begun.id, "health@2026-03-29T05:00:00Z");
        let ended = |deliveries| Entry::Ended {
            id: begun.id.clone(),
            ended_ms: begun.due_ms + 7,
            status: Status::Succeeded,
            rows: Some(3),
            error: None,
            result: Some("results/health/1".to_owned()),
            deliveries,
        };
        let pending = ["a", "b"].map(|name| delivered(&begun, name, DeliveryStatus::Pending)).to_vec();
        let mut entries = vec![Entry::Run(Box::new(begun.clone()))];
        let history = told(&entries);
        assert_eq!((history.runs(), history.unfinished().count()), (&[begun.clone()][..], 1));
        entries.push(ended(pending.clone()));
        let history = told(&entries);
        assert_eq!((history.unfinished().count(), history.undelivered().count()), (0, 1));
        let last = delivered(&begun, "a", DeliveryStatus::Delivered);
        entries.push(Entry::Delivered { id: begun.id.clone(), delivered: last.clone() });
        let history = told(&entries);
        let known = history.run(&begun.id).expect("known");
        assert_eq!((known.status, known.rows, known.ended_ms), (Status::Succeeded, Some(3), Some(begun.due_ms + 7)));
        assert_eq!(known.deliveries, [last, pending[1].clone()]);
        assert_eq!(history.undelivered().count(), 1, "b is still to be delivered");
        let failed = delivered(&begun, "b", DeliveryStatus::Failed);
        entries.push(Entry::Delivered { id: begun.id, delivered: failed });
        assert_eq!(told(&entries).undelivered().count(), 0);
    }

    #[test]
    fn the_last_due_time_is_not_that_of_a_run_by_hand_nor_one_beyond_the_clock() {
        let manual = Run { cause: Cause::Manual, id: "a@x-manual".to_owned(), ..run("a", 500_000) };
        let runs = [run("a", 100_000), run("a", 300_000), run("b", 400_000), manual, run("a", 900_000)];
        let history = told(&runs.map(|run| Entry::Run(Box::new(run))));
        assert_eq!(history.last_due_ms("a", 800_000), Some(300_000));
        assert_eq!(history.last_due_ms("a", 900_000), Some(900_000));
        assert_eq!(history.last_due_ms("c", 900_000), None);
        assert!(history.had("b", 400_000) && !history.had("a", 400_000) && !history.had("a", 500_000));
        assert_eq!(history.of("a").map(|run| run.due_ms).collect::<Vec<_>>(), [100_000, 300_000, 500_000, 900_000]);
    }

    #[test]
    fn the_last_schedule_counts() {
        let scheduled =
            |schedule: &str, at_ms| Entry::Scheduled { report: "a".into(), schedule: schedule.into(), at_ms };
        let history = told(&[scheduled("every 60s", 1), scheduled("0 7 * * *", 2)]);
        assert_eq!(history.scheduled("a"), Some(&Scheduled { schedule: "0 7 * * *".into(), at_ms: 2 }));
        assert_eq!(history.scheduled("b"), None);
    }
}
