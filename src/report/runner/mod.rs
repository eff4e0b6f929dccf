//! One run of a report, from its order to its deliveries.
//!
//! 1. The report's turn is taken, and the run is noted in the journal, durably: from here on its due time has had its run.
//! 2. The statement runs in a session of its own, with the report's limits of memory and time, which holds to the fourth step. Its rows become a
//!    frame.
//! 3. The alerts are judged, the outputs are rendered, the rows are written beside those of their table.
//! 4. The files are put into a folder, whole; then the rows become those of the table, in one step that names the run.
//! 5. The end is noted together with the deliveries that are to be made.
//! 6. Each delivery is made and noted.
//!
//! A process that dies before the fifth step leaves a run without an end, which whoever looks next notes: it has died, unless its rows are in their
//! table, and then it ended well. So rows of a run that died are in no table, and lie beside nothing when it is repeated. One that dies after it
//! leaves deliveries to make, and they are made with the same keys. A run that panics ends as one that died.

mod end;
mod left;
mod order;

use std::path::Path;
use std::sync::{Arc, MutexGuard};

use chrono::SecondsFormat;
use futures::TryFutureExt;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use self::order::RunOrder;
use super::alert::{AlertBook, Notice};
use super::bind::effective;
use super::clock::Clock;
use super::deadline::Deadline;
use super::definition::{FROM, Report, TO};
use super::frame::Frame;
use super::history::{Cause, Entry, History, Run, Status, time_text};
use super::home::ReportsHome;
use super::journal::{Journal, Ledger};
use super::letters;
use super::output::Artifact;
use super::results::Parcel;
use super::retention::{self, Keep};
use super::schedule::Timetable;
use super::silences::Silences;
use super::turn::Delivering;
use super::window::{self, WindowMs};
use super::work::{JudgesLeave, Work, Worked};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::store::failpoint;

/// A run with what it made.
#[derive(Debug, Clone)]
pub struct Made {
    pub run: Run,
    pub artifacts: Vec<Artifact>,
    pub notices: Vec<Notice>,
    /// A few lines of Markdown.
    pub summary: String,
    /// The rows, if it came so far.
    pub frame: Option<Arc<Frame>>,
}

/// Runs reports; clones share everything.
#[derive(Debug, Clone)]
pub struct Runner(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    engine: Arc<Engine>,
    home: ReportsHome,
    clock: Arc<dyn Clock>,
    runs: Ledger<History>,
    alerts: Ledger<AlertBook>,
    silences: Silences,
}

impl Runner {
    /// Reads what ran before. Silences are those of `reports_dir`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`], naming the line, for a damaged journal.
    pub fn open(engine: Arc<Engine>, home: ReportsHome, clock: Arc<dyn Clock>, reports_dir: &Path) -> Result<Self> {
        let runs = Ledger::open(Journal::new(&home.runs_journal()))?;
        let alerts = Ledger::open(Journal::new(&home.alerts_journal()))?;
        let silences = Silences::of(reports_dir);
        Ok(Self(Arc::new(Shared { engine, home, clock, runs, alerts, silences })))
    }

    /// Runs a report and makes its deliveries. A run that fails is a run; only one that cannot be noted is an error.
    ///
    /// # Errors
    /// When another run of the report has not ended; when the order is for parameters that the report does not have; when the disk fails.
    pub async fn run(&self, report: &Report, order: RunOrder) -> Result<Run> {
        self.run_whole(report, order).await.map(|made| made.run)
    }

