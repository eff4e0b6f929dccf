//! The scheduler: starts what is due, and knows what is at work.
//!
//! Each second it looks at the reports as their folder has them now and decides about each ([`super::due`]), and each five seconds for what processes
//! left that are gone: those before it, and those of people who run reports by hand. At most two reports run at once; what is due besides
//! waits its turn, and no report has two runs at once. Deliveries go on beside runs ([`super::post`]). A failure of one report, or of the disk, is told and
//! tried again; it ends neither the scheduler nor the server. Only after a failed sync of a journal, of which nobody knows what it left, nothing runs
//! before the next start.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::definition::{Report, Schedule};
use super::due::{Candidate, Decision, schedule_text, since_ms};
use super::folder::{Defined, Standing};
use super::history::{Entry, Run, RunKey};
use super::post::{Bounds, Post};
use super::results::Parcel;
use super::retention::Keep;
use super::runner::{RunOrder, Runner};
use super::schedule::Timetable;
use crate::error::{OBJECT_IN_USE, Result};

/// So many reports run at once: they share the machine with the statements of people.
const MOST_AT_ONCE: usize = 2;
/// How often definitions and the clock are looked at.
const LOOK_EVERY_MS: i64 = 1_000;
/// How often what other processes left is looked for.
const RECOVER_EVERY_MS: i64 = 5_000;
/// How long a report rests whose run could not be noted.
const REST_MS: i64 = 10_000;
/// How often what is kept no longer is looked for.
const FORGET_EVERY_MS: i64 = 60 * 60 * 1_000;
/// By how much journals may grow before it is looked for earlier.
const FORGET_EVERY_BYTES: u64 = 32 << 20;
/// How long runs and deliveries may take to end when the server stops, before they are stopped.
const GRACE: Duration = Duration::from_secs(5);
/// How long those that were stopped may take to note it.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The schedule of a report that is not scheduled.
const OFF: &str = "off";

/// The reports as their folder has them now.
pub type Definitions = Arc<dyn Fn() -> Arc<Defined> + Send + Sync>;

/// Starts reports when they are due.
pub struct Scheduler {
    runner: Runner,
    definitions: Definitions,
    timetables: HashMap<String, (Schedule, Timetable)>,
    at_work: JoinSet<()>,
    /// The reports that wait to run or do.
    busy: Busy,
    /// The runs whose deliveries are made, or were and could not be noted.
    delivering: Busy,
    slots: Arc<Semaphore>,
    post: Post,
    /// Ends what is at work.
    stop: CancellationToken,
    recovered_ms: Option<i64>,
    /// When what is kept no longer was looked for, and how long the journals were then.
    forgot: Option<(i64, u64)>,
}

impl Scheduler {
    /// A scheduler that has not looked at anything yet.
    pub fn new(runner: Runner, definitions: Definitions) -> Self {
        Self {
            post: Post::new(runner.clone(), Bounds::default()),
            runner,
            definitions,
            timetables: HashMap::new(),
            at_work: JoinSet::new(),
            busy: Busy::default(),
            delivering: Busy::default(),
            slots: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            stop: CancellationToken::new(),
            recovered_ms: None,
            forgot: None,
        }
    }

