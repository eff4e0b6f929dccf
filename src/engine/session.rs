//! Sessions: one per connection, with settings of its own, over one shared engine.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::{FunctionRegistry, SessionState};
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::sqlparser::ast;

use super::again::{self, Repeatable};
use super::commands::Command;
use super::errors::from_datafusion;
use super::execution::{self, Deadline, RowStream, ToRun};
use super::expansion;
use super::information_schema;
use super::narrow;
use super::parameters;
use super::plans::{Asked, Lasting};
use super::result_types;
use super::retention;
use super::scan::PinnedSnapshot;
use super::script::{self, Body, Parsed};
use super::session_functions;
use super::shared::Engine;
use super::substitution;
use super::times::time_of_text;
use super::variables::Variables;
use crate::error::{Error, Result};
use crate::store::Snapshot;

/// One client's session.
#[derive(Debug)]
pub struct Session {
    engine: Arc<Engine>,
    inner: Arc<Mutex<Inner>>,
}

/// What changes while a session lives.
#[derive(Debug, Default)]
pub(super) struct Inner {
    pub(super) variables: Variables,
    pub(super) client: Option<SessionClient>,
    transaction: Option<Transaction>,
}

/// How a client's session is known to others.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionClient {
    pub(super) process_id: i32,
    pub(super) address: SocketAddr,
}

/// The session of a statement, for relations that tell of it.
#[derive(Debug)]
pub(super) struct ThisSession(pub(super) Arc<Mutex<Inner>>);

/// An open transaction: its snapshot, pinned by its first query, and the settings that `SET LOCAL` will give back.
#[derive(Debug)]
struct Transaction {
    snapshot: Option<Snapshot>,
    /// How many statements have seen it.
    statements: usize,
    variables_before: Variables,
    local_changes: bool,
}

/// A parsed, admitted and analysed statement.
#[derive(Debug, Clone)]
pub struct Statement {
    /// The statement's own text.
    pub text: String,
    /// Types of `$1 …`, in order; `None` where the statement does not tell.
    pub parameter_types: Vec<Option<DataType>>,
    /// Which parameters are ordered against an attribute, where a text that is a number is compared as one.
    pub ordered_beside_attributes: Vec<bool>,
    /// The result's columns; `None` for a command without rows.
    pub schema: Option<SchemaRef>,
    work: Arc<Work>,
}

#[derive(Debug)]
enum Work {
    /// A query's plan, and what its columns are shown as.
    Plan {
        plan: LogicalPlan,
        tag: &'static str,
        schema: SchemaRef,
        lasting: Option<Arc<Lasting>>,
    },
    Command(Command),
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

impl Statement {
    /// What is kept of the statement's plan, where it may be kept.
    pub(super) fn lasting(&self) -> Option<&Lasting> {
        match &*self.work {
            Work::Plan { lasting, .. } => lasting.as_deref(),
            Work::Command(_) => None,
        }
    }

    /// Whether the two are one plan, made once.
    #[cfg(test)]
    pub(super) fn is_same_work(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.work, &other.work)
    }
}

impl Session {
    pub(super) fn new(engine: Arc<Engine>) -> Self {
        let mut inner = Inner::default();
        if let Some(timeout) = engine.settings().statement_timeout {
            // The engine's own default is in range by its type.
            let _ = inner.variables.set("statement_timeout", Some(&timeout.as_millis().to_string()));
        }
        Self { engine, inner: Arc::new(Mutex::new(inner)) }
    }

