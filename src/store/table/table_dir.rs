//! Where data files lie while they are not, or no longer, in the table: their names, and removing them.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use datafusion::object_store::path::Path;

use super::WrittenFile;
use super::delta::LOG_DIR;
use super::upload::Uploader;
use crate::error::{Error, Result};
use crate::model::schema;
use crate::store::clock::Clock;
use crate::store::disk::Disk;
use crate::store::wal::Lsn;

/// Who wrote a data file and from what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileName {
    pub node: String,
    pub origin: Origin,
    pub number: usize,
}

/// Where the rows of a data file came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The log, up to this record.
    Sealed(Lsn),
    /// Other data files.
    Rewritten,
}

/// What stands in the name of a rewritten file in the record's place.
const REWRITTEN: &str = "rewritten";

impl FileName {
    pub(crate) fn sealed(node: &str, mark: Lsn, number: usize) -> Self {
        Self { node: node.to_owned(), origin: Origin::Sealed(mark), number }
    }

    pub(crate) fn rewritten(node: &str, number: usize) -> Self {
        Self { node: node.to_owned(), origin: Origin::Rewritten, number }
    }

    /// A new name, which no other file has.
    pub(crate) fn to_unique_text(&self) -> String {
        let unique = uuid::Uuid::new_v4().simple();
        let origin = match self.origin {
            Origin::Sealed(mark) => format!("{:020}", mark.0),
            Origin::Rewritten => REWRITTEN.to_owned(),
        };
        format!("spans-{}-{origin}-{:04}-{unique}.parquet", self.node, self.number)
    }

    /// Reads a name that [`Self::to_unique_text`] gave.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("spans-")?.strip_suffix(".parquet")?.split('-');
        let node = parts.next()?.to_owned();
        let origin = match parts.next()? {
            REWRITTEN => Origin::Rewritten,
            mark => Origin::Sealed(Lsn(mark.parse().ok()?)),
        };
        let name = Self { node, origin, number: parts.next()?.parse().ok()? };
        (parts.next().is_some() && parts.next().is_none()).then_some(name)
    }
}

/// Where data files are written, for those who write them.
#[derive(Debug, Clone)]
pub(crate) struct TableDir {
    pub home: Home,
    /// Whether the table was named by a URL, under which others may write to it; that of a data directory has one writer at a time.
    pub is_shared: bool,
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
}

/// The place of the table's files.
#[derive(Debug, Clone)]
pub(crate) enum Home {
    /// A directory: files are written where they stay.
    Directory(PathBuf),
    /// An object store: files are written to the local directory `staging` first.
    ObjectStore { staging: PathBuf, uploader: Uploader },
}

/// Where a new file is written, and where it will be in the table.
#[derive(Debug)]
pub(super) struct NewPath {
    pub local: PathBuf,
    pub location: Path,
}

impl TableDir {
    /// The paths of a new file; directories are created on demand.
    pub(super) fn new_path(&self, date: &str, name: &FileName) -> Result<NewPath> {
        let name = name.to_unique_text();
        let partition = format!("{}={date}", schema::DATE);
        let dir = match &self.home {
            Home::Directory(root) => root.join(&partition),
            Home::ObjectStore { staging, .. } => staging.clone(),
        };
        self.disk.create_dir_all(&dir).map_err(|error| Error::io(dir.display(), error))?;
        let location = Path::from_iter([partition.as_str(), name.as_str()]);
        Ok(NewPath { local: dir.join(name), location })
    }

    /// Makes a file that was written and synced durable under its name in the table's place. Blocks.
    pub(super) fn settle(&self, path: &NewPath, size_bytes: u64) -> Result<()> {
        match &self.home {
            Home::Directory(root) => {
                let dir = path.local.parent().unwrap_or(root);
                self.disk.sync_dir(dir).map_err(|error| Error::io(dir.display(), error))
            }
            Home::ObjectStore { uploader, .. } => {
                uploader.upload(&path.local, size_bytes, &path.location, self.clock.unix_ms())?;
                self.remove_local(&path.local);
                Ok(())
            }
        }
    }

    /// Removes a file that could not be written; what stays is removed at the next start.
    pub(super) fn abandon(&self, path: &NewPath) {
        self.remove_local(&path.local);
    }

    fn remove_local(&self, path: &std::path::Path) {
        // It may not even be there; a leftover of ours is removed at the next start.
        let _ = self.disk.remove_file(path);
    }

    /// Removes the directory of a day whose last file was deleted. Whoever writes a file makes its directory anew.
    fn remove_if_empty(&self, root: &std::path::Path, location: &Path) {
        let day = location.parts().next().map(|day| root.join(day.as_ref()));
        if let Some(day) = day.filter(|day| day.is_dir()) {
            // Mostly it is not empty, and then it stays.
            let _ = self.disk.remove_dir(&day);
        }
    }

    /// Whether a commit that failed may get into the table later: a request to an object store may still be on its way when nobody waits
    /// for its answer any more. Its files must then stay.
    pub(crate) fn commits_may_come_late(&self) -> bool {
        matches!(self.home, Home::ObjectStore { .. })
    }

    /// Whether others may write to the table, and a look at it costs little: it lies in a directory.
    pub(crate) fn is_shared_nearby(&self) -> bool {
        self.is_shared && matches!(self.home, Home::Directory(_))
    }

    /// Makes the names in the table's log durable: a commit that failed may have its name all the same, which a power cut would take. Blocks.
    pub(super) fn sync_log(&self) -> Result<()> {
        let Home::Directory(root) = &self.home else { return Ok(()) };
        let log = root.join(LOG_DIR);
        match self.disk.sync_dir(&log) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io(log.display(), error)),
            _ => Ok(()),
        }
    }

    /// Deletes a data file; tells whether it was there. Blocks.
    pub(crate) fn delete(&self, location: &Path) -> Result<bool> {
        match &self.home {
            Home::ObjectStore { uploader, .. } => uploader.delete(location),
            Home::Directory(root) => match self.disk.remove_file(&root.join(location.as_ref())) {
                Ok(()) => {
                    self.remove_if_empty(root, location);
                    Ok(true)
                }
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
                Err(error) => Err(Error::io(location, error)),
            },
        }
    }

    /// Removes files that did not get into the table. A file that stays is an orphan, which the next start removes.
    pub(crate) fn remove(&self, files: &[WrittenFile]) {
        for file in files {
            if let Err(error) = self.delete(&Path::from(file.location.as_str())) {
                tracing::warn!(file = file.location, %error, "cannot remove a data file that is not in the table");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_foreign_ones_do_not() {
        for name in [FileName::sealed("0af", Lsn(12), 3), FileName::rewritten("0af", 4)] {
            assert_eq!(FileName::parse(&name.to_unique_text()), Some(name));
        }
        for foreign in ["part-0.parquet", "spans-0af-12-3.parquet", "spans-0af-x-3-u.parquet", "spans-0af-12-3-u"] {
            assert_eq!(FileName::parse(foreign), None, "{foreign}");
        }
    }
}
