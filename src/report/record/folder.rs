//! The folder of all tables, as the engine reads it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;

use super::files;
use super::manifest::{FileEntry, Manifest, RecordedRun};
use crate::engine::{RecordedFile, RecordedTables, RecordedVersion};
use crate::error::{Error, Result};
use crate::report::home::ReportsHome;

/// The longest name of a table: it is a folder too.
const MOST_NAME_BYTES: usize = 100;
/// How often a reader looks for the newest version when files of the one that it found have gone: a run replaces at most some a second.
const TRIES: usize = 20;

/// The recorded tables of a data directory.
#[derive(Debug, Clone)]
pub struct TablesFolder {
    dir: PathBuf,
}

impl TablesFolder {
    /// Those of a data directory, whether or not there are any.
    pub fn of(home: &ReportsHome) -> Self {
        Self { dir: home.tables() }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn folder_of(&self, table: &str) -> PathBuf {
        self.dir.join(table)
    }

    /// What a run has put into a table, if it came so far. `own` is the table that its report records into now.
    ///
    /// # Errors
    /// When the manifest of `own` cannot be read: nobody knows then. One of another table is told in the log and is no concern of this run.
    pub(in crate::report) fn recorded(&self, run_id: &str, own: Option<&str>) -> Result<Option<RecordedRun>> {
        for table in self.folders() {
            let manifest = match Manifest::read(&self.folder_of(&table)) {
                Err(error) if own != Some(table.as_str()) => {
                    tracing::error!(table, %error, "a recorded table cannot be read");
                    continue;
                }
                manifest => manifest?,
            };
            let runs = manifest.map(|manifest| manifest.runs).unwrap_or_default();
            if let Some(found) = runs.into_iter().find(|run| run.run == run_id) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The names of what may be tables, in order.
    pub(super) fn folders(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.filter(|name| check_name(name).is_ok()).collect();
        names.sort();
        names
    }

    /// The manifest of a table, with those of its files open that `wanted` chooses: all of one moment.
    fn opened(
        &self,
        table: &str,
        wanted: impl Fn(&Manifest) -> Vec<FileEntry>,
    ) -> Result<Option<Vec<(FileEntry, File)>>> {
        if check_name(table).is_err() {
            return Ok(None);
        }
        let folder = self.folder_of(table);
        let mut missing = None;
        for _ in 0..TRIES {
            let Some(manifest) = Manifest::read(&folder)? else { return Ok(None) };
            let mut opened = Vec::new();
            missing = None;
            for entry in wanted(&manifest) {
                match files::open(&folder, &entry)? {
                    Some(file) => opened.push((entry, file)),
                    None => missing = Some(entry),
                }
            }
            if missing.is_none() {
                return Ok(Some(opened));
            }
        }
        let name = missing.map(|entry| entry.name).unwrap_or_default();
        Err(files::damaged(&folder.join(name), &"it is not there"))
    }

    fn columns_of(&self, table: &str, newest: Option<&(FileEntry, File)>) -> Result<SchemaRef> {
        match newest {
            Some((entry, file)) => files::columns(&self.folder_of(table), entry, file),
            None => Err(Error::corrupt(format!("the recorded table reports.{table} has no files"))),
        }
    }
}

impl RecordedTables for TablesFolder {
    fn names(&self) -> Vec<String> {
        let mut names = self.folders();
        names.retain(|name| Manifest::read(&self.folder_of(name)).is_ok_and(|manifest| manifest.is_some()));
        names
    }

    fn columns(&self, name: &str) -> Result<Option<SchemaRef>> {
        let newest = self.opened(name, |manifest| manifest.files.last().cloned().into_iter().collect())?;
        newest.map(|newest| self.columns_of(name, newest.last())).transpose()
    }

    fn open(&self, name: &str) -> Result<Option<RecordedVersion>> {
        let Some(files) = self.opened(name, |manifest| manifest.files.clone())? else { return Ok(None) };
        let schema = self.columns_of(name, files.last())?;
        let file = |(entry, file): (FileEntry, File)| RecordedFile {
            name: format!("{name}/{}", entry.name),
            bytes: entry.bytes,
            file: Arc::new(file),
        };
        Ok(Some(RecordedVersion { schema, files: files.into_iter().map(file).collect() }))
    }
}

/// Refuses what is no name of a table: it is a folder's name as well.
pub(super) fn check_name(table: &str) -> Result<()> {
    let is_letter = |c: char| c.is_ascii_lowercase();
    let rest = |c: char| is_letter(c) || c.is_ascii_digit() || c == '_';
    if table.starts_with(is_letter) && table.chars().all(rest) && table.len() <= MOST_NAME_BYTES {
        return Ok(());
    }
    Err(Error::bad_input(format!("\"{table}\" is no name of a recorded table"))
        .with_hint(format!("take lower-case letters, digits and _, a letter first, {MOST_NAME_BYTES} at most")))
}
