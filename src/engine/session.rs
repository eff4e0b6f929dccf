//! Sessions: one per connection, with settings of its own, over one shared engine.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::LogicalPlan;

use super::again::{self, Repeatable};
use super::errors::from_datafusion;
use super::execution::{self, Deadline, RowStream, ToRun};
use super::plans::Asked;
use super::retention;
use super::rights::{Rights, Sight};
use super::scan::PinnedSnapshot;
use super::session_data::{SessionClient, SessionData, ThisSession};
use super::session_functions;
use super::shared::Engine;
use super::signals;
use super::statement::{self, Statement, Work};
use super::stop::Stop;
use super::times::time_of_text;
use crate::error::{Error, Result};
use crate::store::Snapshot;

/// One client's session.
#[derive(Debug)]
pub struct Session {
    engine: Arc<Engine>,
    data: Arc<Mutex<SessionData>>,
}

/// What a statement gives.
pub enum Outcome {
    Rows(Rows),
    /// A command without rows, with its PostgreSQL command tag (`SET`, `BEGIN`, …).
    Command(String),
}

/// A result as it is made: dropping it stops the statement and frees its CPU and memory.
pub struct Rows {
    pub schema: SchemaRef,
    pub stream: RowStream,
    /// The PostgreSQL command tag without the count: `SELECT`, `SHOW`, `EXPLAIN`.
    pub tag: &'static str,
}