    /// Splits a script into statements and admits each: limits, read-only, known names, types.
    pub async fn prepare(&self, script: &str) -> Result<Vec<Statement>> {
        let asked = Asked { text: script.to_string(), time_zone: self.setting("timezone")? };
        if let Some(known) = self.engine.plans().get(&asked) {
            return Ok(known.to_vec());
        }
        let (engine, state) = (self.engine.clone(), self.state()?);
        let work = async move {
            let mut statements = Vec::new();
            for parsed in script::parse(&asked.text)? {
                statements.push(prepare_one(&state, parsed, &asked.text).await?);
            }
            engine.plans().keep(asked, &statements);
            Ok(statements)
        };
        let prepared = self.engine.runtime().run(work);
        let timeout = self.inner().variables.statement_timeout();
        match timeout {
            Some(timeout) => {
                tokio::time::timeout(timeout, prepared).await.map_err(|_| execution::timed_out(timeout))?
            }
            None => prepared.await,
        }
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
            Work::Command(command) => return self.command(command),
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
        let timeout = self.inner().variables.statement_timeout();
        let deadline = timeout.map(Deadline::after);
        let session = Self { engine: self.engine.clone(), inner: self.inner.clone() };
        let statement = Repeatable { session, plan: ToRun { plan, lasting }, shown: shown.clone(), deadline };
        let (schema, stream) = again::run(statement).await?;
        Ok(Outcome::Rows(Rows { schema, stream, tag }))
    }

    /// Starts a plan on a snapshot.
    pub(super) async fn start(
        &self,
        ToRun { plan, lasting }: ToRun,
        snapshot: Snapshot,
        shown: &SchemaRef,
        deadline: Option<Deadline>,
    ) -> Result<(SchemaRef, RowStream)> {
        // What has expired is known of the moment only.
        let lasting = lasting.filter(|_| snapshot.expiry.is_none());
        let plan = retention::without_expired(plan, snapshot.expiry.as_ref()).map_err(from_datafusion)?;
        let mut state = match &lasting {
            Some(lasting) if lasting.needs_no_names() => self.with_settings(self.engine.nameless_state())?,
            _ => self.state()?,
        };
        state.config_mut().set_extension(Arc::new(PinnedSnapshot(snapshot)));
        let memory_bytes = self.engine.settings().statement_memory_bytes;
        let started =
            execution::start(self.engine.runtime(), state, ToRun { plan, lasting }, memory_bytes, deadline).await;
        started.map(|(schema, stream)| execution::renamed(schema, stream, shown))
    }

    /// The value of a setting, by its PostgreSQL name.
    pub fn setting(&self, name: &str) -> Result<String> {
        self.inner().variables.get(name).map(str::to_string)
    }

    /// Changes a setting, as `SET` does.
    pub fn set(&self, name: &str, value: &str) -> Result<()> {
        self.inner().variables.set(name, Some(value))
    }

    /// Says whose session it is.
    pub fn set_user(&self, user: &str) {
        self.inner().variables.set_user(user);
    }

    /// Says under which number others know the session, and where its client is.
    pub fn identify(&self, process_id: i32, address: SocketAddr) {
        self.inner().client = Some(SessionClient { process_id, address });
    }

    /// Reads a time as a constant in a statement is read: `2026-01-31 10:00`, `today`, in the session's zone. `None` for another type,
    /// and for a text that is no such time.
    pub fn time_of_text(&self, text: &str, data_type: &DataType) -> Option<ScalarValue> {
        let zone = self.inner().variables.get("timezone").ok()?.parse().ok()?;
        time_of_text(text, data_type, zone)
    }

    /// Whether a transaction is open.
    pub fn in_transaction(&self) -> bool {
        self.inner().in_transaction()
    }

    /// The engine's state with this session's settings and functions.
    fn state(&self) -> Result<SessionState> {
        let mut state = self.with_settings(self.engine.state())?;
        for function in session_functions::functions(&self.inner) {
            state.register_udf(Arc::new(function)).map_err(from_datafusion)?;
        }
        Ok(state)
    }

    fn with_settings(&self, state: &SessionState) -> Result<SessionState> {
        let mut state = state.clone();
        let time_zone = self.inner().variables.get("timezone")?.to_string();
        state.config_mut().options_mut().execution.time_zone = Some(time_zone);
        state.config_mut().set_extension(Arc::new(ThisSession(self.inner.clone())));
        Ok(state)
    }

    /// Pins a snapshot for a statement, or the one of its transaction.
    pub(super) async fn snapshot(&self) -> Result<Snapshot> {
        if let Some(Transaction { snapshot: Some(snapshot), statements, .. }) = &mut self.inner().transaction {
            *statements += 1;
            return Ok(snapshot.clone());
        }
        let snapshot = self.engine.source().snapshot().await?;
        if let Some(transaction) = &mut self.inner().transaction {
            transaction.statements += 1;
            return Ok(transaction.snapshot.get_or_insert(snapshot).clone());
        }
        Ok(snapshot)
    }

