//! From a statement's text to its result: what both protocols share.

use std::sync::Arc;

use datafusion::common::ScalarValue;
use futures::StreamExt;
use pgwire::messages::response::TransactionStatus;

use super::connection::Connection;
use super::cursor::Cursor;
use super::parameters::fit;
use super::row::{Column, Format};
use super::settings::text_style;
use super::sql::{Command, CopyOptions, CursorDeclaration, FetchCount, Transaction};
use super::statement::{Parameter, Portal, PortalState, Prepared, spread};
use super::wire::{Halt, Stops};
use crate::engine::{Outcome, Statement};
use crate::error::{Error, Kind, Result};
use crate::pg::{PgType, oid_of_name};

/// A statement that has begun to answer.
pub(super) enum Started {
    /// All done, with the command tag.
    Done(String),
    Rows(Cursor),
    Copy(Cursor, CopyOptions),
    Fetch {
        cursor: String,
        count: FetchCount,
        rows_shown: bool,
    },
}

impl Connection {
    /// Parses and analyses one statement. `types` are the parameters' OIDs as the client declares them, 0 for none.
    pub(super) async fn prepare(
        &mut self,
        text: &str,
        types: &[u32],
        offset_chars: Option<usize>,
        stops: &Stops,
    ) -> Result<Prepared, Halt> {
        let command = Command::parse(text).map_err(|error| moved(error, offset_chars))?;
        self.check_aborted(&command)?;
        let (query, inner_offset) = match &command {
            Command::Engine => (text, Some(0)),
            Command::Declare(CursorDeclaration { query, query_offset_chars, .. }) => {
                (query.as_str(), Some(*query_offset_chars))
            }
            Command::CopyOut { source, .. } => (source.query.as_str(), source.query_offset_chars),
            _ => return Ok(Prepared { text: text.into(), command, ..Prepared::empty() }),
        };
        let offset_chars = inner_offset.zip(offset_chars).map(|(inner, outer)| inner + outer);
        let prepared = self.wire.attend(stops, self.session.prepare(query)).await?;
        let mut statements = prepared.map_err(|error| moved(error, offset_chars))?;
        let statement = match (statements.pop(), statements.is_empty()) {
            (Some(statement), true) => statement,
            _ => return Err(Error::bad_input("exactly one statement is expected here").into()),
        };
        if command != Command::Engine && statement.schema.is_none() {
            return Err(Error::bad_input("a cursor or copy needs a query that gives rows").into());
        }
        Ok(Prepared {
            parameters: parameters(&statement, types),
            columns: statement.schema.as_ref().map(|schema| Column::of_schema(schema).into()),
            statement: Some(statement),
            text: text.into(),
            command,
            offset_chars,
        })
    }