    /// Runs a report for a person who waits for what it makes, and makes its deliveries.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_whole(&self, report: &Report, order: RunOrder) -> Result<Made> {
        if order.dry_run {
            return self.dry_run(report, order).await;
        }
        let turn = self.turn(&report.name, Some(report)).await?;
        let begun = self.begun(report, &order)?;
        self.note_begun(&begun).await?;
        let mut worked = self.worked(self.work(report, &begun, &order), &CancellationToken::new()).await;
        let frame = worked.frame.take();
        // The deliveries are ours until they are made; whoever finds them open later makes them. The next run does not wait for receivers.
        let (home, of) = (self.0.home.clone(), report.name.clone());
        let delivering = blocking(move || Delivering::take(&home, &of)).await?;
        let (run, parcel) = self.ended(report, begun, worked).await?;
        drop(turn);
        let run = self.deliver(report, run, &parcel).await?;
        drop(delivering);
        let Parcel { artifacts, notices, summary } = parcel;
        Ok(Made { run, artifacts, notices, summary, frame })
    }

    /// Runs a report and keeps, notes and delivers nothing.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn dry_run(&self, report: &Report, order: RunOrder) -> Result<Made> {
        let begun = self.begun(report, &order)?;
        let work = self.work(report, &begun, &order);
        let Worked { status, rows, error, parcel, frame, .. } = guarded(work.done()).await;
        let ended_ms = Some(self.now_ms());
        let run = Run { status, rows, error, ended_ms, ..begun };
        let summary = letters::summary(report, &run, &parcel.notices);
        Ok(Made { run, artifacts: parcel.artifacts, notices: parcel.notices, summary, frame })
    }

    /// Runs a report whose turn has been taken, to the point from which only deliveries are missing.
    ///
    /// A run that `stop` interrupts is one that died.
    pub(super) async fn make(
        &self,
        report: &Report,
        order: &RunOrder,
        stop: &CancellationToken,
    ) -> Result<(Run, Parcel)> {
        let (begun, refused) = match self.begun(report, order) {
            Ok(begun) => (begun, None),
            Err(error) if order.cause == Cause::Manual => return Err(error),
            // Nobody waits for the error, so it goes where people look.
            Err(error) => (self.ordered(report, order), Some(error)),
        };
        self.note_begun(&begun).await?;
        let worked = match refused {
            Some(error) => Worked::failed(&error),
            None => self.worked(self.work(report, &begun, order), stop).await,
        };
        self.ended(report, begun, worked).await
    }

    /// The run as it begins.
    fn begun(&self, report: &Report, order: &RunOrder) -> Result<Run> {
        let window = match (order.window, report.window) {
            (Some(window), _) => Some(window),
            (None, Some(window)) => Some(window_of(&window, report, order)?),
            (None, None) => None,
        };
        Ok(Run {
            window_from_ms: window.map(|(from_ms, _)| from_ms),
            window_to_ms: window.map(|(_, to_ms)| to_ms),
            parameters: effective(report, &given(order, window))?,
            ..self.ordered(report, order)
        })
    }

    /// The run before anything is known of what it is given.
    fn ordered(&self, report: &Report, order: &RunOrder) -> Run {
        Run {
            id: order.run_id(&report.name),
            report: report.name.clone(),
            report_version: report.version.clone(),
            cause: order.cause,
            due_ms: order.due_ms,
            started_ms: self.now_ms(),
            ended_ms: None,
            window_from_ms: None,
            window_to_ms: None,
            parameters: Vec::new(),
            status: Status::Running,
            rows: None,
            error: None,
            result: None,
            deliveries: Vec::new(),
        }
    }

    /// Notes that a due time is over and is not made up for.
    pub(super) async fn skip(&self, report: &Report, due_ms: i64) -> Result<()> {
        let ordered = self.ordered(report, &RunOrder::due(due_ms, Cause::Missed));
        let why = "it was due while it could not run, and missed runs are not made up for";
        let (status, ended_ms, error) = (Status::Skipped, Some(ordered.started_ms), Some(why.to_owned()));
        self.note(vec![Entry::Run(Box::new(Run { status, ended_ms, error, ..ordered }))]).await
    }

    fn work(&self, report: &Report, begun: &Run, order: &RunOrder) -> Work {
        // The run that it repeats may have judged the same rows before it died.
        let is_judged = order.cause == Cause::Repeat && self.0.alerts.known().has_judged(&begun.key().id());
        Work {
            engine: self.0.engine.clone(),
            home: self.0.home.clone(),
            alerts: self.0.alerts.clone(),
            judges: JudgesLeave::default(),
            deadline: Deadline::after(report.timeout),
            silences: self.0.silences.now(),
            report: Arc::new(report.clone()),
            run: begun.clone(),
            now_ms: self.now_ms(),
            keeps_alerts: !order.dry_run && order.is_as_the_report_says() && !is_judged,
            // Rows of other values would take the place of those that the table is about.
            keeps_rows: !order.dry_run && order.parameters.is_empty(),
        }
    }

    /// What comes of the work, or of what there was of it when `stop` ended it. Alerts that it had judged by then are told: no later run does.
    async fn worked(&self, work: Work, stop: &CancellationToken) -> Worked {
        let (judges, deadline, run_id) = (work.judges.clone(), work.deadline.clone(), work.run.id.clone());
        let mut worked = tokio::select! {
            worked = guarded(work.done()) => worked,
            () = stop.cancelled() => Worked::ended(Status::Died, Some("the server was stopped while it ran".to_owned())),
        };
        if worked.status.is_failure() {
            // What no await interrupts ends where it asks next.
            deadline.end();
        }
        if worked.status.is_failure() && worked.parcel.notices.is_empty() {
            let ended = blocking(move || {
                judges.end();
                Ok(())
            });
            match ended.and_then(|()| self.noted_alerts(&run_id)).await {
                Ok(notices) => worked.parcel.notices = notices,
                Err(error) => tracing::error!(run = run_id, %error, "what a run had judged cannot be told"),
            }
        }
        worked
    }

    /// Makes the deliveries of a run that are still to be made, and notes each as it ends. Returns the run with them.
    pub(super) async fn deliver(&self, report: &Report, run: Run, parcel: &Parcel) -> Result<Run> {
        letters::deliver(report, &run, parcel, self.0.clock.as_ref(), |delivered| {
            let entry = Entry::Delivered { id: run.id.clone(), delivered };
            async move { self.note(vec![entry]).await }
        })
        .await?;
        failpoint("report_delivered");
        Ok(self.history().run(&run.id).cloned().unwrap_or(run))
    }

    async fn note_begun(&self, begun: &Run) -> Result<()> {
        self.note(vec![Entry::Run(Box::new(begun.clone()))]).await?;
        failpoint("report_noted");
        Ok(())
    }

    /// Writes entries down, durably, and takes them in.
    pub(super) async fn note(&self, entries: Vec<Entry>) -> Result<()> {
        let lines = entries.iter().map(Entry::line).collect::<Result<Vec<_>>>()?;
        let runs = self.0.runs.clone();
        blocking(move || runs.append(lines)).await
    }

    /// What ran, as it was when the journal was last looked at.
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.0.runs.known()
    }

    /// Takes in what other processes noted.
    async fn catch_up(&self) -> Result<()> {
        let (runs, alerts) = (self.0.runs.clone(), self.0.alerts.clone());
        blocking(move || runs.catch_up().and(alerts.catch_up())).await
    }

    /// How long the journals are.
    pub(super) fn journals_bytes(&self) -> u64 {
        self.0.runs.journal().len_bytes() + self.0.alerts.journal().len_bytes()
    }

    /// Takes out of journals and results what is kept no longer.
    pub(super) async fn forget(&self, keep: Keep) -> Result<()> {
        let this = self.clone();
        blocking(move || {
            retention::forget(&this.0.home, this.0.runs.journal(), this.0.alerts.journal(), &keep)?;
            this.0.runs.catch_up().and(this.0.alerts.catch_up())
        })
        .await
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.0.clock.now_ms()
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }
}

