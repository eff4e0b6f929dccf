//! Where data files lie while they are not, or no longer, in the table: their names, and removing them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::WrittenFile;
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

/// The table's directory, for those who write data files.
#[derive(Debug, Clone)]
pub(crate) struct TableDir {
    pub root: PathBuf,
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
}

impl TableDir {
    /// The directory of a date's files, created on demand.
    pub(crate) fn date_dir(&self, date: &str) -> Result<PathBuf> {
        let dir = self.root.join(format!("{}={date}", schema::DATE));
        self.disk.create_dir_all(&dir).map_err(|error| Error::io(dir.display(), error))?;
        Ok(dir)
    }

    /// The path of a file as the table names it.
    pub(crate) fn below_root(&self, path: &Path) -> Result<String> {
        let below = path.strip_prefix(&self.root).map_err(|error| Error::internal(error.to_string()))?;
        Ok(below.to_string_lossy().into_owned())
    }

    /// Removes files that did not get into the table. A file that stays is an orphan, which the next start removes.
    pub(crate) fn remove(&self, files: &[WrittenFile]) {
        for file in files {
            if let Err(error) = self.disk.remove_file(&self.root.join(&file.location)) {
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
