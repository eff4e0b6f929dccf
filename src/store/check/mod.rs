//! Checking a data directory: whether the log, the table and the trace indexes are what was written; and moving aside what is not.
//!
//! A check changes nothing and takes no lock, so that a server may run meanwhile. A repair has the directory for itself.

mod data_file;
mod log;
mod repair;
mod report;
mod table_log;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::object_store::path::Path as Location;
use tokio::runtime::Handle;

use self::data_file::{Checked, check_data_file};
use self::log::read_log;
use self::table_log::check_table_log;
use super::disk::{Disk, OsDisk};
use super::open::{Decode, decode_payload, read_node_id};
use super::place::{CacheUse, TablePlace};
use super::shared::log_dir;
use super::table::{DeltaLog, LOG_DIR};
use super::table_url::recorded;
use crate::error::{Error, Kind, Result};

pub use self::repair::{Repair, repair};
pub use self::report::{CheckReport, Finding, LogFigures, Loss, Part, TableFigures};

/// Reads all of a data directory, and tells what is not as it was written.
///
/// # Errors
/// [`Kind::NotFound`] when `dir` is no data directory, [`Kind::BadInput`] when a newer program wrote it, and when something cannot be read for another reason
/// than damage.
pub async fn check(dir: &Path) -> Result<CheckReport> {
    let place = Place::open(dir, Arc::new(OsDisk), decode_payload)?;
    blocking(move || place.check()).await
}

/// Runs work that blocks, beside the runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal(format!("checking ended badly: {error}")))?
}

/// A data directory that is checked.
#[derive(Debug)]
struct Place {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    decode: Decode,
    node: String,
    table: TablePlace,
    runtime: Handle,
}

impl Place {
    fn open(dir: &Path, disk: Arc<dyn Disk>, decode: Decode) -> Result<Self> {
        let node = read_node_id(dir)?
            .ok_or_else(|| Error::new(Kind::NotFound, format!("{} is no spanhouse data directory", dir.display())))?;
        let runtime = Handle::current();
        // Nothing is read from the cache: what a check reads is what the table has.
        let table = TablePlace::open(dir, recorded(dir)?, &disk, &runtime, None, CacheUse::Keep { bytes: 0 })?;
        Ok(Self { dir: dir.to_owned(), disk, decode, node, table, runtime })
    }

    fn load(&self) -> Result<DeltaLog> {
        self.runtime.block_on(self.table.load(&self.node))
    }

    fn check(&self) -> Result<CheckReport> {
        let mut report = CheckReport::default();
        // The log first: what of it a server moves meanwhile is in the table that is read afterwards.
        let log = read_log(self.disk.as_ref(), &log_dir(&self.dir), self.decode)?;
        let mut table = match self.load() {
            Ok(table) => table,
            Err(error) if is_of_content(&error) => {
                (report.log, report.findings) = log.beside(None);
                report.findings.push(Finding::new(Part::TableLog, LOG_DIR, error.message.into_owned()));
                return Ok(report);
            }
            Err(error) => return Err(error),
        };
        let state = table.state().clone();
        (report.log, report.findings) = log.beside(Some(state.mark));
        report.table.version = state.version;
        report.findings.extend(self.runtime.block_on(check_table_log(&self.table.store, &state, &self.node))?);
        for file in state.files.iter() {
            let Checked { findings, is_summed, is_indexed } = check_data_file(&self.runtime, &self.table.store, file)?;
            if !findings.is_empty() && self.has_left(&mut table, &file.location)? {
                continue;
            }
            report.table.files += 1;
            report.table.bytes += file.size_bytes;
            report.table.spans += file.rows;
            report.table.summed_files += u64::from(is_summed);
            report.table.indexed_files += u64::from(is_indexed);
            report.findings.extend(findings);
        }
        Ok(report)
    }

    /// Whether a file has left the table meanwhile.
    fn has_left(&self, table: &mut DeltaLog, location: &Location) -> Result<bool> {
        self.runtime.block_on(table.refresh())?;
        Ok(!table.state().files.iter().any(|file| file.location == *location))
    }
}

/// Whether it is what was read that is wrong, and not the reading.
fn is_of_content(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() != std::io::ErrorKind::NotFound) {
            return false;
        }
        cause = inner.source();
    }
    matches!(error.kind, Kind::Corrupt | Kind::Io)
}