/// Does the work on a task of its own, which ends with this future, so that a panic ends nothing else.
async fn guarded(work: impl Future<Output = Worked> + Send + 'static) -> Worked {
    match AbortOnDropHandle::new(tokio::spawn(work)).await {
        Ok(worked) => worked,
        Err(error) => {
            let why = if error.is_panic() { "it made its thread panic" } else { "its task was stopped" };
            Worked::ended(Status::Died, Some(why.to_owned()))
        }
    }
}

fn window_of(window: &super::definition::Window, report: &Report, order: &RunOrder) -> Result<WindowMs> {
    match (&report.schedule, order.cause) {
        (Some(schedule), Cause::Schedule | Cause::Missed | Cause::Repeat) => {
            window::of_due(window, &Timetable::new(schedule)?, order.due_ms)
        }
        _ => window::of_now(window, report.zone(), order.due_ms),
    }
}

/// The values that the order gives, and the window's.
fn given(order: &RunOrder, window: Option<WindowMs>) -> Vec<(String, String)> {
    let of_window = window.into_iter().flat_map(|(from_ms, to_ms)| [(FROM, from_ms), (TO, to_ms)]);
    let of_window = of_window.map(|(name, ms)| (name.to_owned(), time_text(ms, SecondsFormat::AutoSi)));
    of_window.chain(order.parameters.iter().cloned()).collect()
}

/// Does what waits for the disk.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    blocking_on(&Handle::current(), work).await
}

/// Does on some of these threads what computes, or waits for the disk.
pub(super) async fn blocking_on<T: Send + 'static>(
    threads: &Handle,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    threads.spawn_blocking(work).await.map_err(|error| Error::internal(format!("a task failed: {error}")))?
}

#[cfg(test)]
mod tests;
