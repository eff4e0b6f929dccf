//! What is kept no longer: lines of journals and folders of results that are older than their report keeps them.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::alert::AlertLine;
use super::definition::Report;
use super::folder::{Defined, Standing};
use super::history::{Cause, Entry, History, Run, Status};
use super::home::ReportsHome;
use super::journal::Journal;
use super::letters;
use super::results;
use crate::error::Result;

/// Runs of one report beyond this go before their time: one that runs each ten seconds makes more in some days than anybody reads.
const MOST_RUNS: usize = 20_000;

/// Things that happened to the alerts of one report beyond this go before their time.
const MOST_ALERTS: usize = 20_000;

/// How long each report keeps what it made.
#[derive(Debug, Clone)]
pub(super) struct Keep {
    now_ms: i64,
    defined: Arc<Defined>,
}

impl Keep {
    /// What the reports say; those that are not there any more had what a report has that does not say. What is of a report of which nobody can say
    /// whether it is there stays.
    pub(super) fn of(defined: Arc<Defined>, now_ms: i64) -> Self {
        Self { now_ms, defined }
    }

    /// Whether something of that time is still kept.
    fn is_kept(&self, report: &str, at_ms: i64) -> bool {
        let keep = match self.defined.standing(report) {
            Standing::There(report) => report.keep,
            Standing::Gone => Report::DEFAULT_KEEP,
            Standing::Unknown => return true,
        };
        at_ms >= self.now_ms.saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX))
    }
}

/// Takes out of journals and results what is kept no longer.
pub(super) fn forget(home: &ReportsHome, runs: &Journal, alerts: &Journal, keep: &Keep) -> Result<()> {
    let kept = kept_runs(&History::read(runs)?, keep);
    let schedules = last_schedules(runs)?;
    runs.rewrite(|line| {
        let stays = match Entry::parse(line) {
            // A line that came meanwhile is about a run that just began.
            Ok(Entry::Run(run)) => kept.get(&run.id).copied().unwrap_or(true),
            Ok(Entry::Ended { id, .. } | Entry::Delivered { id, .. }) => kept.get(&id).copied().unwrap_or(true),
            Ok(Entry::Scheduled { report, at_ms, .. }) => schedules.get(&report).is_none_or(|last| *last <= at_ms),
            Err(_) => true,
        };
        stays.then_some(Cow::Borrowed(line))
    })?;
    forget_alerts(alerts, keep)?;
    let removed = results::sweep(home, || History::read(runs))?;
    if removed > 0 {
        tracing::info!(removed, "results of reports that are kept no longer were removed");
    }
    Ok(())
}

/// Of each run, whether it is kept. The last due run of a report always is, as after it comes what is due next; so is what is not over, and what is
/// still to be delivered, until it is or nobody tries any more.
fn kept_runs(history: &History, keep: &Keep) -> HashMap<String, bool> {
    let mut kept = HashMap::new();
    let mut newer: HashMap<&str, usize> = HashMap::new();
    for run in history.runs().iter().rev() {
        let newer = newer.entry(&run.report).or_default();
        let is_last = run.cause != Cause::Manual && history.last_due_ms(&run.report, i64::MAX) == Some(run.due_ms);
        let is_fresh = *newer < MOST_RUNS && keep.is_kept(&run.report, ended_ms(run));
        let is_open = run.status == Status::Running || letters::pending(run).next().is_some();
        kept.insert(run.id.clone(), is_last || is_fresh || is_open);
        *newer += 1;
    }
    kept
}

fn ended_ms(run: &Run) -> i64 {
    run.ended_ms.unwrap_or(run.started_ms)
}

/// When each report's present schedule was first seen.
fn last_schedules(runs: &Journal) -> Result<BTreeMap<String, i64>> {
    let entries = runs.read()?.into_iter().filter_map(|(_, line)| Entry::parse(&line).ok());
    let seen = entries.filter_map(|entry| match entry {
        Entry::Scheduled { report, at_ms, .. } => Some((report, at_ms)),
        _ => None,
    });
    // The last of a report stays.
    Ok(seen.collect())
}

/// The last line of a group stays whatever its age: later runs need it. Of the others those stay that tell of something, as long as their report
/// keeps them, and no more than anybody reads.
fn forget_alerts(alerts: &Journal, keep: &Keep) -> Result<()> {
    let kept = kept_alerts(&alerts.read_as(AlertLine::parse)?, keep);
    let mut kept = kept.into_iter();
    // Lines that came meanwhile are behind those that were looked at.
    alerts.rewrite(|line| kept.next().unwrap_or(true).then_some(Cow::Borrowed(line)))?;
    Ok(())
}

