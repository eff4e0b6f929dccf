//! Prepared statements and portals of one session: the wire's and SQL's share their names.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

use super::cursor::Cursor;
use super::row::{Column, Format};
use super::sql::Command;
use crate::engine::Statement;
use crate::error::{Error, Kind, Result};

/// Most prepared statements of a session; drivers that cache keep a few hundred.
const MAX_PREPARED: usize = 4_096;
/// Most open portals of a session; each may hold a running statement.
const MAX_PORTALS: usize = 256;

/// A statement that is ready to be bound.
#[derive(Debug)]
pub(super) struct Prepared {
    /// As the client sent it.
    pub(super) text: Arc<str>,
    pub(super) command: Command,
    /// The engine's part: the statement itself, or the query inside a `DECLARE` or `COPY`. `None` for an empty statement.
    pub(super) statement: Option<Statement>,
    pub(super) parameters: Vec<Parameter>,
    /// The result's columns, where they are known before it runs.
    pub(super) columns: Option<Arc<[Column]>>,
    /// Characters before the engine's part in what the client sent; `None` when positions mean nothing to it.
    pub(super) offset_chars: Option<usize>,
}

/// A parameter `$n`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parameter {
    /// As the client sends it.
    pub(super) oid: u32,
    /// As the statement takes it, where that is known.
    pub(super) wanted: Option<DataType>,
    /// Whether a text that is a number is one: the client declared no type, and the parameter is ordered against an attribute.
    pub(super) may_be_number: bool,
}

/// A bound statement, and how far it has run.
pub(super) struct Portal {
    pub(super) prepared: Arc<Prepared>,
    pub(super) values: Vec<ScalarValue>,
    /// Result formats as the client gave them: none, one for all, or one a column.
    pub(super) formats: Vec<Format>,
    pub(super) state: PortalState,
    /// Whether it outlives its transaction.
    pub(super) hold: bool,
}

/// How far a portal has run.
pub(super) enum PortalState {
    New,
    Open(Cursor),
    /// A `FETCH` that still has this many rows to give.
    Fetching {
        left: u64,
    },
    Done,
}

/// The named things of a session.
#[derive(Default)]
pub(super) struct Named {
    prepared: HashMap<String, Arc<Prepared>>,
    portals: HashMap<String, Portal>,
}

impl Named {
    /// Keeps a prepared statement; the unnamed one is replaced, a named one is not.
    pub(super) fn add_prepared(&mut self, name: String, prepared: Arc<Prepared>) -> Result<()> {
        if !name.is_empty() && self.prepared.contains_key(&name) {
            return Err(
                Error::bad_input(format!("prepared statement \"{name}\" already exists")).with_sqlstate("42P05")
            );
        }
        if self.prepared.len() >= MAX_PREPARED && !self.prepared.contains_key(&name) {
            return Err(Error::new(
                Kind::TooLarge,
                format!("more than {MAX_PREPARED} prepared statements; deallocate some"),
            )
            .with_sqlstate("53400"));
        }
        self.prepared.insert(name, prepared);
        Ok(())
    }

    /// Finds a prepared statement.
    pub(super) fn prepared(&self, name: &str) -> Result<Arc<Prepared>> {
        self.prepared.get(name).cloned().ok_or_else(|| match name {
            "" => Error::new(Kind::NotFound, "unnamed prepared statement does not exist").with_sqlstate("26000"),
            name => Error::new(Kind::NotFound, format!("prepared statement \"{name}\" does not exist"))
                .with_sqlstate("26000"),
        })
    }

    /// Drops a prepared statement and returns whether there was one.
    pub(super) fn drop_prepared(&mut self, name: &str) -> bool {
        self.prepared.remove(name).is_some()
    }

    /// Drops every prepared statement.
    pub(super) fn drop_all_prepared(&mut self) {
        self.prepared.clear();
    }

    /// Keeps a portal; the unnamed one is replaced, a named one is not.
    pub(super) fn add_portal(&mut self, name: String, portal: Portal) -> Result<()> {
        if !name.is_empty() && self.portals.contains_key(&name) {
            return Err(Error::bad_input(format!("cursor \"{name}\" already exists")).with_sqlstate("42P03"));
        }
        if self.portals.len() >= MAX_PORTALS && !self.portals.contains_key(&name) {
            return Err(Error::new(Kind::TooLarge, format!("more than {MAX_PORTALS} open cursors; close some"))
                .with_sqlstate("53400"));
        }
        self.portals.insert(name, portal);
        Ok(())
    }

    /// Finds a portal.
    pub(super) fn portal(&self, name: &str) -> Result<&Portal> {
        self.portals.get(name).ok_or_else(|| no_portal(name))
    }

    /// Takes a portal out, to run it; it is put back with [`Self::put_back`].
    pub(super) fn take_portal(&mut self, name: &str) -> Result<Portal> {
        self.portals.remove(name).ok_or_else(|| no_portal(name))
    }

    /// Puts a portal back after it ran.
    pub(super) fn put_back(&mut self, name: String, portal: Portal) {
        self.portals.insert(name, portal);
    }

    /// Drops a portal and returns whether there was one.
    pub(super) fn drop_portal(&mut self, name: &str) -> bool {
        self.portals.remove(name).is_some()
    }

    /// Drops the portals that end with their transaction.
    pub(super) fn end_transaction(&mut self) {
        self.portals.retain(|_, portal| portal.hold);
    }

    /// Drops every portal.
    pub(super) fn drop_all_portals(&mut self) {
        self.portals.clear();
    }
}

fn no_portal(name: &str) -> Error {
    Error::new(Kind::NotFound, format!("cursor \"{name}\" does not exist")).with_sqlstate("34000")
}

/// Spreads result formats over columns as `Bind` defines it.
pub(super) fn spread(formats: &[Format], columns: usize) -> Result<Vec<Format>> {
    match formats {
        [] => Ok(vec![Format::Text; columns]),
        [one] => Ok(vec![*one; columns]),
        many if many.len() == columns => Ok(many.to_vec()),
        many => Err(Error::bad_input(format!(
            "bind message has {} result formats but query has {columns} columns",
            many.len()
        ))
        .with_sqlstate("08P01")),
    }
}
