//! What a session remembers while it lives: settings, its client, an open transaction; and the commands that change that.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use datafusion::arrow::array::{RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::commands::Command;
use super::execution;
use super::recorded::PinnedTables;
use super::rights::Rights;
use super::session::{Outcome, Rows};
use super::variables::Variables;
use crate::error::{Error, Result};
use crate::store::Snapshot;

/// What changes while a session lives.
#[derive(Debug, Default)]
pub(super) struct SessionData {
    pub(super) variables: Variables,
    pub(super) client: Option<SessionClient>,
    /// What a statement may hold at most, where that is less than what any may.
    pub(super) memory_limit_bytes: Option<usize>,
    pub(super) in_background: bool,
    pub(super) rights: Rights,
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
pub(super) struct ThisSession(pub(super) Arc<Mutex<SessionData>>);

impl ThisSession {
    pub(super) fn rights(&self) -> Rights {
        self.data().rights.clone()
    }

    /// The number under which others know it, where it is a client's.
    pub(super) fn process_id(&self) -> Option<i32> {
        self.data().client.map(|client| client.process_id)
    }

    fn data(&self) -> MutexGuard<'_, SessionData> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An open transaction: its snapshot, pinned by its first query, versions of recorded tables, and the settings that `SET LOCAL` will give back.
#[derive(Debug)]
struct Transaction {
    snapshot: Option<Snapshot>,
    recorded: Arc<PinnedTables>,
    /// How many statements have seen it.
    statements: usize,
    variables_before: Variables,
    local_changes: bool,
}

impl SessionData {
    /// Does what a command says.
    pub(super) fn command(&mut self, command: &Command) -> Result<Outcome> {
        let tag = match command {
            Command::Begin { tag } => {
                let variables_before = self.variables.clone();
                self.transaction.get_or_insert(Transaction {
                    snapshot: None,
                    recorded: Arc::default(),
                    statements: 0,
                    variables_before,
                    local_changes: false,
                });
                tag
            }
            Command::Commit => {
                self.end_transaction(false);
                "COMMIT"
            }
            Command::Rollback => {
                self.end_transaction(true);
                "ROLLBACK"
            }
            Command::Savepoint { tag } if self.transaction.is_some() => tag,
            Command::Savepoint { tag } => {
                return Err(
                    Error::bad_input(format!("{tag} can only be used in transaction blocks")).with_sqlstate("25P01")
                );
            }
            Command::Set { name, value, local } => {
                self.set(name, value.as_deref(), *local)?;
                "SET"
            }
            Command::SetNothing => "SET",
            Command::Reset { name: Some(name) } => {
                self.variables.set(name, None)?;
                "RESET"
            }
            Command::Reset { name: None } => {
                self.variables.reset_all();
                "RESET"
            }
            Command::Discard { all } => {
                if *all {
                    self.variables.reset_all();
                }
                if *all { "DISCARD ALL" } else { "DISCARD" }
            }
            Command::Show { name } => return show(&self.variables, name.as_deref()),
        };
        Ok(Outcome::Command(tag.to_string()))
    }

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

    /// The longest that a statement may run: what the session has set, and at most what its user may.
    pub(super) fn statement_timeout(&self) -> Option<Duration> {
        let set = self.variables.statement_timeout();
        set.into_iter().chain(self.rights.statement_timeout).min()
    }

    /// What a statement may hold in memory, where any may hold `of_all`.
    pub(super) fn memory_bytes(&self, of_all: usize) -> usize {
        let limits = self.memory_limit_bytes.into_iter().chain(self.rights.memory_bytes);
        limits.fold(of_all, usize::min)
    }

    /// Whether a transaction is open.
    pub(super) fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// The transaction's snapshot, if a statement of it has pinned one, for one statement more.
    pub(super) fn pinned(&mut self) -> Option<Snapshot> {
        let transaction = self.transaction.as_mut()?;
        let snapshot = transaction.snapshot.clone()?;
        transaction.statements += 1;
        Some(snapshot)
    }

    /// Pins a snapshot for the open transaction, unless another statement has done so meanwhile; returns the one that counts.
    pub(super) fn pin(&mut self, snapshot: Snapshot) -> Snapshot {
        let Some(transaction) = &mut self.transaction else { return snapshot };
        transaction.statements += 1;
        transaction.snapshot.get_or_insert(snapshot).clone()
    }

    /// Gives a statement `newest` in the place of what it `pinned`; not in a transaction in which other statements have seen that.
    pub(super) fn pin_instead(&mut self, pinned: &Snapshot, newest: &Snapshot) -> bool {
        let Some(Transaction { snapshot: Some(snapshot), statements, .. }) = &mut self.transaction else {
            return true;
        };
        // Another transaction may have begun since.
        let is_pinned = Arc::ptr_eq(&snapshot.files, &pinned.files);
        if is_pinned && *statements == 1 {
            *snapshot = newest.clone();
        }
        !is_pinned || *statements == 1
    }

    /// Where a statement pins the versions of recorded tables: a place of its own, or the transaction's.
    pub(super) fn recorded(&self) -> Arc<PinnedTables> {
        self.transaction.as_ref().map(|transaction| transaction.recorded.clone()).unwrap_or_default()
    }

    fn end_transaction(&mut self, rolled_back: bool) {
        if let Some(transaction) = self.transaction.take()
            && (rolled_back || transaction.local_changes)
        {
            self.variables = transaction.variables_before;
        }
    }
}

/// The columns of what `SHOW` gives; `None` for other commands.
pub(super) fn show_schema(command: &Command) -> Result<Option<SchemaRef>> {
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