    /// Everything that anybody has committed until now.
    pub(super) async fn newest(&self) -> Result<Snapshot> {
        self.engine.source().newest().await
    }

    /// Gives a statement `newest` in the place of what it `pinned`; not in a transaction in which other statements have seen that.
    pub(super) fn pin_instead(&self, pinned: &Snapshot, newest: &Snapshot) -> bool {
        let mut inner = self.inner();
        let Some(Transaction { snapshot: Some(snapshot), statements, .. }) = &mut inner.transaction else {
            return true;
        };
        // Another transaction may have begun since.
        let is_pinned = Arc::ptr_eq(&snapshot.files, &pinned.files);
        if is_pinned && *statements == 1 {
            *snapshot = newest.clone();
        }
        !is_pinned || *statements == 1
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self, command: &Command) -> Result<Outcome> {
        let mut inner = self.inner();
        let tag = match command {
            Command::Begin { tag } => {
                let variables_before = inner.variables.clone();
                inner.transaction.get_or_insert(Transaction {
                    snapshot: None,
                    statements: 0,
                    variables_before,
                    local_changes: false,
                });
                tag
            }
            Command::Commit => {
                inner.end_transaction(false);
                "COMMIT"
            }
            Command::Rollback => {
                inner.end_transaction(true);
                "ROLLBACK"
            }
            Command::Savepoint { tag } if inner.transaction.is_some() => tag,
            Command::Savepoint { tag } => {
                return Err(
                    Error::bad_input(format!("{tag} can only be used in transaction blocks")).with_sqlstate("25P01")
                );
            }
            Command::Set { name, value, local } => {
                inner.set(name, value.as_deref(), *local)?;
                "SET"
            }
            Command::SetNothing => "SET",
            Command::Reset { name: Some(name) } => {
                inner.variables.set(name, None)?;
                "RESET"
            }
            Command::Reset { name: None } => {
                inner.variables.reset_all();
                "RESET"
            }
            Command::Discard { all } => {
                if *all {
                    inner.variables.reset_all();
                }
                if *all { "DISCARD ALL" } else { "DISCARD" }
            }
            Command::Show { name } => return show(&inner.variables, name.as_deref()),
        };
        Ok(Outcome::Command(tag.to_string()))
    }
}

impl Inner {
    /// Changes a setting as `SET` does, or `SET LOCAL`.
    pub(super) fn set(&mut self, name: &str, value: Option<&str>, local: bool) -> Result<()> {
        self.variables.set(name, value)?;
        if let Some(transaction) = &mut self.transaction {
            match local {
                true => transaction.local_changes = true,
                // A plain SET outlives the transaction that commits.
                false if !transaction.local_changes => {}
                false => transaction.variables_before.set(name, value)?,
            }
        }
        Ok(())
    }

    /// Whether a transaction is open.
    pub(super) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    fn end_transaction(&mut self, rolled_back: bool) {
        if let Some(transaction) = self.transaction.take()
            && (rolled_back || transaction.local_changes)
        {
            self.variables = transaction.variables_before;
        }
    }
}

