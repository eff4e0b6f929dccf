//! Which version of a recorded table a statement sees.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{RecordedTables, RecordedVersion};
use crate::error::{Error, Kind, Result};

/// The versions that a statement, or the transaction around it, sees: that of a table's first scan is that of all.
#[derive(Debug, Default)]
pub(in crate::engine) struct PinnedTables(Mutex<BTreeMap<String, Arc<RecordedVersion>>>);

impl PinnedTables {
    /// The table's version, which is the newest when nobody has asked before.
    pub(super) fn version(&self, name: &str, tables: &dyn RecordedTables) -> Result<Arc<RecordedVersion>> {
        let mut pinned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(version) = pinned.get(name) {
            return Ok(version.clone());
        }
        let version = tables.open(name)?.map(Arc::new).ok_or_else(|| gone(name))?;
        pinned.insert(name.to_owned(), version.clone());
        Ok(version)
    }
}

fn gone(name: &str) -> Error {
    Error::new(Kind::NotFound, format!("relation \"reports.{name}\" does not exist any more")).with_sqlstate("42P01")
}