/// Of each line whether it stays.
fn kept_alerts(lines: &[AlertLine], keep: &Keep) -> Vec<bool> {
    let mut later: HashMap<Group<'_>, Later> = HashMap::new();
    let mut newer: HashMap<&str, usize> = HashMap::new();
    let from_the_last = lines.iter().rev().map(|line| {
        let later = later.entry((&line.report, &line.rule, line.labels.as_slice())).or_default();
        let is_current = !later.any && !line.forgotten;
        // What is said of a group now is the last thing that happened to it.
        let is_told = line.is_event() && !later.event && !later.forgotten && !line.forgotten;
        later.any = true;
        later.event |= line.is_event();
        later.forgotten |= line.forgotten;
        let newer = newer.entry(&line.report).or_default();
        let is_fresh = line.is_event() && *newer < MOST_ALERTS && keep.is_kept(&line.report, line.at_ms);
        *newer += usize::from(line.is_event());
        is_current || is_told || is_fresh
    });
    let mut kept: Vec<bool> = from_the_last.collect();
    kept.reverse();
    kept
}

/// A group of a rule of a report.
type Group<'a> = (&'a String, &'a String, &'a [(String, String)]);

/// What lines behind one say of its group.
#[derive(Debug, Clone, Copy, Default)]
struct Later {
    any: bool,
    event: bool,
    forgotten: bool,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::report::alert::testing;
    use crate::report::deadline::Deadline;
    use crate::report::history::tests::run;
    use crate::report::history::{Delivered, DeliveryStatus};
    use crate::report::results::{Parcel, folder_of, write};

    const DAY_MS: i64 = 86_400_000;

    /// What these reports say, and no others.
    fn keep(reports: Vec<Report>, now_ms: i64) -> Keep {
        let reports: Vec<Arc<Report>> = reports.into_iter().map(Arc::new).collect();
        Keep::of(Arc::new(Defined::from(reports)), now_ms)
    }

    #[test]
    fn what_is_still_to_be_delivered_stays_and_so_does_what_nobody_knows_about() {
        let delivered =
            |status| Delivered { name: "hook".into(), key: "k".into(), status, attempts: 0, error: None, at_ms: 0 };
        let run = |day: i64, deliveries| Run { status: Status::Succeeded, deliveries, ..run("a", day * DAY_MS) };
        let runs = [
            run(1, vec![delivered(DeliveryStatus::Delivered), delivered(DeliveryStatus::Pending)]),
            run(2, vec![delivered(DeliveryStatus::Failed)]),
            run(3, Vec::new()),
        ];
        let mut history = History::default();
        runs.iter().for_each(|run| history.apply(Entry::Run(Box::new(run.clone()))));
        let kept = |keep: &Keep| {
            let kept = kept_runs(&history, keep);
            runs.iter().map(|run| kept[&run.id]).collect::<Vec<_>>()
        };
        assert_eq!(kept(&keep(Vec::new(), 400 * DAY_MS)), [true, false, true], "and the last one");
        let away = Defined { is_listed: false, ..Defined::from(Vec::new()) };
        assert_eq!(kept(&Keep::of(Arc::new(away), 400 * DAY_MS)), [true; 3]);
    }

    fn note(journal: &Journal, entries: Vec<Entry>) {
        let lines: Vec<String> = entries.iter().map(|entry| entry.line().expect("a line")).collect();
        journal.append(&lines).expect("noted");
    }

    fn ended(run: &Run) -> Entry {
        Entry::Ended {
            id: run.id.clone(),
            ended_ms: run.due_ms + 10,
            status: Status::Succeeded,
            rows: Some(1),
            error: None,
            result: None,
            deliveries: Vec::new(),
        }
    }

