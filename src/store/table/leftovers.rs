//! Files that a crash left between writing and naming, or between writing and committing.

use std::collections::HashSet;
use std::fs;
use std::future::ready;
use std::io;
use std::path::{Path as FsPath, PathBuf};

use chrono::{DateTime, Utc};
use datafusion::object_store::path::Path;
use datafusion::object_store::{Error as StoreError, ObjectMeta, ObjectStore, ObjectStoreExt};
use futures::TryStreamExt;

use super::delta::LOG_DIR;
use super::local_store::is_temporary_name;
use super::{FileName, Home, TableDir};
use crate::error::{Error, Kind, Result};
use crate::store::disk::Disk;

/// How long a file on an object store, or a file without a name in a directory that others write to, is left alone: far longer than any request or
/// write under way takes to come to its end.
pub(crate) const YOUNG_MS: i64 = 600_000;

/// What was found that no commit names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Leftovers {
    /// Data files that were removed.
    pub orphans: usize,
    /// Files that had not got their name yet and were removed.
    pub temporary: usize,
    /// Data files on an object store that were left there: a commit that names them may have been on its way when the process that
    /// wrote them ended, and come into the table yet.
    pub young: Vec<Path>,
}

/// Removes data files that `node` wrote and the table's log does not name, and our files without a name of their own. May only run while
/// this node writes no files.
///
/// `named` are the files that are in the table or have left it. A table without a version names no files: then none is removed.
pub(crate) async fn remove_leftovers(
    table: &TableDir,
    store: &dyn ObjectStore,
    node: &str,
    named: Option<&HashSet<Path>>,
) -> Result<Leftovers> {
    match &table.home {
        Home::Directory(root) => remove_from_directory(table, root, node, named),
        Home::ObjectStore { staging, .. } => {
            let temporary = remove_staged(table.disk.as_ref(), staging)?;
            let Some(named) = named else { return Ok(Leftovers { temporary, ..Leftovers::default() }) };
            let (orphans, young) = remove_objects(table, store, node, named).await?;
            Ok(Leftovers { orphans, temporary, young })
        }
    }
}

/// Whether what was changed last at that time may still be somebody's work.
fn is_young(table: &TableDir, changed_unix_ms: i64) -> bool {
    table.clock.unix_ms().saturating_sub(changed_unix_ms) < YOUNG_MS
}

/// Whether a file of the table is one that `node` wrote and nobody names.
fn is_orphan(location: &Path, node: &str, named: &HashSet<Path>) -> bool {
    let is_ours = location.filename().and_then(FileName::parse).is_some_and(|name| name.node == node);
    let mut folders = location.parts();
    let in_partition = folders.next().is_some_and(|folder| folder.as_ref().contains('='));
    is_ours && in_partition && folders.count() == 1 && !named.contains(location)
}

/// Gives the number of those that were removed, and those that were left.
async fn remove_objects(
    table: &TableDir,
    store: &dyn ObjectStore,
    node: &str,
    named: &HashSet<Path>,
) -> Result<(usize, Vec<Path>)> {
    let failed = |error| Error::new(Kind::Io, format!("cannot remove what a crash left in the table: {error}"));
    let listed = store.list(None).try_filter(|object| ready(is_orphan(&object.location, node, named)));
    let orphans: Vec<ObjectMeta> = listed.try_collect().await.map_err(failed)?;
    let (mut removed, mut young) = (0, Vec::new());
    for orphan in orphans {
        if is_young(table, orphan.last_modified.timestamp_millis()) {
            young.push(orphan.location);
            continue;
        }
        match store.delete(&orphan.location).await {
            Ok(()) => removed += 1,
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok((removed, young))
}

/// Removes files that were written and not uploaded.
fn remove_staged(disk: &dyn Disk, staging: &FsPath) -> Result<usize> {
    let failed = |error| Error::io(staging.display(), error);
    let staged = disk.list(staging).map_err(failed)?;
    for file in &staged {
        disk.remove_file(&staging.join(&file.name)).map_err(failed)?;
    }
    Ok(staged.len())
}

fn remove_from_directory(
    table: &TableDir,
    root: &FsPath,
    node: &str,
    named: Option<&HashSet<Path>>,
) -> Result<Leftovers> {
    let failed = |error| Error::io(root.display(), error);
    let mut removed = Leftovers::default();
    let top = entries(root).map_err(failed)?;
    let mut files: Vec<PathBuf> = Vec::new();
    for path in top.iter().filter(|path| is_ours(path)) {
        files.extend(entries(path).map_err(failed)?);
    }
    for path in top.into_iter().chain(files) {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        let location = path.strip_prefix(root).ok().and_then(|below| Path::parse(below.to_str()?).ok());
        let is_orphan =
            location.zip(named).is_some_and(|(location, named)| is_orphan(&location, node, named)) && path.is_file();
        let is_temporary =
            is_temporary_name(name) && path.is_file() && !(table.is_shared && is_young_file(table, &path));
        if is_orphan || is_temporary {
            table.disk.remove_file(&path).map_err(failed)?;
            removed.orphans += usize::from(is_orphan);
            removed.temporary += usize::from(is_temporary);
        }
    }
    Ok(removed)
}

/// Whether another server may be writing the file at this moment.
fn is_young_file(table: &TableDir, path: &FsPath) -> bool {
    let Ok(changed) = path.metadata().and_then(|meta| meta.modified()) else { return true };
    is_young(table, DateTime::<Utc>::from(changed).timestamp_millis())
}

/// Whether files in this directory of the table may be ours.
fn is_ours(dir: &FsPath) -> bool {
    is_partition(dir) || dir.file_name().is_some_and(|name| name == LOG_DIR)
}

fn is_partition(dir: &FsPath) -> bool {
    dir.file_name().is_some_and(|name| name.to_string_lossy().contains('='))
}

fn entries(dir: &FsPath) -> io::Result<Vec<PathBuf>> {
    match fs::read_dir(dir) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        entries => entries?.map(|entry| entry.map(|entry| entry.path())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::object_store::memory::InMemory;

    use super::*;
    use crate::store::disk::OsDisk;
    use crate::store::testing::ManualClock;

    #[tokio::test]
    async fn in_a_directory_that_others_write_to_a_file_without_a_name_is_left_alone_while_it_is_young() {
        let now_ms = Utc::now().timestamp_millis();
        for (is_shared, age_ms, removed) in
            [(false, 0, 1), (true, 0, 0), (true, YOUNG_MS - 60_000, 0), (true, YOUNG_MS + 60_000, 1)]
        {
            let root = tempfile::tempdir().expect("directory");
            let log = root.path().join(LOG_DIR);
            fs::create_dir(&log).expect("created");
            let temporary = log.join(".0f8fad5b-d9cb-469f-a165-70867728950e.tmp");
            fs::write(&temporary, "half a commit").expect("written");
            let clock = Arc::new(ManualClock((now_ms + age_ms).into()));
            let home = Home::Directory(root.path().to_owned());
            let table = TableDir { home, is_shared, disk: Arc::new(OsDisk), clock };
            let found = remove_leftovers(&table, &InMemory::new(), "0af", None).await.expect("looked at");
            assert_eq!(found, Leftovers { temporary: removed, ..Leftovers::default() }, "{is_shared} {age_ms}");
            assert_eq!(temporary.exists(), removed == 0);
        }
    }
}
