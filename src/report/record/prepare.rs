//! Puts a run's rows into a table in two steps: what can fail, and the one step that makes them its rows.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{Schema, SchemaRef};

use super::columns::{aligned, kept, united};
use super::files::{self, NewFile, copy, count_gone, damaged};
use super::folder::{TablesFolder, check_name};
use super::gone::Gone;
use super::held::Held;
use super::manifest::{FileEntry, Manifest, RecordedRun, sync_folder};
use super::merge::to_merge;
use crate::error::{Error, Result};
use crate::report::deadline::Deadline;
use crate::report::definition::{Record, RecordMode, RowsKept};
use crate::report::frame::Frame;

/// Rows are removed by whole days, so that a table is not written anew for each run.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A result on its way into a table. Its files are written and no manifest names them: dropped, it was never there.
#[derive(Debug)]
pub struct Prepared {
    held: Held,
    before: Manifest,
    next: Manifest,
    rows: u64,
}

/// Keeps a result as `record` says, and gives how many rows it has. `window` is the run's, in milliseconds since 1970: from, and to
/// without it. It waits for others that write the table, and for the disk.
///
/// # Errors
/// [`crate::error::Kind::BadInput`] when the rows do not fit the table, which stays as it is after any error.
pub fn keep(tables: &TablesFolder, record: &Record, frame: &Frame, window: Option<(i64, i64)>) -> Result<u64> {
    let until_ms = window.map_or(i64::MIN, |(_, to_ms)| to_ms);
    prepare(tables, record, frame, window, until_ms, &Deadline::never())?.commit(None)
}

/// Writes a result as `record` says before `deadline`, so that nothing but [`Prepared::commit`] is left to do; nobody else writes the table meanwhile.
/// What is older than `record` keeps it, counted from `until_ms`, goes.
///
/// # Errors
/// As [`keep`], and [`crate::error::Kind::Cancelled`] when the time is over.
pub(in crate::report) fn prepare(
    tables: &TablesFolder,
    record: &Record,
    frame: &Frame,
    window: Option<(i64, i64)>,
    until_ms: i64,
    deadline: &Deadline,
) -> Result<Prepared> {
    check_name(&record.table)?;
    let replaced = replaced(record, window)?;
    let rows = checked(record, frame, replaced.as_ref())?;
    let held = Held::take(tables, &record.table, deadline)?;
    let before = Manifest::read(held.folder())?.unwrap_or_default();
    held.tidy();
    let expired = record.keep.as_ref().and_then(|keep| expired(keep, &before, until_ms));
    let mut writing = Writing::of(&record.table, &held, &before, &frame.schema, deadline)?;
    writing.leave_out(&gone(replaced, expired.as_ref()))?;
    writing.add(&rows)?;
    writing.merge()?;
    let files = writing.files;
    let next = match files == before.files {
        true => before.clone(),
        false => {
            Manifest { expired_to_ms: expired.map(|(_, to_ms)| to_ms).or(before.expired_to_ms), ..before.next(files) }
        }
    };
    sync_folder(held.folder()).map_err(|error| held.failed(error))?;
    Ok(Prepared { held, before, next, rows: frame.rows })
}

impl Prepared {
    /// Makes the rows those of the table, and says that they are a run's. Returns how many there are.
    ///
    /// # Errors
    /// When the disk fails.
    pub(in crate::report) fn commit(self, run: Option<RecordedRun>) -> Result<u64> {
        // A result without rows that replaces none changes nothing, and a run that is repeated does not either.
        if self.next != self.before {
            let next = match run {
                Some(run) => self.next.clone().with_run(run),
                None => self.next.clone(),
            };
            next.write(self.held.folder())?;
        }
        Ok(self.rows)
    }

    pub(in crate::report) fn rows(&self) -> u64 {
        self.rows
    }
}

/// The rows that the window takes the place of.
fn replaced(record: &Record, window: Option<(i64, i64)>) -> Result<Option<Gone>> {
    let RecordMode::ReplaceWindow { column } = &record.mode else { return Ok(None) };
    let window = window.ok_or_else(|| {
        let message = format!("cannot replace rows of reports.{}: the run has no window", record.table);
        Error::bad_input(message).with_hint("give the report a window, or record with mode append")
    })?;
    Ok(Some(Gone { column: column.clone(), stretches: vec![window] }))
}

/// The rows that are kept no longer, as the column that tells it and the first moment that stays; `None` when those went before.
fn expired(keep: &RowsKept, before: &Manifest, until_ms: i64) -> Option<(String, i64)> {
    let length_ms = i64::try_from(keep.length.as_millis()).unwrap_or(i64::MAX);
    let to_ms = until_ms.checked_sub(length_ms)?.div_euclid(DAY_MS).checked_mul(DAY_MS)?;
    let is_news = before.expired_to_ms.is_none_or(|known_ms| to_ms > known_ms);
    is_news.then(|| (keep.column.clone(), to_ms))
}

