//! One run of a report, from its order to its deliveries.
//!
//! 1. The report's turn is taken, and the run is noted in the journal, durably: from here on its due time has had its run.
//! 2. The statement runs in a session of its own, with the report's limits of time and memory. Its rows become a frame.
//! 3. The alerts are judged, the outputs are rendered, the table is kept.
//! 4. The files are put into a folder, whole, and the end is noted together with the deliveries that are to be made.
//! 5. Each delivery is made and noted.
//!
//! A process that dies before the fourth step leaves a run without an end, which is marked at the next start and not run again; one that dies
//! after it leaves deliveries to make, and they are made at the next start with the same keys. A run that panics ends as one that died.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::SecondsFormat;
use chrono_tz::Tz;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::bind::effective;
use super::clock::Clock;
use super::definition::{FROM, Report, TO};
use super::frame::Frame;
use super::history::{Cause, Entry, History, Run, RunKey, Status, time_text};
use super::home::ReportsHome;
use super::journal::Journal;
use super::letters;
use super::results::{self, Parcel};
use super::retention::{self, Keep};
use super::schedule::Timetable;
use super::silences::Silences;
use super::turn::Turn;
use super::window::{self, WindowMs};
use super::work::{Work, Worked};
use crate::engine::Engine;
use crate::error::{Error, Result};

/// What is to be run, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOrder {
    pub cause: Cause,
    /// When it was due; when it is started, for a run by hand.
    pub due_ms: i64,
    /// Values for some of the report's parameters; the window is not among them.
    pub parameters: Vec<(String, String)>,
    /// Another window than that of the report at `due_ms`: its beginning and its end, in milliseconds since 1970.
    pub window: Option<(i64, i64)>,
    /// Whether nothing is kept, noted or delivered.
    pub dry_run: bool,
}

impl RunOrder {
    /// A run that a person asks for now.
    pub fn by_hand(now_ms: i64) -> Self {
        Self { cause: Cause::Manual, due_ms: now_ms, parameters: Vec::new(), window: None, dry_run: false }
    }

    /// A run that is due.
    pub(super) fn due(due_ms: i64, cause: Cause) -> Self {
        Self { cause, due_ms, ..Self::by_hand(due_ms) }
    }

    /// Whether it asks what the report asks by itself: only such a run says how alerts stand.
    fn is_as_the_report_says(&self) -> bool {
        self.parameters.is_empty() && self.window.is_none()
    }
}

/// A run with what it made.
#[derive(Debug, Clone)]
pub struct Made {
    pub run: Run,
    pub artifacts: Vec<super::output::Artifact>,
    pub notices: Vec<super::alert::Notice>,
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
    runs: Journal,
    alerts: Journal,
    silences: Silences,
    history: Mutex<History>,
}

impl Runner {
    /// Reads what ran before. Silences are those of `reports_dir`.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`], naming the line, for a damaged journal.
    pub fn open(engine: Arc<Engine>, home: ReportsHome, clock: Arc<dyn Clock>, reports_dir: &Path) -> Result<Self> {
        let (runs, alerts) = (Journal::new(&home.runs_journal()), Journal::new(&home.alerts_journal()));
        let history = Mutex::new(read_history(&runs)?);
        let silences = Silences::of(reports_dir);
        Ok(Self(Arc::new(Shared { engine, home, clock, runs, alerts, silences, history })))
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
        let turn = self.turn(&report.name).await?;
        let begun = self.begun(report, &order)?;
        self.note(vec![Entry::Run(Box::new(begun.clone()))]).await?;
        let mut worked = guarded(self.work(report, &begun, &order).done()).await;
        let frame = worked.frame.take();
        let (run, parcel) = self.ended(report, begun, worked).await?;
        let run = self.deliver(report, run, &parcel).await?;
        // Until here the deliveries were ours; whoever finds them open later makes them.
        drop(turn);
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
        let Worked { status, rows, error, parcel, frame } = guarded(work.done()).await;
        let ended_ms = Some(self.now_ms());
        let run = Run { status, rows, error, ended_ms, ..begun };
        let summary = letters::summary(report, &run, &parcel.notices);
        Ok(Made { run, artifacts: parcel.artifacts, notices: parcel.notices, summary, frame })
    }