async fn prepare_one(state: &SessionState, parsed: Parsed, script: &str) -> Result<Statement> {
    let Parsed { text, body } = parsed;
    match body {
        Body::Command(command) => {
            let schema = show_schema(&command)?;
            let work = Arc::new(Work::Command(command));
            Ok(Statement { text, parameter_types: Vec::new(), ordered_beside_attributes: Vec::new(), schema, work })
        }
        Body::Query { ast, names } => {
            let tag = if text.get(..7).is_some_and(|word| word.eq_ignore_ascii_case("explain")) {
                "EXPLAIN"
            } else {
                "SELECT"
            };
            expansion::check(&ast)?;
            let shows_tables = matches!(*ast, ast::Statement::ShowTables { .. });
            let statement = datafusion::sql::parser::Statement::Statement(ast);
            let plan = state.statement_to_plan(statement).await.map_err(|e| placed(e, script))?;
            let plan = match shows_tables {
                true => information_schema::only_traces(plan),
                false => information_schema::described(plan),
            };
            let plan = plan.map_err(from_datafusion)?;
            substitution::check(&plan).map_err(from_datafusion)?;
            let parameter_types = parameter_types(&plan)?;
            let ordered_beside_attributes =
                parameters::ordered_beside_attributes(&plan, parameter_types.len()).map_err(from_datafusion)?;
            // Whoever runs it may skip this; here the stack is as large.
            let plan = narrow::narrowed(plan).map_err(from_datafusion)?;
            let schema = shown_schema(&result_types::settled(state, &plan, &parameter_types), names);
            let lasting = Lasting::of(&text, &plan).map_err(from_datafusion)?.map(Arc::new);
            let work = Work::Plan { plan, tag, schema: schema.clone(), lasting };
            let (schema, work) = (Some(schema), Arc::new(work));
            Ok(Statement { text, parameter_types, ordered_beside_attributes, schema, work })
        }
    }
}

/// The planner's error with the place in the script that it is about, where it tells.
fn placed(error: DataFusionError, script: &str) -> Error {
    let place = error
        .diagnostic()
        .and_then(|about| about.span)
        .and_then(|span| script::position(script, span.start.line, span.start.column));
    let error = from_datafusion(error);
    match place {
        Some(position) => error.with_position(position),
        None => error,
    }
}

fn shown_schema(planned: &SchemaRef, names: Option<Vec<String>>) -> SchemaRef {
    match names {
        Some(names) if names.len() == planned.fields().len() => {
            let fields: Vec<_> = planned
                .fields()
                .iter()
                .zip(names)
                .map(|(field, name)| field.as_ref().clone().with_name(name))
                .collect();
            Arc::new(Schema::new(fields))
        }
        _ => planned.clone(),
    }
}

fn parameter_types(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>> {
    let mut types = Vec::new();
    for (name, data_type) in plan.get_parameter_types().map_err(from_datafusion)? {
        let Some(number) = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok()).filter(|n| *n > 0)
        else {
            return Err(Error::bad_input(format!("there is no parameter {name}")).with_sqlstate("42P02"));
        };
        // The wire protocol counts parameters in 16 bits.
        if number > usize::from(u16::MAX) {
            return Err(Error::bad_input(format!("there is no parameter {name}")).with_sqlstate("42P02"));
        }
        if types.len() < number {
            types.resize(number, None);
        }
        // NULL is no type: the planner says it where a parameter only stands beside another one.
        types[number - 1] = data_type.filter(|data_type| !data_type.is_null());
    }
    parameters::infer(plan, &mut types).map_err(from_datafusion)?;
    Ok(types)
}

fn show_schema(command: &Command) -> Result<Option<SchemaRef>> {
    let Command::Show { name } = command else { return Ok(None) };
    let names = match name {
        Some(name) => vec![Variables::display_name(name)?],
        None => vec!["name", "setting", "description"],
    };
    let fields: Vec<_> = names.into_iter().map(|name| Field::new(name, DataType::Utf8, false)).collect();
    Ok(Some(Arc::new(Schema::new(fields))))
}

fn show(variables: &Variables, name: Option<&str>) -> Result<Outcome> {
    let command = Command::Show { name: name.map(str::to_string) };
    let schema = show_schema(&command)?.ok_or_else(|| Error::internal("SHOW without columns"))?;
    let columns: Vec<Vec<&str>> = match name {
        Some(name) => vec![vec![variables.get(name)?]],
        None => {
            let (mut names, mut values, mut notes) = (Vec::new(), Vec::new(), Vec::new());
            for (name, value, note) in variables.all() {
                names.push(name);
                values.push(value);
                notes.push(note);
            }
            vec![names, values, notes]
        }
    };
    let columns = columns.into_iter().map(|column| Arc::new(StringArray::from(column)) as _).collect();
    let batch = RecordBatch::try_new(schema, columns).map_err(|e| Error::internal(e.to_string()))?;
    let (schema, stream) = execution::rows_of(batch);
    Ok(Outcome::Rows(Rows { schema, stream, tag: "SHOW" }))
}
