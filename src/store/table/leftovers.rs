//! Files that a crash left between writing and naming, or between writing and committing.

use std::collections::HashSet;
use std::fs;
use std::future::ready;
use std::io;
use std::path::{Path as FsPath, PathBuf};

use datafusion::object_store::path::Path;
use datafusion::object_store::{Error as StoreError, ObjectStore, ObjectStoreExt};
use futures::TryStreamExt;

use super::local_store::is_temporary_name;
use super::{FileName, Home, TableDir};
use crate::error::{Error, Kind, Result};
use crate::store::disk::Disk;

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
pub(crate) async fn remove_leftovers(
    table: &TableDir,
    store: &dyn ObjectStore,
    node: &str,
    named: Option<&HashSet<Path>>,
) -> Result<Leftovers> {
    match &table.home {
        Home::Directory(root) => remove_from_directory(table.disk.as_ref(), root, node, named),
        Home::ObjectStore { staging, .. } => {
            let temporary = remove_staged(table.disk.as_ref(), staging)?;
            let Some(named) = named else { return Ok(Leftovers { orphans: 0, temporary }) };
            Ok(Leftovers { orphans: remove_objects(store, node, named).await?, temporary })
        }
    }
}

/// Whether a file of the table is one that `node` wrote and nobody names.
fn is_orphan(location: &Path, node: &str, named: &HashSet<Path>) -> bool {
    let is_ours = location.filename().and_then(FileName::parse).is_some_and(|name| name.node == node);
    let mut folders = location.parts();
    let in_partition = folders.next().is_some_and(|folder| folder.as_ref().contains('='));
    is_ours && in_partition && folders.count() == 1 && !named.contains(location)
}

async fn remove_objects(store: &dyn ObjectStore, node: &str, named: &HashSet<Path>) -> Result<usize> {
    let failed = |error| Error::new(Kind::Io, format!("cannot remove what a crash left in the table: {error}"));
    let listed = store.list(None).map_ok(|object| object.location);
    let orphans: Vec<Path> =
        listed.try_filter(|location| ready(is_orphan(location, node, named))).try_collect().await.map_err(failed)?;
    let mut removed = 0;
    for orphan in orphans {
        match store.delete(&orphan).await {
            Ok(()) => removed += 1,
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(removed)
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
    disk: &dyn Disk,
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
        let is_temporary = is_temporary_name(name) && path.is_file();
        if is_orphan || is_temporary {
            disk.remove_file(&path).map_err(failed)?;
            removed.orphans += usize::from(is_orphan);
            removed.temporary += usize::from(is_temporary);
        }
    }
    Ok(removed)
}

/// Whether files in this directory of the table may be ours.
fn is_ours(dir: &FsPath) -> bool {
    is_partition(dir) || dir.file_name().is_some_and(|name| name == "_delta_log")
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
