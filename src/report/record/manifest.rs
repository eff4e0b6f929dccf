//! The manifest: which files are the table.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::store::failpoint;

/// The manifest's name in the table's folder.
pub(super) const MANIFEST: &str = "manifest.json";
const PARTIAL: &str = "manifest.json.partial";
const FORMAT: u32 = 1;

/// A version of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub format: u32,
    /// Goes up by one with each run that changed something.
    pub version: u64,
    /// The newest last.
    pub files: Vec<FileEntry>,
    /// The last run of each report whose rows are in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<RecordedRun>,
    /// Up to when rows were removed that are kept no longer, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expired_to_ms: Option<i64>,
}

/// A run whose rows are in a table: whatever becomes of its process, it ended well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedRun {
    pub report: String,
    pub run: String,
    pub rows: u64,
}

/// A file of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    pub name: String,
    pub bytes: u64,
    pub rows: u64,
}

impl Default for Manifest {
    fn default() -> Self {
        Self { format: FORMAT, version: 0, files: Vec::new(), runs: Vec::new(), expired_to_ms: None }
    }
}

impl Manifest {
    /// The version after this one, with other files.
    pub fn next(&self, files: Vec<FileEntry>) -> Self {
        Self { version: self.version + 1, files, ..self.clone() }
    }

    /// The same with the rows of a run in it.
    pub fn with_run(mut self, run: RecordedRun) -> Self {
        self.runs.retain(|known| known.report != run.report);
        self.runs.push(run);
        self
    }

    /// The name of the `number`-th file that the version after this one has first.
    pub fn next_file(&self, number: usize) -> String {
        format!("{:010}-{number:03}.parquet", self.version + 1)
    }

    /// Reads the manifest of a table's folder; `None` when it has none, and is no table.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] when it is not one that this program writes.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(Error::io(format!("cannot read {}", path.display()), error)),
        };
        let damaged = |why: &dyn std::fmt::Display| Error::corrupt(format!("{} is damaged: {why}", path.display()));
        let manifest: Self = serde_json::from_str(&text).map_err(|error| damaged(&error))?;
        if manifest.format != FORMAT {
            return Err(damaged(&format!("its format is {}, and this program reads {FORMAT}", manifest.format)));
        }
        match manifest.files.iter().find(|file| !is_plain(&file.name)) {
            Some(file) => Err(damaged(&format!("\"{}\" is no name of a file", file.name))),
            None => Ok(Some(manifest)),
        }
    }

    /// Puts the manifest in the place of the one that may be there, durably.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let partial = folder.join(PARTIAL);
        let text = serde_json::to_string(self).map_err(|error| Error::internal(error.to_string()))?;
        let written = File::create(&partial).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        failpoint("record_manifest");
        let swapped = written.and_then(|()| fs::rename(&partial, folder.join(MANIFEST)));
        failpoint("record_swapped");
        let synced = swapped.and_then(|()| sync_folder(folder));
        synced.map_err(|error| Error::io(format!("cannot write {}", folder.join(MANIFEST).display()), error))
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Whether there is no such file, also because what should be its folder is none.
pub(super) fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether a name stays in its folder.
fn is_plain(name: &str) -> bool {
    name.ends_with(".parquet") && !name.contains(['/', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_what_is_no_manifest_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(Manifest::read(folder.path()).expect("readable"), None);
        let entry = FileEntry { name: Manifest::default().next_file(2), bytes: 10, rows: 3 };
        assert_eq!(entry.name, "0000000001-002.parquet");
        let manifest = Manifest::default().next(vec![entry]);
        manifest.write(folder.path()).expect("written");
        assert_eq!(Manifest::read(folder.path()).expect("readable"), Some(manifest.clone()));
        let run = |report: &str, run: &str| RecordedRun { report: report.into(), run: run.into(), rows: 3 };
        let later = manifest.with_run(run("a", "a@1")).with_run(run("b", "b@1")).with_run(run("a", "a@2"));
        assert_eq!(later.runs, [run("b", "b@1"), run("a", "a@2")], "the last one of each report");
        later.write(folder.path()).expect("written");
        assert_eq!(Manifest::read(folder.path()).expect("readable"), Some(later));
        for text in [
            "",
            "{}",
            r#"{"format":2,"version":1,"files":[]}"#,
            r#"{"format":1,"version":1,"files":[{"name":"../a.parquet","bytes":1,"rows":1}]}"#,
        ] {
            fs::write(folder.path().join(MANIFEST), text).expect("written");
            let error = Manifest::read(folder.path()).expect_err(text);
            assert_eq!(error.kind, crate::error::Kind::Corrupt, "{error}");
        }
    }
}