    /// Refuses everything but the end of a transaction that has failed.
    pub(super) fn check_aborted(&self, command: &Command) -> Result<()> {
        let ends = matches!(
            command,
            Command::Transaction(Transaction::Commit | Transaction::Rollback | Transaction::RollbackTo(_))
        );
        if self.status == TransactionStatus::Error && !ends {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Error::bad_input(message).with_sqlstate("25P02"));
        }
        Ok(())
    }

    /// Begins to run a statement.
    pub(super) async fn start(
        &mut self,
        prepared: &Arc<Prepared>,
        values: &[ScalarValue],
        stops: &Stops,
    ) -> Result<Started, Halt> {
        match &prepared.command {
            Command::Engine => self.start_engine(prepared, values, stops).await,
            Command::Transaction(transaction) => self.transaction(transaction, stops).await.map(Started::Done),
            Command::Declare(declaration) => self.declare(declaration, prepared, values, stops).await,
            Command::Fetch { cursor, count, rows_shown } => {
                Ok(Started::Fetch { cursor: cursor.clone(), count: *count, rows_shown: *rows_shown })
            }
            Command::Close(name) => {
                match name {
                    Some(name) => drop(self.named.take_portal(name)?),
                    None => self.named.drop_all_portals(),
                }
                Ok(Started::Done(if name.is_some() { "CLOSE CURSOR" } else { "CLOSE CURSOR ALL" }.to_owned()))
            }
            Command::Prepare { name, types, query, query_offset_chars } => {
                let oids = types.iter().map(|name| oid_of_name(name)).collect::<Result<Vec<_>>>()?;
                let inner = Box::pin(self.prepare(query, &oids, Some(*query_offset_chars), stops)).await?;
                if inner.command != Command::Engine {
                    return Err(Error::bad_input("only a query can be prepared").into());
                }
                self.named.add_prepared(name.clone(), Arc::new(inner))?;
                Ok(Started::Done("PREPARE".to_owned()))
            }
            Command::Execute { name, arguments } => {
                let target = self.named.prepared(name)?;
                let values = self.evaluate(name, arguments, &target, stops).await?;
                Box::pin(self.start(&target, &values, stops)).await
            }
            Command::Deallocate(name) => self.deallocate(name.as_deref()).map(Started::Done).map_err(Halt::from),
            Command::Discard(tag) => self.discard(tag, stops).await,
            Command::Nothing(tag) => Ok(Started::Done((*tag).to_owned())),
            Command::CopyOut { options, .. } => {
                let mut cursor = self.open(prepared, values, stops).await?;
                cursor.show_all_second_digits();
                Ok(Started::Copy(cursor, options.clone()))
            }
        }
    }

    async fn start_engine(
        &mut self,
        prepared: &Prepared,
        values: &[ScalarValue],
        stops: &Stops,
    ) -> Result<Started, Halt> {
        match self.run(prepared, values, stops).await? {
            Outcome::Command(tag) => {
                // A SET may have changed how text looks.
                self.style = text_style(&self.session)?;
                Ok(Started::Done(tag))
            }
            Outcome::Rows(rows) => Ok(Started::Rows(Cursor::new(rows, prepared.columns.clone(), self.style))),
        }
    }

    async fn run(&mut self, prepared: &Prepared, values: &[ScalarValue], stops: &Stops) -> Result<Outcome, Halt> {
        let statement = prepared.statement.as_ref().ok_or_else(|| Error::internal("a statement lost its plan"))?;
        let outcome = self.wire.attend(stops, self.session.execute(statement, values)).await?;
        Ok(outcome.map_err(|error| moved(error, prepared.offset_chars))?)
    }

    /// Opens the result of a query.
    async fn open(&mut self, prepared: &Prepared, values: &[ScalarValue], stops: &Stops) -> Result<Cursor, Halt> {
        match self.run(prepared, values, stops).await? {
            Outcome::Rows(rows) => Ok(Cursor::new(rows, prepared.columns.clone(), self.style)),
            Outcome::Command(_) => Err(Error::internal("a query gave no rows").into()),
        }
    }

    async fn declare(
        &mut self,
        declaration: &CursorDeclaration,
        prepared: &Arc<Prepared>,
        values: &[ScalarValue],
        stops: &Stops,
    ) -> Result<Started, Halt> {
        if self.status == TransactionStatus::Idle && !declaration.hold {
            let message = "DECLARE CURSOR can only be used in transaction blocks";
            return Err(Error::bad_input(message)
                .with_sqlstate("25P01")
                .with_hint("BEGIN first, or declare it WITH HOLD.")
                .into());
        }
        let cursor = self.open(prepared, values, stops).await?;
        let portal = Portal {
            prepared: prepared.clone(),
            values: Vec::new(),
            formats: if declaration.binary { vec![Format::Binary] } else { Vec::new() },
            state: PortalState::Open(cursor),
            hold: declaration.hold,
        };
        self.named.add_portal(declaration.name.clone(), portal)?;
        Ok(Started::Done("DECLARE CURSOR".to_owned()))
    }

    /// Moves a cursor forward, sending its rows when they are shown; returns how many, and whether it ended.
    pub(super) async fn fetch(
        &mut self,
        name: &str,
        count: FetchCount,
        rows_shown: bool,
        formats: Option<&[Format]>,
        stops: &Stops,
    ) -> Result<(u64, bool), Halt> {
        let mut portal = self.named.take_portal(name)?;
        if matches!(portal.state, PortalState::New) && portal.prepared.command == Command::Engine {
            portal.state = PortalState::Open(self.open(&portal.prepared.clone(), &portal.values, stops).await?);
        }
        let PortalState::Open(cursor) = &mut portal.state else {
            return Err(Error::bad_input(format!("cursor \"{name}\" cannot be fetched from"))
                .with_sqlstate("55000")
                .into());
        };
        let formats = spread(formats.unwrap_or(&portal.formats), cursor.columns().len())?;
        let limit = match count {
            FetchCount::Rows(rows) => rows,
            FetchCount::All => u64::MAX,
            FetchCount::Absolute(row) => {
                if row <= cursor.position_rows {
                    return Err(Error::bad_input("cursor can only scan forward").with_sqlstate("55000").into());
                }
                cursor.skip(&mut self.wire, stops, row - cursor.position_rows - 1).await?;
                1
            }
            FetchCount::Relative(0) => 0,
            FetchCount::Relative(rows) => {
                cursor.skip(&mut self.wire, stops, rows - 1).await?;
                1
            }
        };
        let moved = match rows_shown {
            true => cursor.send(&mut self.wire, stops, &formats, limit).await?,
            false => cursor.skip(&mut self.wire, stops, limit).await?,
        };
        self.named.put_back(name.to_owned(), portal);
        Ok((moved, moved < limit))
    }

    /// Computes the arguments of an `EXECUTE`.
    async fn evaluate(
        &mut self,
        name: &str,
        arguments: &[String],
        target: &Prepared,
        stops: &Stops,
    ) -> Result<Vec<ScalarValue>, Halt> {
        if arguments.len() != target.parameters.len() {
            let (needed, given) = (target.parameters.len(), arguments.len());
            let message = format!(
                "wrong number of parameters for prepared statement \"{name}\": {needed} expected, {given} given"
            );
            return Err(Error::bad_input(message).into());
        }
        if arguments.is_empty() {
            return Ok(Vec::new());
        }
        let query =
            format!("SELECT {}", arguments.iter().map(|text| format!("({text})")).collect::<Vec<_>>().join(", "));
        let prepared = self.prepare(&query, &[], None, stops).await?;
        let Outcome::Rows(mut rows) = self.run(&prepared, &[], stops).await? else {
            return Err(Error::internal("arguments gave no values").into());
        };
        let batch = self.wire.attend(stops, rows.stream.next()).await?;
        let batch = batch.ok_or_else(|| Error::internal("arguments gave no row"))??;
        let mut values = Vec::with_capacity(arguments.len());
        for (column, parameter) in batch.columns().iter().zip(&target.parameters) {
            let value =
                ScalarValue::try_from_array(column, 0).map_err(|e| Error::internal(format!("argument: {e}")))?;
            values.push(fit(value, parameter, &|text, data_type| self.session.time_of_text(text, data_type))?);
        }
        Ok(values)
    }

    fn deallocate(&mut self, name: Option<&str>) -> Result<String> {
        match name {
            None => {
                self.named.drop_all_prepared();
                Ok("DEALLOCATE ALL".to_owned())
            }
            Some(name) if self.named.drop_prepared(name) => Ok("DEALLOCATE".to_owned()),
            Some(name) => Err(Error::new(Kind::NotFound, format!("prepared statement \"{name}\" does not exist"))
                .with_sqlstate("26000")),
        }
    }

    async fn discard(&mut self, tag: &'static str, stops: &Stops) -> Result<Started, Halt> {
        if tag == "DISCARD ALL" {
            if self.status != TransactionStatus::Idle {
                let message = "DISCARD ALL cannot run inside a transaction block";
                return Err(Error::bad_input(message).with_sqlstate("25001").into());
            }
            self.named.drop_all_prepared();
            self.named.drop_all_portals();
            self.engine_command("DISCARD ALL", stops).await?;
            self.style = text_style(&self.session)?;
        }
        Ok(Started::Done(tag.to_owned()))
    }

    /// Runs a command of the engine that has no rows.
    pub(super) async fn engine_command(&mut self, text: &str, stops: &Stops) -> Result<String, Halt> {
        for statement in self.wire.attend(stops, self.session.prepare(text)).await?? {
            if let Outcome::Command(tag) = self.session.execute(&statement, &[]).await? {
                return Ok(tag);
            }
        }
        Err(Error::internal(format!("the engine did not take {text}")).into())
    }
}