    /// Works until `shutdown`, and then gives what is at work some seconds to end.
    pub async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let wake_ms = self.look().await;
            let clock = self.runner.clock().clone();
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = clock.sleep_until(wake_ms) => {}
                Some(ended) = self.at_work.join_next() => log_panic(ended),
            }
        }
        self.end().await;
    }

    /// Notes the end of runs that died with their process, and makes the deliveries that it left. Those of reports of which nobody can say whether
    /// they are still there wait.
    pub(super) async fn recover(&mut self) -> Result<()> {
        self.recovered_ms = Some(self.runner.now_ms());
        let defined = (self.definitions)();
        for run in self.runner.left_behind(|name| defined.standing(name)).await? {
            let standing = defined.standing(&run.report);
            if standing == Standing::Unknown {
                continue;
            }
            let Some(claim) = self.delivering.claim(&run.id) else { continue };
            let (runner, stop) = (self.runner.clone(), self.stop.clone());
            match standing {
                Standing::There(report) => {
                    let delivered = self.post.deliver(report, &run, None);
                    self.at_work.spawn(async move { unless_stopped(&stop, claim.until(delivered)).await });
                }
                Standing::Gone | Standing::Unknown => {
                    let given_up = async move { runner.give_up(&run.id, "the report is not there any more").await };
                    self.at_work.spawn(async move { unless_stopped(&stop, claim.until(given_up)).await });
                }
            }
        }
        Ok(())
    }

    /// Decides about each report and begins what is to begin; tells when to look again.
    pub(super) async fn look(&mut self) -> i64 {
        let (defined, now_ms) = ((self.definitions)(), self.runner.now_ms());
        if self.recovered_ms.is_none_or(|recovered_ms| (now_ms - recovered_ms).abs() >= RECOVER_EVERY_MS) {
            told("what other processes left of reports could not be seen to", self.recover().await);
        }
        let mut wake_ms = now_ms.saturating_add(LOOK_EVERY_MS);
        for report in defined.reports.iter() {
            match self.look_at(report, now_ms).await {
                Ok(Some(until_ms)) => wake_ms = wake_ms.min(until_ms),
                Ok(None) => {}
                Err(error) => tracing::error!(report = report.name, %error, "a report cannot be scheduled"),
            }
        }
        told("schedules could not be noted", self.note_gone(&defined, now_ms).await);
        self.forget(&defined, now_ms);
        // What is due at this very moment has begun.
        wake_ms.max(now_ms.saturating_add(1))
    }

    /// When a report is to be looked at again; at the next look when `None`.
    async fn look_at(&mut self, report: &Arc<Report>, now_ms: i64) -> Result<Option<i64>> {
        if self.busy.has(&report.name) {
            return Ok(None);
        }
        let Some(schedule) = report.schedule.as_ref().filter(|_| report.enabled) else { return Ok(None) };
        let timetable = self.timetable(&report.name, schedule)?;
        let text = schedule_text(schedule);
        let known_ms = since_ms(&self.runner.history(), &report.name, &text, now_ms);
        let since_ms = match known_ms {
            Some(since_ms) => since_ms,
            None => {
                let entry = Entry::Scheduled { report: report.name.clone(), schedule: text, at_ms: now_ms };
                self.runner.note(vec![entry]).await?;
                now_ms
            }
        };
        let records = report.record.is_some();
        let candidate = Candidate { name: &report.name, schedule, timetable: &timetable, records };
        let decision = candidate.decide(&self.runner.history(), since_ms, now_ms);
        match decision {
            Decision::Wait { until_ms } => Ok(until_ms),
            Decision::Skip { due_ms } => {
                tracing::info!(report = report.name, "a report was not run at its time and is skipped");
                self.runner.skip(report, due_ms).await.map(|()| None)
            }
            Decision::Run { due_ms, cause } => {
                self.begin(report.clone(), RunOrder::due(due_ms, cause));
                Ok(None)
            }
            Decision::Repeat { due_ms } => {
                let lost = RunKey { report: report.name.clone(), due_ms }.id();
                let order = self.runner.history().run(&lost).map(RunOrder::repeat);
                order.into_iter().for_each(|order| self.begin(report.clone(), order));
                Ok(None)
            }
        }
    }

    fn timetable(&mut self, name: &str, schedule: &Schedule) -> Result<Timetable> {
        if let Some((known, timetable)) = self.timetables.get(name)
            && known == schedule
        {
            return Ok(timetable.clone());
        }
        let timetable = Timetable::new(schedule)?;
        self.timetables.insert(name.to_owned(), (schedule.clone(), timetable.clone()));
        Ok(timetable)
    }

    /// Notes which reports are not scheduled any more: what would have been due meanwhile is not missed when they are again.
    async fn note_gone(&mut self, defined: &Defined, now_ms: i64) -> Result<()> {
        let is_on = |report: &&Arc<Report>| report.enabled && report.schedule.is_some();
        let on: HashSet<&str> = defined.reports.iter().filter(is_on).map(|report| report.name.as_str()).collect();
        let is_kept = |name: &str| on.contains(name) || defined.standing(name) == Standing::Unknown;
        let gone = self.runner.history().scheduled_but(OFF, is_kept);
        let entry = |report: String| Entry::Scheduled { report, schedule: OFF.to_owned(), at_ms: now_ms };
        if gone.is_empty() { Ok(()) } else { self.runner.note(gone.into_iter().map(entry).collect()).await }
    }

    fn begin(&mut self, report: Arc<Report>, order: RunOrder) {
        let Some(claim) = self.busy.claim(&report.name) else { return };
        let Some(delivering) = self.delivering.claim(&order.run_id(&report.name)) else { return };
        let (runner, slots, stop) = (self.runner.clone(), self.slots.clone(), self.stop.clone());
        let post = self.post.clone();
        self.at_work.spawn(async move {
            // There are no more once the server stops.
            let Ok(slot) = slots.acquire_owned().await else { return };
            let made = made(&runner, &report, &order, &stop).await;
            drop(slot);
            match made {
                // It is looked at again.
                Ok(None) => {}
                Ok(Some((run, parcel))) => {
                    // Behind those of the runs before, and before those of the next, which may begin now.
                    let delivered = post.deliver(report, &run, run.result.is_none().then_some(parcel));
                    drop(claim);
                    log_end(&run);
                    unless_stopped(&stop, delivering.until(delivered)).await;
                }
                Err(error) => {
                    tracing::error!(report = report.name, %error, "a run of a report could not be noted");
                    let rested_ms = runner.now_ms().saturating_add(REST_MS);
                    unless_stopped(&stop, runner.clock().sleep_until(rested_ms)).await;
                    drop(claim);
                }
            }
        });
    }

    fn forget(&mut self, defined: &Arc<Defined>, now_ms: i64) {
        let bytes = self.runner.journals_bytes();
        let is_due = self.forgot.is_none_or(|(forgot_ms, forgot_bytes)| {
            (now_ms - forgot_ms).abs() >= FORGET_EVERY_MS || bytes >= forgot_bytes + FORGET_EVERY_BYTES
        });
        if !is_due {
            return;
        }
        self.forgot = Some((now_ms, bytes));
        let keep = Keep::of(defined.clone(), now_ms);
        let runner = self.runner.clone();
        self.at_work.spawn(async move {
            told("what reports keep no longer could not be removed", runner.forget(keep).await);
        });
    }

    /// Keeps all others from running until what this gives is dropped.
    #[cfg(test)]
    pub(super) async fn take_slots(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        self.slots.clone().acquire_many_owned(MOST_AT_ONCE as u32).await.ok()
    }

    /// Waits until nothing is at work.
    pub(super) async fn settle(&mut self) {
        while let Some(ended) = self.at_work.join_next().await {
            log_panic(ended);
        }
    }

    /// Ends what is at work: of its own accord, or else by force. What was not delivered is delivered after the next start.
    async fn end(mut self) {
        // What waits for a slot does not begin any more.
        self.slots.close();
        let in_time = tokio::time::timeout(GRACE, self.settle()).await;
        if in_time.is_err() {
            self.stop.cancel();
            let _ = tokio::time::timeout(LAST_WORDS, self.settle()).await;
        }
    }
}