/// All that goes, by column.
fn gone(replaced: Option<Gone>, expired: Option<&(String, i64)>) -> Vec<Gone> {
    let mut gone: Vec<Gone> = replaced.into_iter().collect();
    if let Some((column, to_ms)) = expired {
        match gone.iter_mut().find(|gone| gone.column == *column) {
            Some(gone) => gone.stretches.push((i64::MIN, *to_ms)),
            None => gone.push(Gone { column: column.clone(), stretches: vec![(i64::MIN, *to_ms)] }),
        }
    }
    gone
}

/// The rows as they are kept, all of which lie in the window when they take the place of others.
fn checked(record: &Record, frame: &Frame, replaced: Option<&Gone>) -> Result<Vec<RecordBatch>> {
    let table = &record.table;
    let own = SchemaRef::new(Schema::new(kept(table, &frame.schema)?));
    let rows = frame.batches.iter().map(|batch| aligned(batch, &own)).collect::<Result<Vec<_>>>()?;
    if let Some(replaced) = replaced {
        replaced.check(table, &own)?;
        rows.iter().try_for_each(|batch| replaced.check_rows(table, batch))?;
    }
    if let Some(keep) = &record.keep {
        Gone { column: keep.column.clone(), stretches: Vec::new() }.check(table, &own)?;
    }
    Ok(rows)
}

/// The next version of a table as it is made.
struct Writing<'a> {
    held: &'a Held,
    before: &'a Manifest,
    deadline: &'a Deadline,
    /// The columns of the newest file, and all that there are with the run's.
    newest: Option<SchemaRef>,
    columns: SchemaRef,
    files: Vec<FileEntry>,
    written: usize,
}

impl<'a> Writing<'a> {
    fn of(table: &str, held: &'a Held, before: &'a Manifest, result: &Schema, deadline: &'a Deadline) -> Result<Self> {
        let folder = held.folder();
        let newest = before.files.last().map(|entry| {
            let file = files::open(folder, entry)?;
            let file = file.ok_or_else(|| damaged(&folder.join(&entry.name), &"it is not there"))?;
            files::columns(folder, entry, &file)
        });
        let newest = newest.transpose()?;
        let columns = united(table, newest.as_deref(), result)?;
        Ok(Self { held, before, deadline, newest, columns, files: before.files.clone(), written: 0 })
    }

    fn new_file(&mut self) -> Result<NewFile> {
        let name = self.before.next_file(self.written);
        self.written += 1;
        NewFile::create(self.held.folder(), name, self.columns.clone())
    }

    /// Leaves the rows out that go; what is left of files becomes one.
    fn leave_out(&mut self, gone: &[Gone]) -> Result<()> {
        gone.iter().try_for_each(|gone| self.leave_out_by(gone))
    }

    fn leave_out_by(&mut self, gone: &Gone) -> Result<()> {
        let (mut stay, mut rest) = (Vec::new(), Vec::new());
        for file in std::mem::take(&mut self.files) {
            match count_gone(self.held.folder(), &file, gone, self.deadline)? {
                0 => stay.push(file),
                all if all == file.rows => {}
                _ => rest.push(file),
            }
        }
        self.files = stay;
        self.write_as_one(&rest, Some(gone))
    }

    fn write_as_one(&mut self, files: &[FileEntry], gone: Option<&Gone>) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let mut into = self.new_file()?;
        for file in files {
            copy(self.held.folder(), file, gone, &mut into, self.deadline)?;
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
        rows.iter().try_for_each(|batch| self.deadline.check().and_then(|()| into.write(batch)))?;
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
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rows_expire_by_whole_days_and_once() {
        let keep = RowsKept { column: "time".to_owned(), length: Duration::from_secs(10 * 86_400) };
        let at = |until_ms, expired_to_ms| {
            let before = Manifest { expired_to_ms, ..Manifest::default() };
            expired(&keep, &before, until_ms).map(|(_, to_ms)| to_ms / DAY_MS)
        };
        assert_eq!(at(30 * DAY_MS + 5, None), Some(20));
        assert_eq!(at(31 * DAY_MS - 1, Some(20 * DAY_MS)), None);
        assert_eq!(at(31 * DAY_MS, Some(20 * DAY_MS)), Some(21));
        assert_eq!(at(5 * DAY_MS, Some(20 * DAY_MS)), None, "a run over a window of long ago");
        assert_eq!(at(i64::MIN, None), None);
    }
}
