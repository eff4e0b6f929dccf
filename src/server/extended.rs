//! The extended protocol: parse, bind, describe, execute in parts, close.

use std::sync::Arc;
use std::time::Instant;

use datafusion::arrow::datatypes::DataType;
use pgwire::messages::data::ParameterDescription;
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::EmptyQueryResponse;

use super::audited::Sent;
use super::connection::Connection;
use super::execute::Started;
use super::frontend::{Bind, Frontend, Target};
use super::parameters::decode;
use super::row::{Column, Format};
use super::simple::counted;
use super::sql::{Command, FetchCount, split};
use super::statement::{Portal, PortalState, Prepared, spread};
use super::wire::{Halt, Stops};
use crate::error::{Error, Kind};

impl Connection {
    /// Answers one message of the extended protocol.
    pub(super) async fn answer(&mut self, message: Frontend, stops: &Stops) -> Result<(), Halt> {
        match message {
            Frontend::Parse { name, query, types } => self.parse(name, &query, &types, stops).await,
            Frontend::Bind(bind) => self.bind(bind),
            Frontend::Describe(Target::Statement(name)) => self.describe_statement(&name),
            Frontend::Describe(Target::Portal(name)) => self.describe_portal(&name, stops).await,
            Frontend::Execute { portal, max_rows } => self.execute(portal, max_rows, stops).await,
            Frontend::Close(target) => {
                match target {
                    Target::Statement(name) => self.named.drop_prepared(&name),
                    Target::Portal(name) => self.named.drop_portal(&name),
                };
                self.wire.put(&CloseComplete::new());
                Ok(())
            }
            Frontend::Other(b'F') => Err(Error::bad_input("function calls of the wire are not supported; use SELECT")
                .with_sqlstate("0A000")
                .into()),
            Frontend::Other(kind) => Err(Halt::Fatal(
                Error::bad_input(format!("invalid frontend message type {kind}")).with_sqlstate("08P01"),
            )),
            // The main loop has answered these; copy data can only be left over from a copy that ended.
            Frontend::Query(_) | Frontend::Flush | Frontend::Sync | Frontend::Terminate | Frontend::Copy => Ok(()),
        }
    }

    async fn parse(&mut self, name: String, query: &str, types: &[u32], stops: &Stops) -> Result<(), Halt> {
        self.registration.runs(query);
        let began = Instant::now();
        let parsed = self.parsed(query, types, stops).await;
        let prepared = match parsed {
            Ok(prepared) => prepared,
            Err(halt) => {
                let refused = Err(halt);
                self.audited.ended(query, began, Sent::default(), &refused);
                return refused;
            }
        };
        self.named.add_prepared(name, Arc::new(prepared))?;
        self.wire.put(&ParseComplete::new());
        Ok(())
    }

    async fn parsed(&mut self, query: &str, types: &[u32], stops: &Stops) -> Result<Prepared, Halt> {
        let pieces = split(query)?;
        Ok(match pieces.as_slice() {
            [] => Prepared::empty(),
            [piece] => self.prepare(piece.text, types, Some(piece.offset_chars), stops).await?,
            _ => {
                let message = "cannot insert multiple commands into a prepared statement";
                return Err(Error::bad_input(message).into());
            }
        })
    }

    fn bind(&mut self, bind: Bind) -> Result<(), Halt> {
        let prepared = self.named.prepared(&bind.statement)?;
        self.check_aborted(&prepared.command)?;
        let formats = parameter_formats(&bind, &prepared)?;
        let mut values = Vec::with_capacity(bind.parameters.len());
        for (index, (bytes, parameter)) in bind.parameters.iter().zip(&prepared.parameters).enumerate() {
            let times = |text: &str, data_type: &DataType| self.session.time_of_text(text, data_type);
            values.push(decode(bytes.as_ref(), formats[index], parameter, index + 1, &times)?);
        }
        let formats = bind.result_formats.into_iter().map(Format::from_code).collect::<Result<Vec<_>, _>>()?;
        if let Some(columns) = &prepared.columns {
            spread(&formats, columns.len())?;
        }
        let portal = Portal { prepared, values, formats, state: PortalState::New, hold: false };
        self.named.add_portal(bind.portal, portal)?;
        self.wire.put(&BindComplete::new());
        Ok(())
    }

    fn describe_statement(&mut self, name: &str) -> Result<(), Halt> {
        let prepared = self.named.prepared(name)?;
        self.check_aborted(&prepared.command)?;
        let types = prepared.parameters.iter().map(|parameter| parameter.oid).collect();
        let columns = self.columns_of(&prepared)?;
        self.wire.put(&ParameterDescription::new(types));
        let formats = spread(&[], columns.as_ref().map_or(0, |columns| columns.len()))?;
        self.wire.put_columns(columns.as_deref(), &formats);
        Ok(())
    }

    /// Describes a portal; a query without known columns is started to learn them.
    async fn describe_portal(&mut self, name: &str, stops: &Stops) -> Result<(), Halt> {
        self.check_aborted(&self.named.portal(name)?.prepared.command.clone())?;
        let portal = self.named.portal(name)?;
        // What gives no rows has no columns to learn, and would end here already.
        let untyped = portal.prepared.columns.is_some()
            && portal.prepared.parameters.iter().any(|parameter| parameter.wanted.is_none());
        if untyped && portal.prepared.command == Command::Engine && matches!(portal.state, PortalState::New) {
            let mut portal = self.named.take_portal(name)?;
            // What a parameter's type decides is known now that it is bound.
            portal.prepared = Arc::new(portal.prepared.without_columns());
            self.start_portal(&mut portal, stops).await?;
            self.named.put_back(name.to_owned(), portal);
        }
        let portal = self.named.portal(name)?;
        let columns = match portal.columns() {
            Some(columns) => Some(columns),
            None => self.columns_of(&portal.prepared)?,
        };
        let formats = spread(&portal.formats, columns.as_ref().map_or(0, |columns| columns.len()))?;
        self.wire.put_columns(columns.as_deref(), &formats);
        Ok(())
    }

