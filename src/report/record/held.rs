//! The right to write a table: one writer at a time, in whatever process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::folder::TablesFolder;
use super::manifest::{Manifest, sync_folder};
use crate::error::{Error, Result};
use crate::report::deadline::Deadline;

/// The lock's name in a table's folder.
const LOCK: &str = "lock";
/// How often the right is asked for.
const TRY_PAUSE: Duration = Duration::from_millis(10);

/// A table's folder that nobody else writes. Dropped, it has no files but those that its manifest names.
#[derive(Debug)]
pub(super) struct Held {
    folder: PathBuf,
    _lock: File,
}

impl Held {
    /// Makes the table's folder, durably, and waits for the right to write it until `deadline`.
    pub fn take(tables: &TablesFolder, table: &str, deadline: &Deadline) -> Result<Self> {
        let folder = tables.folder_of(table);
        let failed = |error| Error::io(format!("cannot write {}", folder.display()), error);
        fs::create_dir_all(&folder).map_err(failed)?;
        let mut parents = tables.dir().ancestors().take(3).filter(|parent| parent.is_dir());
        parents.try_for_each(sync_folder).map_err(failed)?;
        let lock =
            OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(LOCK)).map_err(failed)?;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => deadline.check()?,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            std::thread::sleep(TRY_PAUSE);
        }
        Ok(Self { folder, _lock: lock })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn failed(&self, error: io::Error) -> Error {
        Error::io(format!("cannot write {}", self.folder.display()), error)
    }

    /// Removes files that are not the table's: what a run left that died, and what was replaced. The next run tries again where this one cannot.
    pub fn tidy(&self) {
        // Of a table whose manifest cannot be read nobody knows which they are.
        let Ok(manifest) = Manifest::read(&self.folder) else { return };
        let named = manifest.map(|manifest| manifest.files).unwrap_or_default();
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_ours = name.ends_with(".parquet") || name.ends_with(".partial");
            if is_ours && named.iter().all(|file| file.name != name) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.tidy();
    }
}