    /// Takes a report's turn, from where nobody may wait for a disk.
    pub(super) async fn turn(&self, report: &str) -> Result<Turn> {
        let (home, report) = (self.0.home.clone(), report.to_owned());
        blocking(move || Turn::take(&home, &report)).await
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
        self.note(vec![Entry::Run(Box::new(begun.clone()))]).await?;
        let worked = async {
            match refused {
                Some(error) => Worked::failed(&error),
                None => guarded(self.work(report, &begun, order).done()).await,
            }
        };
        let worked = tokio::select! {
            worked = worked => worked,
            () = stop.cancelled() => Worked::ended(Status::Died, Some("the server was stopped while it ran".to_owned())),
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
        let key = RunKey { report: report.name.clone(), due_ms: order.due_ms };
        Run {
            id: if order.cause == Cause::Manual { key.manual_id() } else { key.id() },
            report: key.report,
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
        Work {
            engine: self.0.engine.clone(),
            home: self.0.home.clone(),
            alerts: self.0.alerts.clone(),
            silences: self.0.silences.now(),
            report: Arc::new(report.clone()),
            run: begun.clone(),
            now_ms: self.now_ms(),
            keeps_alerts: !order.dry_run && order.is_as_the_report_says(),
            keeps_rows: !order.dry_run,
        }
    }

    /// Puts the files into their folder and notes the end.
    pub(super) async fn ended(&self, report: &Report, begun: Run, worked: Worked) -> Result<(Run, Parcel)> {
        let Worked { status, rows, error, mut parcel, frame: _ } = worked;
        let ended_ms = Some(self.now_ms());
        let mut run = Run { status, rows, error, ended_ms, ..begun };
        run.deliveries = letters::due(report, &run, &parcel.notices, self.now_ms());
        let has_files = !parcel.artifacts.is_empty() || !run.deliveries.is_empty();
        if has_files {
            let folder = results::folder_of(&run.report, &run.id);
            run.result = Some(self.0.home.dir().join(&folder).display().to_string());
        }
        parcel.summary = letters::summary(report, &run, &parcel.notices);
        if has_files && let Err(error) = self.put(&run, &parcel).await {
            tracing::error!(run = run.id, %error, "the files of a report could not be kept");
            (run.status, run.result) = (Status::Failed, None);
            run.error = Some(error.to_string());
            parcel.summary = letters::summary(report, &run, &parcel.notices);
        }
        self.note(vec![end_of(&run)]).await?;
        Ok((run, parcel))
    }

    async fn put(&self, run: &Run, parcel: &Parcel) -> Result<()> {
        let (home, run, parcel) = (self.0.home.clone(), run.clone(), parcel.clone());
        blocking(move || results::write(&home, &run.report, &run.id, &parcel).map(|_| ())).await
    }

    /// Makes the deliveries of a run that are still to be made, and notes each as it ends. Returns the run with them.
    pub(super) async fn deliver(&self, report: &Report, run: Run, parcel: &Parcel) -> Result<Run> {
        letters::deliver(report, &run, parcel, self.0.clock.as_ref(), |delivered| {
            let entry = Entry::Delivered { id: run.id.clone(), delivered };
            async move { self.note(vec![entry]).await }
        })
        .await?;
        Ok(self.history().run(&run.id).cloned().unwrap_or(run))
    }

    /// Marks the runs that a process left without an end, and gives the runs whose deliveries are to be made.
    ///
    /// `find` knows reports by name as they are now. A run of another process that is still alive is left to it.
    pub(super) async fn recover(&self, find: impl Fn(&str) -> Option<Arc<Report>>) -> Result<Vec<Run>> {
        let unfinished: Vec<Run> = self.history().unfinished().cloned().collect();
        for run in unfinished {
            let Ok(_turn) = self.turn(&run.report).await else { continue };
            tracing::warn!(run = run.id, "a run of a report ended with its process");
            let mut worked = Worked::ended(Status::Died, Some("its process ended before it did".to_owned()));
            worked.parcel.notices = self.noted_alerts(&run.id).await?;
            match find(&run.report) {
                Some(report) => drop(self.ended(&report, run, worked).await?),
                None => {
                    let (status, ended_ms) = (worked.status, Some(self.now_ms()));
                    self.note(vec![end_of(&Run { status, ended_ms, error: worked.error, ..run })]).await?;
                }
            }
        }
        let is_free = |run: &&Run| !Turn::is_taken(&self.0.home, &run.report);
        Ok(self.history().undelivered().filter(is_free).cloned().collect())
    }

    /// Makes the deliveries of a run that an earlier process left.
    pub(super) async fn deliver_again(&self, report: Option<&Report>, run: Run) -> Result<Run> {
        let Some(report) = report else {
            return self.give_up(run, "the report is not there any more").await;
        };
        let (home, folder) = (self.0.home.clone(), results::folder_of(&run.report, &run.id));
        match blocking(move || results::read(&home, &folder)).await {
            Ok(parcel) => self.deliver(report, run, &parcel).await,
            Err(error) => self.give_up(run, &error.to_string()).await,
        }
    }

    async fn give_up(&self, run: Run, why: &str) -> Result<Run> {
        let failed = letters::given_up(&run, why, self.now_ms());
        let entries = failed.into_iter().map(|delivered| Entry::Delivered { id: run.id.clone(), delivered });
        self.note(entries.collect()).await?;
        Ok(self.history().run(&run.id).cloned().unwrap_or(run))
    }

    /// The notices of a run that were to be told when its process ended.
    async fn noted_alerts(&self, run_id: &str) -> Result<Vec<super::alert::Notice>> {
        let (alerts, run_id) = (self.0.alerts.clone(), run_id.to_owned());
        blocking(move || letters::noted(&alerts, &run_id)).await
    }

    /// Writes entries down, durably, and takes them in.
    pub(super) async fn note(&self, entries: Vec<Entry>) -> Result<()> {
        let lines = entries.iter().map(Entry::line).collect::<Result<Vec<_>>>()?;
        self.0.runs.append_soon(lines).await?;
        let mut history = self.history();
        entries.into_iter().for_each(|entry| history.apply(entry));
        Ok(())
    }

    /// What ran, as far as this process knows.
    pub(super) fn history(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out of journals and results what is kept no longer.
    pub(super) async fn forget(&self, keep: Keep) -> Result<()> {
        let this = self.clone();
        blocking(move || {
            retention::forget(&this.0.home, &this.0.runs, &this.0.alerts, &keep)?;
            // Whoever notes something meanwhile writes before taking it in, and taking it in twice changes nothing.
            let mut history = this.history();
            *history = read_history(&this.0.runs)?;
            Ok(())
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

/// What the journal of runs tells.
///
/// # Errors
/// [`crate::error::Kind::Corrupt`], naming the line, when one is damaged.
pub(super) fn read_history(runs: &Journal) -> Result<History> {
    let mut history = History::default();
    for (number, line) in runs.read()? {
        history.apply(Entry::parse(&line).map_err(|error| runs.damaged(number, error))?);
    }
    Ok(history)
}

fn end_of(run: &Run) -> Entry {
    Entry::Ended {
        id: run.id.clone(),
        ended_ms: run.ended_ms.unwrap_or(run.started_ms),
        status: run.status,
        rows: run.rows,
        error: run.error.clone(),
        result: run.result.clone(),
        deliveries: run.deliveries.clone(),
    }
}

fn window_of(window: &super::definition::Window, report: &Report, order: &RunOrder) -> Result<WindowMs> {
    match (&report.schedule, order.cause) {
        (Some(schedule), Cause::Schedule | Cause::Missed) => {
            window::of_due(window, &Timetable::new(schedule)?, order.due_ms)
        }
        _ => window::of_now(window, zone(report), order.due_ms),
    }
}

/// Where people read the report's times.
pub(super) fn zone(report: &Report) -> Tz {
    report.schedule.as_ref().map_or(Tz::UTC, |schedule| schedule.zone)
}

/// The values that the order gives, and the window's.
fn given(order: &RunOrder, window: Option<WindowMs>) -> Vec<(String, String)> {
    let of_window = window.into_iter().flat_map(|(from_ms, to_ms)| [(FROM, from_ms), (TO, to_ms)]);
    let of_window = of_window.map(|(name, ms)| (name.to_owned(), time_text(ms, SecondsFormat::AutoSi)));
    of_window.chain(order.parameters.iter().cloned()).collect()
}

/// Does what waits for the disk.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Error::internal(format!("a task failed: {error}")))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_that_panics_has_died_and_one_that_is_given_up_ends() {
        let worked = guarded(async { panic!("a test that panics") }).await;
        assert_eq!((worked.status, worked.error.as_deref()), (Status::Died, Some("it made its thread panic")));
        let work = Arc::new(());
        let held = work.clone();
        let endless = async move {
            let _held = held;
            std::future::pending::<Worked>().await
        };
        let waiting = tokio::spawn(guarded(endless));
        tokio::task::yield_now().await;
        waiting.abort();
        let _ = waiting.await;
        // It ends with whoever waited for it; otherwise this never does.
        while Arc::strong_count(&work) > 1 {
            tokio::task::yield_now().await;
        }
    }
}