    #[test]
    fn what_is_older_than_its_report_keeps_it_goes_with_its_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = ReportsHome::new(folder.path());
        let (runs, alerts) = (Journal::new(&home.runs_journal()), Journal::new(&home.alerts_journal()));
        let seen = |schedule: &str, at_ms| Entry::Scheduled { report: "a".into(), schedule: schedule.into(), at_ms };
        note(&runs, vec![seen("old", 1), seen("new", 2)]);
        for day in 1..=20 {
            for report in ["a", "b"] {
                let begun = run(report, day * DAY_MS);
                note(&runs, vec![Entry::Run(Box::new(begun.clone())), ended(&begun)]);
                write(&home, report, &begun.id, &Parcel::default(), &Deadline::never()).expect("written");
            }
        }
        // One of b's died, and nobody has marked it yet; c ran once, long ago.
        let (died, once) = (run("b", DAY_MS / 2), run("c", DAY_MS));
        let by_hand = Run { cause: Cause::Manual, id: "c@x-manual".into(), due_ms: DAY_MS, ..run("c", DAY_MS) };
        note(&runs, vec![Entry::Run(Box::new(died.clone())), Entry::Run(Box::new(once.clone())), ended(&once)]);
        note(&runs, vec![Entry::Run(Box::new(by_hand.clone())), ended(&by_hand)]);
        let week = Report { name: "a".into(), keep: Duration::from_secs(7 * 86_400), ..testing::report(Vec::new()) };
        let day = Report { name: "c".into(), keep: Duration::from_secs(86_400), ..week.clone() };
        let keep = keep(vec![week, day], 20 * DAY_MS + 3_600_000);
        forget(&home, &runs, &alerts, &keep).expect("forgotten");
        let history = History::read(&runs).expect("whole");
        let days: Vec<i64> = history.of("a").map(|run| run.due_ms / DAY_MS).collect();
        assert_eq!(days, (14..=20).collect::<Vec<_>>());
        assert_eq!(history.of("b").count(), 21, "ninety days for a report that is not there");
        assert_eq!(history.run(&died.id).map(|run| run.status), Some(Status::Running));
        assert_eq!(
            history.of("c").map(|run| run.id.as_str()).collect::<Vec<_>>(),
            [once.id.as_str()],
            "not that by hand"
        );
        assert_eq!(history.scheduled("a").map(|seen| seen.schedule.as_str()), Some("new"));
        assert_eq!(runs.read().expect("whole").iter().filter(|(_, line)| line.contains("\"old\"")).count(), 0);
        let exists =
            |report: &str, day: i64| home.dir().join(folder_of(report, &run(report, day * DAY_MS).id)).exists();
        assert!(!exists("a", 13) && exists("a", 14) && exists("a", 20) && exists("b", 1));
        // Nothing more goes the second time.
        let before = runs.read().expect("whole");
        forget(&home, &runs, &alerts, &keep).expect("forgotten");
        assert_eq!(runs.read().expect("whole"), before);
    }

    #[test]
    fn more_runs_than_anybody_reads_go_before_their_time() {
        let mut history = History::default();
        let most = i64::try_from(MOST_RUNS).expect("a number");
        for at in 0..most + 5 {
            history.apply(Entry::Run(Box::new(Run { status: Status::Succeeded, ..run("a", at * 10_000) })));
        }
        let kept = kept_runs(&history, &keep(Vec::new(), most * 10_000));
        assert_eq!(kept.values().filter(|kept| **kept).count(), MOST_RUNS);
        assert!(!kept[&run("a", 40_000).id] && kept[&run("a", 50_000).id]);
    }

    #[test]
    fn alerts_that_are_remembered_stay_whatever_their_age() {
        let folder = tempfile::tempdir().expect("a folder");
        let alerts = Journal::new(&folder.path().join("alerts.ndjson"));
        let line = |service: &str, state: &str, was: &str, at_ms: i64| {
            format!(
                "{{\"report\":\"a\",\"rule\":\"r\",\"severity\":\"warning\",\"labels\":[[\"s\",\"{service}\"]],\"state\":\"{state}\",\
                 \"was\":\"{was}\",\"since_ms\":{at_ms},\"at_ms\":{at_ms},\"run\":\"a@x\"}}"
            )
        };
        let lines = [
            line("cart", "firing", "ok", DAY_MS),
            line("cart", "resolved", "firing", 2 * DAY_MS),
            line("pay", "firing", "ok", DAY_MS),
            line("ship", "firing", "ok", 3 * DAY_MS),
            line("ship", "firing", "firing", 4 * DAY_MS),
            line("ship", "firing", "firing", 5 * DAY_MS),
            line("cart", "firing", "ok", 200 * DAY_MS),
            line("cart", "firing", "firing", 200 * DAY_MS + 1),
            line("cart", "firing", "firing", 200 * DAY_MS + 2),
        ];
        alerts.append(&lines).expect("noted");
        let keep = keep(Vec::new(), 200 * DAY_MS);
        forget_alerts(&alerts, &keep).expect("forgotten");
        let kept = || alerts.read().expect("whole").into_iter().map(|(_, line)| line).collect::<Vec<_>>();
        // What ship does now is told by its third line, and remembered by its last.
        let expected = [2, 3, 5, 6, 8].map(|at| lines[at].clone());
        assert_eq!(kept(), expected);
        forget_alerts(&alerts, &keep).expect("forgotten again");
        assert_eq!(kept(), expected);
    }

    #[test]
    fn a_journal_of_alerts_does_not_grow_with_the_runs() {
        let parsed = |state: &str, was: &str, at_ms: i64| {
            let text = format!(
                "{{\"report\":\"a\",\"rule\":\"r\",\"severity\":\"warning\",\"labels\":[],\"state\":\"{state}\",\
                 \"was\":\"{was}\",\"since_ms\":0,\"at_ms\":{at_ms},\"run\":\"a@x\"}}"
            );
            AlertLine::parse(&text).expect("a line")
        };
        let most = i64::try_from(MOST_ALERTS).expect("a number");
        let keep = keep(Vec::new(), 2 * most);
        // Values that a rule remembers make a line for each run; of those the last one stays.
        let quiet: Vec<AlertLine> = (0..1000).map(|at| parsed("ok", "ok", at)).collect();
        assert_eq!(kept_alerts(&quiet, &keep).iter().filter(|kept| **kept).count(), 1);
        // One that comes and goes in each run makes no more than anybody reads.
        let flapping =
            |at: i64| if at % 2 == 0 { parsed("firing", "ok", at) } else { parsed("resolved", "firing", at) };
        let kept = kept_alerts(&(0..most + 10).map(flapping).collect::<Vec<_>>(), &keep);
        assert_eq!(kept.iter().filter(|kept| **kept).count(), MOST_ALERTS);
        assert!(!kept[9] && kept[10]);
    }
}