/// Names that something is done about.
#[derive(Debug, Clone, Default)]
struct Busy(Arc<Mutex<HashSet<String>>>);

impl Busy {
    fn names(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, name: &str) -> bool {
        self.names().contains(name)
    }

    /// Makes a name busy until the claim is dropped; `None` when it is.
    fn claim(&self, name: &str) -> Option<Claim> {
        self.names().insert(name.to_owned()).then(|| Claim { busy: self.clone(), name: name.to_owned() })
    }
}

#[derive(Debug)]
struct Claim {
    busy: Busy,
    name: String,
}

impl Claim {
    /// Holds until deliveries are made. Those that cannot be noted are not made again before the next start: a receiver would have them each time.
    async fn until(self, delivered: impl Future<Output = Result<()>>) {
        if let Err(error) = delivered.await {
            tracing::error!(run = self.name, %error, "what became of deliveries could not be noted");
            std::mem::forget(self);
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.busy.names().remove(&self.name);
    }
}

/// Runs a report; `None` while a person runs it in another process.
async fn made(
    runner: &Runner,
    report: &Report,
    order: &RunOrder,
    stop: &CancellationToken,
) -> Result<Option<(Run, Parcel)>> {
    let _turn = match runner.turn(&report.name, Some(report)).await {
        Err(error) if error.sqlstate() == OBJECT_IN_USE => return Ok(None),
        turn => turn?,
    };
    tracing::info!(report = report.name, cause = order.cause.name(), "a report runs");
    runner.make(report, order, stop).await.map(Some)
}

async fn unless_stopped(stop: &CancellationToken, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        () = stop.cancelled() => {}
    }
}

fn log_end(run: &Run) {
    let (id, status, rows) = (&run.id, run.status.name(), run.rows);
    match run.status.is_failure() {
        true => {
            let error = run.error.as_deref().unwrap_or_default();
            tracing::warn!(run = id, status, error, "a report did not succeed");
        }
        false => tracing::info!(run = id, status, rows, "a report ended"),
    }
}

fn told(about: &str, outcome: Result<()>) {
    if let Err(error) = outcome {
        tracing::error!(about, %error, "something about reports could not be done");
    }
}

fn log_panic(ended: std::result::Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a task of the scheduler of reports failed");
    }
}