impl Session {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let mut data = SessionData::default();
        if let Some(timeout) = engine.settings().statement_timeout {
            // The engine's own default is in range by its type.
            let _ = data.variables.set("statement_timeout", Some(&timeout.as_millis().to_string()));
        }
        Self { engine, data: Arc::new(Mutex::new(data)) }
    }

    /// Splits a script into statements and admits each: limits, read-only, known names, types.
    pub async fn prepare(&self, script: &str) -> Result<Vec<Statement>> {
        let asked = Asked { text: script.to_string(), time_zone: self.setting("timezone")? };
        if let Some(known) = self.engine.plans().get(&asked) {
            return Ok(known.to_vec());
        }
        let (engine, mut state, stop) = (self.engine.clone(), self.state()?, Stop::default());
        state.config_mut().options_mut().extensions.insert(stop.clone());
        // Whoever waits may go at any time, and then this goes as well.
        let _stopped = stop.when_dropped();
        let work = async move {
            let statements = statement::prepared(&state, &asked.text).await?;
            engine.plans().keep(asked, &statements);
            Ok(statements)
        };
        let in_background = self.data().in_background;
        let prepared = self.engine.runtime(in_background).run(work);
        let timeout = self.data().statement_timeout();
        let prepared = match timeout {
            Some(timeout) => {
                tokio::time::timeout(timeout, prepared).await.unwrap_or_else(|_| Err(execution::timed_out(timeout)))
            }
            None => prepared.await,
        };
        prepared.inspect_err(|error| self.engine.tally().refused(error))
    }

    /// The plan of a script of one query, before rules have seen it, and the state that it was made with.
    pub(super) async fn planned(&self, script: &str) -> Result<(SessionState, LogicalPlan)> {
        let statements = self.prepare(script).await?;
        match statements.as_slice() {
            [Statement { work, parameter_types, .. }] if parameter_types.is_empty() => match work.as_ref() {
                Work::Plan { plan, .. } => Ok((self.state()?, plan.clone())),
                Work::Command(_) => Err(Error::bad_input("a command in the place of a query")),
            },
            [_] => Err(Error::bad_input("there are no parameters here").with_sqlstate("42P02")),
            _ => Err(Error::bad_input("more than one statement in the place of a query")),
        }
    }

    /// Runs a statement on a snapshot pinned now, or on the transaction's.
    pub async fn execute(&self, statement: &Statement, parameters: &[ScalarValue]) -> Result<Outcome> {
        let (plan, tag, shown, lasting) = match &*statement.work {
            Work::Command(command) => return self.data().command(command),
            Work::Plan { plan, tag, schema, lasting } => (plan.clone(), *tag, schema, lasting.clone()),
        };
        if parameters.len() < statement.parameter_types.len() {
            let message = format!(
                "the statement has {} parameters and was given {}",
                statement.parameter_types.len(),
                parameters.len()
            );
            return Err(Error::bad_input(message).with_sqlstate("08P01"));
        }
        let plan = match parameters {
            [] => plan,
            values => plan.replace_params_with_values(&ParamValues::from(values.to_vec())).map_err(from_datafusion)?,
        };
        let timeout = self.data().statement_timeout();
        let deadline = timeout.map(Deadline::after);
        let session = Self { engine: self.engine.clone(), data: self.data.clone() };
        let statement = Repeatable { session, plan: ToRun { plan, lasting }, shown: shown.clone(), deadline };
        let begun = self.engine.tally().begin();
        match again::run(statement).await {
            Ok((schema, stream)) => Ok(Outcome::Rows(Rows { schema, stream: begun.over(stream), tag })),
            Err(error) => {
                begun.failed(&error);
                Err(error)
            }
        }
    }

    /// Starts a plan on a snapshot.
    pub(super) async fn start(
        &self,
        ToRun { plan, lasting }: ToRun,
        snapshot: Snapshot,
        shown: &SchemaRef,
        deadline: Option<Deadline>,
    ) -> Result<(SchemaRef, RowStream)> {
        if let Some(sight) = self.sight() {
            sight.check(&plan)?;
        }
        // What has expired is known of the moment only.
        let lasting = lasting.filter(|_| snapshot.expiry.is_none());
        let plan = retention::without_expired(plan, snapshot.expiry.as_ref()).map_err(from_datafusion)?;
        let mut state = match &lasting {
            Some(lasting) if lasting.needs_no_names() => self.with_settings(self.engine.nameless_state())?,
            _ => self.state()?,
        };
        state.config_mut().set_extension(Arc::new(PinnedSnapshot(snapshot)));
        state.config_mut().set_extension(self.data().recorded());
        let (memory_bytes, in_background) = (self.memory_bytes(), self.data().in_background);
        let runtime = self.engine.runtime(in_background);
        let started = execution::start(runtime, state, ToRun { plan, lasting }, memory_bytes, deadline).await;
        started.map(|(schema, stream)| execution::renamed(schema, stream, shown))
    }

    /// The value of a setting, by its PostgreSQL name.
    pub fn setting(&self, name: &str) -> Result<String> {
        self.data().variables.get(name).map(str::to_string)
    }

    /// Changes a setting, as `SET` does.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        self.data().variables.set(name, Some(value))
    }

    /// Lets each of the session's statements hold no more memory than this, where it might hold more; what does not fit is spilled.
    pub fn limit_memory(&self, bytes: usize) {
        self.data().memory_limit_bytes = Some(bytes);
    }

    /// Runs the session's statements in the background: see [`Engine::background`].
    pub fn run_in_background(&self) {
        self.data().in_background = true;
    }

    /// What each of the session's statements may hold in memory.
    pub fn memory_bytes(&self) -> usize {
        self.data().memory_bytes(self.engine.settings().statement_memory_bytes)
    }

    /// Says what the session's user may see and do, from its next statement on.
    pub fn set_rights(&self, rights: Rights) {
        self.data().rights = rights;
    }

    /// Says whose session it is.
    pub fn set_user(&self, user: &str) {
        self.data().variables.set_user(user);
    }

    /// Says under which number others know the session, and where its client is.
    pub fn identify(&self, process_id: i32, address: SocketAddr) {
        self.data().client = Some(SessionClient { process_id, address });
    }

    /// Reads a time as a constant in a statement is read: `2026-01-31 10:00`, `today`, in the session's zone. `None` for another type,
    /// and for a text that is no such time.
    pub fn time_of_text(&self, text: &str, data_type: &DataType) -> Option<ScalarValue> {
        let zone = self.data().variables.get("timezone").ok()?.parse().ok()?;
        time_of_text(text, data_type, zone)
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.data().in_transaction()
    }

    /// The engine's state with this session's settings and functions.
    fn state(&self) -> Result<SessionState> {
        let mut state = self.with_settings(self.engine.state())?;
        let signals = signals::functions(&self.data, self.engine.activity());
        for function in session_functions::functions(&self.data).into_iter().chain(signals) {
            state.register_udf(Arc::new(function)).map_err(from_datafusion)?;
        }
        Ok(state)
    }

    /// What its user sees, who does not see everything.
    fn sight(&self) -> Option<Arc<Sight>> {
        self.data().rights.sight.clone()
    }

    fn with_settings(&self, state: &SessionState) -> Result<SessionState> {
        let mut state = state.clone();
        let time_zone = self.data().variables.get("timezone")?.to_string();
        state.config_mut().options_mut().execution.time_zone = Some(time_zone);
        state.config_mut().set_extension(Arc::new(ThisSession(self.data.clone())));
        if let Some(sight) = self.sight() {
            state.config_mut().set_extension(sight);
        }
        Ok(state)
    }

    /// Pins a snapshot for a statement, or the one of its transaction.
    pub(super) async fn snapshot(&self) -> Result<Snapshot> {
        if let Some(snapshot) = self.data().pinned() {
            return Ok(snapshot);
        }
        let snapshot = self.engine.source().snapshot().await?;
        Ok(self.data().pin(snapshot))
    }
    /// Everything that anybody has committed until now.
    pub(super) async fn newest(&self) -> Result<Snapshot> {
        self.engine.source().newest().await
    }

    /// Gives a statement `newest` in the place of what it `pinned`; not in a transaction in which other statements have seen that.
    pub(super) fn pin_instead(&self, pinned: &Snapshot, newest: &Snapshot) -> bool {
        self.data().pin_instead(pinned, newest)
    }

    fn data(&self) -> MutexGuard<'_, SessionData> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
