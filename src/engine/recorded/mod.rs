//! The schema `reports`: tables that reports keep, which come, grow and are replaced while the engine runs.
//!
//! [`RecordedTables`] tells what there is; nothing here knows where files lie, and nothing here writes. A statement holds the files open
//! that it reads: it sees one version of a table to its end, whatever is replaced or deleted meanwhile.

mod open_file;
mod pinned;
mod schema;
mod table;

use std::fmt;
use std::fs::File;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::datatypes::SchemaRef;

use crate::error::Result;

pub(super) use pinned::PinnedTables;
pub(super) use schema::RecordedSchema;
pub(super) use table::is_recorded;

/// The tables that reports keep, wherever that is.
pub trait RecordedTables: fmt::Debug + Send + Sync {
    /// The names of the tables, in order.
    fn names(&self) -> Vec<String>;
    /// The columns that a table has now; `None` when there is no such table.
    fn columns(&self, name: &str) -> Result<Option<SchemaRef>>;
    /// A table as it is now, with its files open; `None` when there is no such table.
    fn open(&self, name: &str) -> Result<Option<RecordedVersion>>;
}

/// A table at one moment.
#[derive(Debug, Clone)]
pub struct RecordedVersion {
    /// All columns, each of which may be NULL; a file may lack some of them.
    pub schema: SchemaRef,
    pub files: Vec<RecordedFile>,
}

/// A Parquet file of a table.
#[derive(Debug, Clone)]
pub struct RecordedFile {
    /// What errors and plans call it.
    pub name: String,
    pub bytes: u64,
    pub file: Arc<File>,
}

/// Whoever knows the tables, once somebody does.
#[derive(Default)]
pub(super) struct Recorded(OnceLock<Arc<dyn RecordedTables>>);

impl Recorded {
    /// Asks `tables` from now on; only the first caller is heard.
    pub fn ask(&self, tables: Arc<dyn RecordedTables>) {
        let _ = self.0.set(tables);
    }

    fn tables(&self) -> Option<&Arc<dyn RecordedTables>> {
        self.0.get()
    }

    /// Whether there is a table of that name.
    pub fn has(&self, name: &str) -> bool {
        self.columns(name).is_some()
    }

    /// The tables with their columns, in order of name. One that cannot be read is left out: that is for whoever asks for it.
    pub fn listed(&self) -> Vec<(String, SchemaRef)> {
        let names = self.tables().map(|tables| tables.names()).unwrap_or_default();
        names.into_iter().filter_map(|name| self.columns(&name).map(|columns| (name, columns))).collect()
    }

    fn columns(&self, name: &str) -> Option<SchemaRef> {
        self.tables()?.columns(name).ok().flatten()
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Recorded").field(&self.0.get()).finish()
    }
}
