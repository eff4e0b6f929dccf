//! The work of one run: the question, the judgement, the files, the rows of its table. Notes nothing about the run itself and delivers nothing.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;

use super::alert::{AlertBook, AlertLine, Notice, Silence};
use super::bind::bound;
use super::deadline::Deadline;
use super::definition::Report;
use super::frame::Frame;
use super::history::{Cause, Run, Status};
use super::home::ReportsHome;
use super::journal::Ledger;
use super::output::{self, Artifact, Page, TraceDrawing};
use super::record::{self, Prepared, TablesFolder};
use super::results::Parcel;
use super::runner::{blocking, blocking_on};
use crate::engine::{Bound, Engine, Outcome, Session};
use crate::error::{Error, Kind, Result};
use crate::store::failpoint;

/// What the rows of a report may take in memory when its header does not say. They are held once more while files are made of them.
const RESULT_BYTES: usize = 64 << 20;

/// The right of a run to judge its alerts. It ends with the run: of what is judged later nobody would be told.
#[derive(Debug, Clone, Default)]
pub(super) struct JudgesLeave {
    is_over: Arc<Mutex<bool>>,
}

impl JudgesLeave {
    /// Does something unless the run is over.
    fn unless_over<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let is_over = self.is_over.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_over { Err(Error::new(Kind::Cancelled, "the run is over")) } else { work() }
    }

    /// Ends it, and waits for who is at it.
    pub(super) fn end(&self) {
        *self.is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
    }
}

/// Everything that a run needs.
#[derive(Debug)]
pub(super) struct Work {
    pub engine: Arc<Engine>,
    pub home: ReportsHome,
    pub alerts: Ledger<AlertBook>,
    pub judges: JudgesLeave,
    /// Begins with the run.
    pub deadline: Deadline,
    pub silences: Vec<Silence>,
    pub report: Arc<Report>,
    /// The run as it began.
    pub run: Run,
    pub now_ms: i64,
    /// Whether the states of alerts follow this run.
    pub keeps_alerts: bool,
    /// Whether its rows are recorded: those of a window that a person gives are, those of other values for parameters are not.
    pub keeps_rows: bool,
}

/// What came of it.
#[derive(Debug)]
pub(super) struct Worked {
    pub status: Status,
    pub rows: Option<u64>,
    pub error: Option<String>,
    /// Without its summary.
    pub parcel: Parcel,
    /// The rows on their way into their table.
    pub prepared: Option<Prepared>,
    /// What of the run's time is left for putting it where it belongs.
    pub deadline: Deadline,
    /// The rows, for a person who waits for them.
    pub frame: Option<Arc<Frame>>,
}

impl Worked {
    /// What came of a run that made nothing.
    pub(super) fn ended(status: Status, error: Option<String>) -> Self {
        Self {
            status,
            rows: None,
            error,
            parcel: Parcel::default(),
            prepared: None,
            deadline: Deadline::never(),
            frame: None,
        }
    }

    /// What came of a run that could not even begin.
    pub(super) fn failed(error: &Error) -> Self {
        Self::ended(status_of(error), Some(told(error)))
    }
}

impl Work {
    /// Does it within the report's time. A failure after the alerts were judged leaves what they say.
    pub(super) async fn done(self) -> Worked {
        let deadline = self.deadline.clone();
        let mut worked = Worked { deadline: deadline.clone(), ..Worked::ended(Status::Succeeded, None) };
        match deadline.within(self.step_by_step(&mut worked)).await {
            Ok(()) => worked,
            Err(error) => {
                worked.parcel.artifacts.clear();
                Worked { status: status_of(&error), error: Some(told(&error)), ..worked }
            }
        }
    }

    async fn step_by_step(self, worked: &mut Worked) -> Result<()> {
        let (frame, traces) = self.asked().await?;
        (worked.rows, worked.frame) = (Some(frame.rows), Some(frame.clone()));
        failpoint("report_asked");
        let this = Arc::new(self);
        let (work, of_frame) = (this.clone(), frame.clone());
        worked.parcel.notices = blocking(move || work.judged(&of_frame)).await?;
        failpoint("report_judged");
        let (work, of_frame, notices) = (this.clone(), frame.clone(), worked.parcel.notices.clone());
        let threads = this.threads()?;
        worked.parcel.artifacts = blocking_on(&threads, move || work.rendered(&of_frame, &notices, &traces)).await?;
        worked.prepared = blocking_on(&threads, move || this.prepared(&frame)).await?;
        failpoint("report_prepared");
        Ok(())
    }

