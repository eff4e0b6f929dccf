//! Files that a crash left between writing and committing.

use std::fs;
use std::io;
use std::path::Path;

use super::FileName;
use crate::error::{Error, Result};
use crate::store::wal::Lsn;

/// Removes data files that `node` wrote and never committed; gives how many. May only run while no sealing does.
///
/// Such a file bears the node's name and a record number above the table's low-water mark: the commit that would have put it into the table
/// would have raised the mark.
pub(crate) fn remove_orphans(table_root: &Path, node: &str, mark: Lsn) -> Result<usize> {
    let failed = |error| Error::io(table_root.display(), error);
    let mut removed = 0;
    for dir in entries(table_root).map_err(failed)? {
        let is_partition = dir.file_name().is_some_and(|name| name.to_string_lossy().contains('='));
        for path in if is_partition { entries(&dir).map_err(failed)? } else { Vec::new() } {
            let name = path.file_name().and_then(|name| FileName::parse(&name.to_string_lossy()));
            if name.is_some_and(|name| name.node == node && name.mark > mark) {
                fs::remove_file(&path).map_err(failed)?;
                removed += 1;
            }
        }
    }
    Ok(removed)
}

fn entries(dir: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    match fs::read_dir(dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        entries => entries?.map(|entry| entry.map(|entry| entry.path())).collect(),
    }
}