    /// Returns the columns that a statement's result will have.
    fn columns_of(&self, prepared: &Prepared) -> Result<Option<Arc<[Column]>>, Halt> {
        Ok(match &prepared.command {
            Command::Fetch { cursor, rows_shown: true, .. } => self.named.portal(cursor)?.columns(),
            Command::Execute { name, .. } => self.named.prepared(name)?.columns.clone(),
            Command::Engine => prepared.columns.clone(),
            _ => None,
        })
    }

    async fn execute(&mut self, name: String, max_rows: i32, stops: &Stops) -> Result<(), Halt> {
        let limit = match u64::try_from(max_rows) {
            Ok(0) => u64::MAX,
            Ok(limit) => limit,
            Err(_) => {
                return Err(Error::bad_input(format!("invalid row limit {max_rows} in an Execute message"))
                    .with_sqlstate("08P01")
                    .into());
            }
        };
        // Out of the map while it runs: on an error it is gone, as its statement is.
        let mut portal = self.named.take_portal(&name)?;
        self.check_aborted(&portal.prepared.command)?;
        if let Some(statement) = &portal.prepared.statement {
            self.registration.runs(&statement.text);
        }
        let began = Instant::now();
        self.wire.sent = Sent::default();
        let ended = self.execute_portal(&mut portal, limit, stops).await;
        self.audited.ended(&portal.prepared.text, began, self.wire.sent, &ended);
        ended?;
        self.named.put_back(name, portal);
        Ok(())
    }

    async fn execute_portal(&mut self, portal: &mut Portal, limit: u64, stops: &Stops) -> Result<(), Halt> {
        if portal.prepared.is_empty() {
            self.wire.put(&EmptyQueryResponse::new());
            return Ok(());
        }
        if matches!(portal.state, PortalState::Done) {
            return Err(Error::bad_input("portal cannot be run any more").with_sqlstate("55000").into());
        }
        if matches!(portal.state, PortalState::New) {
            self.start_portal(portal, stops).await?;
        }
        match &mut portal.state {
            // It had nothing to give but its tag, which is said.
            PortalState::New | PortalState::Done => {}
            PortalState::Open(cursor) => {
                let formats = spread(&portal.formats, cursor.columns().len())?;
                let sent = cursor.send(&mut self.wire, stops, &formats, limit).await?;
                if sent == limit {
                    self.wire.put(&PortalSuspended::new());
                } else {
                    self.wire.put_complete(counted(cursor.tag, sent));
                }
            }
            PortalState::Fetching { left } => {
                let Command::Fetch { cursor, .. } = &portal.prepared.command else {
                    return Err(Error::internal("a portal fetches that is no FETCH").into());
                };
                let step = limit.min(*left);
                let (rows, _) = self.fetch(cursor, FetchCount::Rows(step), true, Some(&portal.formats), stops).await?;
                *left -= rows;
                if rows == limit && rows < u64::MAX && *left > 0 {
                    self.wire.put(&PortalSuspended::new());
                } else {
                    portal.state = PortalState::Done;
                    self.wire.put_complete(counted("FETCH", rows));
                }
            }
        }
        Ok(())
    }

    /// Runs a portal up to its first row, or to its end when it has none.
    async fn start_portal(&mut self, portal: &mut Portal, stops: &Stops) -> Result<(), Halt> {
        match self.start(&portal.prepared.clone(), &portal.values, stops).await? {
            Started::Rows(cursor) => portal.state = PortalState::Open(cursor),
            Started::Done(tag) => {
                portal.state = PortalState::Done;
                self.wire.put_complete(tag);
            }
            Started::Copy(cursor, options) => {
                portal.state = PortalState::Done;
                self.copy_out(cursor, &options, stops).await?;
            }
            Started::Fetch { count: FetchCount::Rows(left), rows_shown: true, .. } => {
                portal.state = PortalState::Fetching { left };
            }
            Started::Fetch { count: FetchCount::All, rows_shown: true, .. } => {
                portal.state = PortalState::Fetching { left: u64::MAX };
            }
            Started::Fetch { cursor, count, rows_shown } => {
                portal.state = PortalState::Done;
                let (rows, _) = self.fetch(&cursor, count, rows_shown, Some(&portal.formats), stops).await?;
                self.wire.put_complete(counted(if rows_shown { "FETCH" } else { "MOVE" }, rows));
            }
        }
        Ok(())
    }
}

fn parameter_formats(bind: &Bind, prepared: &Prepared) -> Result<Vec<Format>, Error> {
    let violation = |message: String| Error::new(Kind::BadInput, message).with_sqlstate("08P01");
    let (given, needed) = (bind.parameters.len(), prepared.parameters.len());
    if given != needed {
        return Err(violation(format!(
            "bind message supplies {given} parameters, but prepared statement \"{}\" requires {needed}",
            bind.statement
        )));
    }
    let formats = bind.parameter_formats.iter().map(|code| Format::from_code(*code)).collect::<Result<Vec<_>, _>>()?;
    match formats.as_slice() {
        [] => Ok(vec![Format::Text; given]),
        [one] => Ok(vec![*one; given]),
        many if many.len() == given => Ok(formats),
        many => Err(violation(format!("bind message has {} parameter formats but {given} parameters", many.len()))),
    }
}