    /// The rows, and the traces that waterfalls draw.
    async fn asked(&self) -> Result<(Arc<Frame>, Vec<TraceDrawing>)> {
        let session = self.session()?;
        let frame = self.answer(&session).await?;
        let traces = output::worst_traces(&session, &output::wanted_traces(&self.report, &frame)).await?;
        Ok((Arc::new(frame), traces))
    }

    /// Whether a person waits for it, so that it is as urgent as a client's statement.
    fn is_waited_for(&self) -> bool {
        self.run.cause == Cause::Manual
    }

    /// Where its files are made. Its steps, which hold locks and look at the table, are not of low priority: others wait for them.
    fn threads(&self) -> Result<Handle> {
        if self.is_waited_for() { Ok(Handle::current()) } else { self.engine.background() }
    }

    fn session(&self) -> Result<Session> {
        let session = self.engine.session();
        session.set("application_name", &format!("report {}", self.report.name))?;
        session.set("statement_timeout", &self.report.timeout.as_millis().to_string())?;
        session.set("timezone", self.report.zone().name())?;
        if !self.is_waited_for() {
            session.run_in_background();
        }
        if let Some(bytes) = self.report.memory_bytes {
            session.limit_memory(bytes);
        }
        Ok(session)
    }

    async fn answer(&self, session: &Session) -> Result<Frame> {
        let bound = bound(&self.report, &self.run.parameters)?;
        let located = |error| in_file(&self.report, &bound, error);
        let statements = session.prepare(&bound.sql).await.map_err(located)?;
        let [statement] = statements.as_slice() else {
            let message = format!("a report is one statement, and this one is {}", statements.len());
            return Err(Error::bad_input(message));
        };
        match session.execute(statement, &[]).await.map_err(located)? {
            Outcome::Rows(rows) => {
                // Whatever the header says, what no statement may hold no result may.
                let limit_bytes = self.report.memory_bytes.unwrap_or(RESULT_BYTES).min(session.memory_bytes());
                Frame::collect(rows, limit_bytes).await
            }
            Outcome::Command(tag) => Err(Error::bad_input(format!("a report asks for rows, and {tag} gives none"))),
        }
    }

    /// What the alerts say; their states are kept in the same step, so that no other run comes between.
    fn judged(&self, frame: &Frame) -> Result<Vec<Notice>> {
        if self.report.alerts.is_empty() && !self.keeps_alerts {
            return Ok(Vec::new());
        }
        let judge = |book: &mut AlertBook| book.judge(&self.report, &self.run, frame, &self.silences, self.now_ms);
        if !self.keeps_alerts {
            self.alerts.catch_up()?;
            let mut book = self.alerts.known().clone();
            return judge(&mut book);
        }
        let mut notices = Vec::new();
        let text = |line: &AlertLine| serde_json::to_string(line).map_err(|error| Error::internal(error.to_string()));
        self.judges.unless_over(|| {
            self.alerts.append_made(|book| {
                notices = judge(book)?;
                book.take_lines().iter().map(text).collect()
            })
        })?;
        Ok(notices)
    }

    fn rendered(&self, frame: &Frame, notices: &[Notice], traces: &[TraceDrawing]) -> Result<Vec<Artifact>> {
        let run = Run { status: Status::Succeeded, rows: Some(frame.rows), ..self.run.clone() };
        let (report, deadline) = (&self.report, &self.deadline);
        let page = Page { report, run: &run, frame, notices, traces, zone: report.zone(), deadline };
        self.report.outputs.iter().map(|output| output::render(output, &page)).collect()
    }

    fn prepared(&self, frame: &Frame) -> Result<Option<Prepared>> {
        let Some(record) = self.report.record.as_ref().filter(|_| self.keeps_rows) else { return Ok(None) };
        let window = self.run.window_from_ms.zip(self.run.window_to_ms);
        let until_ms = window.map_or(self.run.due_ms, |(_, to_ms)| to_ms);
        record::prepare(&TablesFolder::of(&self.home), record, frame, window, until_ms, &self.deadline).map(Some)
    }
}

/// The error with the line of the report's file that it is about.
fn in_file(report: &Report, bound: &Bound, mut error: Error) -> Error {
    if let Some(position) = error.position.take() {
        let before = report.sql.chars().take(bound.position_before(position).saturating_sub(1));
        let line = 1 + before.filter(|char| *char == '\n').count();
        error.message = format!("{}, line {line}: {}", report.path.display(), error.message).into();
    }
    error
}

pub(super) fn status_of(error: &Error) -> Status {
    if error.kind == Kind::Cancelled { Status::TimedOut } else { Status::Failed }
}

/// An error as history and messages tell it.
fn told(error: &Error) -> String {
    match &error.hint {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}