impl Prepared {
    /// A statement with nothing in it.
    pub(super) fn empty() -> Self {
        let parameters = Vec::new();
        Self {
            text: "".into(),
            command: Command::Engine,
            statement: None,
            parameters,
            columns: None,
            offset_chars: None,
        }
    }

    /// Whether there is nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        self.command == Command::Engine && self.statement.is_none()
    }

    /// The same statement, its columns to be learned from the result.
    pub(super) fn without_columns(&self) -> Self {
        Self {
            text: self.text.clone(),
            command: self.command.clone(),
            statement: self.statement.clone(),
            parameters: self.parameters.clone(),
            columns: None,
            offset_chars: self.offset_chars,
        }
    }
}

impl Portal {
    /// Returns the result's columns, where they are known.
    pub(super) fn columns(&self) -> Option<Arc<[Column]>> {
        match &self.state {
            PortalState::Open(cursor) => Some(cursor.columns().clone()),
            _ if self.prepared.command == Command::Engine => self.prepared.columns.clone(),
            // A DECLARE or COPY knows its query's columns, and gives no rows itself.
            _ => None,
        }
    }
}

/// Puts together what the client declares of parameters and what the statement tells.
fn parameters(statement: &Statement, types: &[u32]) -> Vec<Parameter> {
    let inferred = |wanted: &Option<_>| match wanted {
        Some(data_type) => PgType::of(data_type).oid(),
        None => PgType::Text.oid(),
    };
    let declared = |index: usize| types.get(index).copied().filter(|oid| *oid != 0);
    let mut found: Vec<Parameter> = statement
        .parameter_types
        .iter()
        .enumerate()
        .map(|(index, wanted)| Parameter {
            oid: declared(index).unwrap_or_else(|| inferred(wanted)),
            wanted: wanted.clone(),
            may_be_number: declared(index).is_none() && statement.ordered_beside_attributes.get(index) == Some(&true),
        })
        .collect();
    // A client may declare more parameters than the statement uses.
    for index in found.len()..types.len() {
        found.push(Parameter {
            oid: declared(index).unwrap_or(PgType::Text.oid()),
            wanted: None,
            may_be_number: false,
        });
    }
    found
}

/// Moves an error's position from a part of what the client sent to the whole; drops it where it means nothing there.
fn moved(mut error: Error, offset_chars: Option<usize>) -> Error {
    error.position = error.position.zip(offset_chars).map(|(position, offset)| position + offset);
    error
}
