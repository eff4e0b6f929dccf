//! Keeps a run's rows in a table: whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::path::Path;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};

use super::columns::{aligned, kept, united};
use super::files::{self, NewFile, copy, count_replaced, damaged};
use super::folder::{TablesFolder, check_name};
use super::manifest::{FileEntry, Manifest, sync_folder};
use super::merge::to_merge;
use super::replace::Replaced;
use crate::error::{Error, Result};
use crate::report::definition::{Record, RecordMode};
use crate::report::frame::Frame;

/// The lock's name in a table's folder: one writer at a time, in whatever process.
const LOCK: &str = "lock";

/// Keeps a result as `record` says, and gives how many rows it has. `window` is the run's, in milliseconds since 1970: from, and to
/// without it. It waits for others that write the table, and for the disk.
///
/// # Errors
/// [`crate::error::Kind::BadInput`] when the rows do not fit the table, which stays as it is after any error.
pub fn keep(tables: &TablesFolder, record: &Record, frame: &Frame, window: Option<(i64, i64)>) -> Result<u64> {
    check_name(&record.table)?;
    let replaced = match &record.mode {
        RecordMode::Append => None,
        RecordMode::ReplaceWindow { column } => {
            let (from_ms, to_ms) = window.ok_or_else(|| {
                let message = format!("cannot replace rows of reports.{}: the run has no window", record.table);
                Error::bad_input(message).with_hint("give the report a window, or record with mode append")
            })?;
            Some(Replaced { column: column.clone(), from_ms, to_ms })
        }
    };
    let rows = checked(&record.table, frame, replaced.as_ref())?;
    let folder = tables.folder_of(&record.table);
    let _lock = locked(tables.dir(), &folder)?;
    let before = Manifest::read(&folder)?.unwrap_or_default();
    remove_others(&folder, &before);
    let kept = Writing::of(&record.table, &folder, before, &frame.schema).and_then(|mut writing| {
        writing.replace(replaced.as_ref())?;
        writing.add(&rows)?;
        writing.merge()?;
        writing.commit()
    });
    // What no manifest names is of no use to anybody; the next run tries again where this one cannot.
    remove_others(&folder, &Manifest::read(&folder)?.unwrap_or_default());
    kept?;
    Ok(frame.rows)
}

/// The rows as they are kept, all of which lie in the window when there is one.
fn checked(table: &str, frame: &Frame, replaced: Option<&Replaced>) -> Result<Vec<RecordBatch>> {
    let own = SchemaRef::new(Schema::new(kept(table, &frame.schema)?));
    let rows = frame.batches.iter().map(|batch| aligned(batch, &own)).collect::<Result<Vec<_>>>()?;
    if let Some(replaced) = replaced {
        replaced.check(table, &own)?;
        rows.iter().try_for_each(|batch| replaced.check_rows(table, batch))?;
    }
    Ok(rows)
}

/// Makes the table's folder, durably, and takes the right to write it.
fn locked(tables: &Path, folder: &Path) -> Result<File> {
    let io = |error| Error::io(format!("cannot write {}", folder.display()), error);
    fs::create_dir_all(folder).map_err(io)?;
    let parents = tables.ancestors().take(3).filter(|parent| parent.is_dir());
    parents.into_iter().try_for_each(sync_folder).map_err(io)?;
    let lock = OpenOptions::new().write(true).create(true).truncate(false).open(folder.join(LOCK)).map_err(io)?;
    lock.lock().map_err(io)?;
    Ok(lock)
}

/// Removes files that are not the table's: what a run left that died, and what was replaced.
fn remove_others(folder: &Path, manifest: &Manifest) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_ours = name.ends_with(".parquet") || name.ends_with(".partial");
        if is_ours && manifest.files.iter().all(|file| file.name != name) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// The next version of a table as it is made.
struct Writing<'a> {
    folder: &'a Path,
    before: Manifest,
    /// The columns of the newest file, and all that there are with the run's.
    newest: Option<SchemaRef>,
    columns: SchemaRef,
    files: Vec<FileEntry>,
    written: usize,
}

impl<'a> Writing<'a> {
    fn of(table: &str, folder: &'a Path, before: Manifest, result: &Schema) -> Result<Self> {
        let newest = before.files.last().map(|entry| {
            let file = files::open(folder, entry)?;
            let file = file.ok_or_else(|| damaged(&folder.join(&entry.name), &"it is not there"))?;
            files::columns(folder, entry, &file)
        });
        let newest = newest.transpose()?;
        let columns = united(table, newest.as_deref(), result)?;
        let files = before.files.clone();
        Ok(Self { folder, before, newest, columns, files, written: 0 })
    }

    fn new_file(&mut self) -> Result<NewFile> {
        let name = self.before.next_file(self.written);
        self.written += 1;
        NewFile::create(self.folder, name, self.columns.clone())
    }

    /// Leaves the rows out that are replaced; what is left of files becomes one.
    fn replace(&mut self, replaced: Option<&Replaced>) -> Result<()> {
        let Some(replaced) = replaced else { return Ok(()) };
        let (mut stay, mut rest) = (Vec::new(), Vec::new());
        for file in std::mem::take(&mut self.files) {
            match count_replaced(self.folder, &file, replaced)? {
                0 => stay.push(file),
                all if all == file.rows => {}
                _ => rest.push(file),
            }
        }
        self.files = stay;
        self.write_as_one(&rest, Some(replaced))
    }

    fn write_as_one(&mut self, files: &[FileEntry], replaced: Option<&Replaced>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let mut into = self.new_file()?;
        for file in files {
            copy(self.folder, file, replaced, &mut into)?;
        }
        let file = into.finish()?;
        self.files.push(file);
        Ok(())
    }

    /// Adds the run's rows. A file without any is for its columns, where no other tells all of them.
    fn add(&mut self, rows: &[RecordBatch]) -> Result<()> {
        let is_empty = rows.iter().all(|batch| batch.num_rows() == 0);
        let is_newest = self.files.last().is_some_and(|last| self.before.files.last() == Some(last));
        let is_told = self.newest.as_ref() == Some(&self.columns) && is_newest;
        if is_empty && (is_told || self.written > 0) {
            return Ok(());
        }
        let mut into = self.new_file()?;
        rows.iter().try_for_each(|batch| into.write(batch))?;
        let file = into.finish()?;
        self.files.push(file);
        Ok(())
    }

    /// Makes one file of the smallest when there are many.
    fn merge(&mut self) -> Result<()> {
        let bytes: Vec<u64> = self.files.iter().map(|file| file.bytes).collect();
        let places = to_merge(&bytes);
        if places.is_empty() {
            return Ok(());
        }
        let (mut merged, mut stay) = (Vec::new(), Vec::new());
        for (at, file) in std::mem::take(&mut self.files).into_iter().enumerate() {
            if places.contains(&at) { merged.push(file) } else { stay.push(file) }
        }
        self.files = stay;
        self.write_as_one(&merged, None)
    }

    fn commit(self) -> Result<()> {
        if self.files == self.before.files {
            return Ok(());
        }
        let failed = |error| Error::io(format!("cannot write {}", self.folder.display()), error);
        sync_folder(self.folder).map_err(failed)?;
        self.before.next(self.files).write(self.folder)
    }
}
