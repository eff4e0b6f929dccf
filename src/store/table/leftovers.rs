//! Files that a crash left between writing and naming, or between writing and committing.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::FileName;
use super::local_store::is_temporary_name;
use crate::error::{Error, Result};

/// How many files were removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Leftovers {
    /// Data files that no commit names.
    pub orphans: usize,
    /// Files that had not got their name yet.
    pub temporary: usize,
}

/// Removes data files that `node` wrote and the table's log does not name, and our files without a name of their own. May only run while
/// nothing writes files.
///
/// `named` are the files that are in the table or have left it. A table without a version names no files: then none is removed.
pub(crate) fn remove_leftovers(table_root: &Path, node: &str, named: Option<&HashSet<PathBuf>>) -> Result<Leftovers> {
    let failed = |error| Error::io(table_root.display(), error);
    let mut removed = Leftovers::default();
    let top = entries(table_root).map_err(failed)?;
    let mut files: Vec<PathBuf> = Vec::new();
    for path in top.iter().filter(|path| is_ours(path)) {
        files.extend(entries(path).map_err(failed)?);
    }
    for path in top.into_iter().chain(files) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let is_orphan = path.parent().is_some_and(is_partition)
            && FileName::parse(name).is_some_and(|name| name.node == node)
            && named.is_some_and(|named| !named.contains(&path));
        let is_temporary = is_temporary_name(name) && path.is_file();
        if is_orphan || is_temporary {
            fs::remove_file(&path).map_err(failed)?;
            removed.orphans += usize::from(is_orphan);
            removed.temporary += usize::from(is_temporary);
        }
    }
    Ok(removed)
}

/// Whether files in this directory of the table may be ours.
fn is_ours(dir: &Path) -> bool {
    is_partition(dir) || dir.file_name().is_some_and(|name| name == "_delta_log")
}

fn is_partition(dir: &Path) -> bool {
    dir.file_name().is_some_and(|name| name.to_string_lossy().contains('='))
}

fn entries(dir: &Path) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        entries => entries?.map(|entry| entry.map(|entry| entry.path())).collect(),
    }
}
