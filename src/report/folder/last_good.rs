//! The last good version of each report on disk, for the next process: a server that starts while a report's file has a mistake goes on with it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::report::header::{self, Definition, Source};
use crate::report::home::ReportsHome;
use crate::store::{Disk, OsDisk, write_whole};

/// The folder with a file for each report.
#[derive(Debug)]
pub(super) struct LastGood {
    dir: PathBuf,
}

/// The texts of a version, and the hash of them that it goes by.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Texts {
    version: String,
    sql_path: PathBuf,
    sql: String,
    toml: Option<(PathBuf, String)>,
}

impl LastGood {
    pub fn new(home: &ReportsHome) -> Self {
        Self { dir: home.last_good() }
    }

    /// What a process before this one wrote of a report; nothing where none did, or where it is not what was written. Waits for the disk.
    pub fn read(&self, name: &str) -> Option<Definition> {
        let path = self.dir.join(file_of(name));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    tracing::warn!(path = %path.display(), %error, "the last good version of a report could not be read");
                }
                return None;
            }
        };
        let definition = serde_json::from_str(&text).ok().and_then(|texts| definition(name, texts));
        if definition.is_none() {
            tracing::warn!(path = %path.display(), "the last good version of a report is not as it was written");
        }
        definition
    }

    /// Writes a version down, if it is another than the one that is. Waits for the disk.
    pub fn write(&self, definition: &Definition) {
        if let Err(error) = self.try_write(definition) {
            let (report, dir) = (&definition.report.name, self.dir.display());
            tracing::warn!(report, %dir, %error, "the last good version of a report could not be written down");
        }
    }

    fn try_write(&self, definition: &Definition) -> io::Result<()> {
        let Source { name, sql_path, sql, toml } = definition.source.as_ref().clone();
        let texts = Texts { version: definition.report.version.clone(), sql_path, sql, toml };
        let (file, text) = (file_of(&name), serde_json::to_string(&texts)?);
        if fs::read_to_string(self.dir.join(&file)).is_ok_and(|known| known == text) {
            return Ok(());
        }
        OsDisk.create_dir_all(&self.dir)?;
        write_whole(&OsDisk, &self.dir, &file, text)
    }

    /// Forgets all reports but these: another with the name of one that is gone has nothing to do with it. Waits for the disk.
    pub fn keep_only(&self, names: &BTreeSet<String>) {
        let kept: BTreeSet<String> = names.iter().map(|name| file_of(name)).collect();
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            if entry.file_name().to_str().is_none_or(|file| !kept.contains(file)) {
                remove(&entry.path());
            }
        }
    }
}

fn file_of(name: &str) -> String {
    format!("{name}.json")
}

fn definition(name: &str, texts: Texts) -> Option<Definition> {
    let Texts { version, sql_path, sql, toml } = texts;
    let parsed = header::parse(&Source { name: name.to_owned(), sql_path, sql, toml }).ok()?;
    (parsed.report.version == version).then(|| Definition::of(parsed))
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "the last good version of a report that is gone could not be removed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str, sql: &str, toml: Option<&str>) -> Definition {
        let toml = toml.map(|text| (format!("{name}.toml").into(), text.to_owned()));
        let source =
            Source { name: name.to_owned(), sql_path: format!("{name}.sql").into(), sql: sql.to_owned(), toml };
        Definition::of(header::parse(&source).expect("right"))
    }

    #[test]
    fn what_was_written_is_read_and_nothing_else_is() {
        let data = tempfile::tempdir().expect("a folder");
        let good = LastGood::new(&ReportsHome::new(data.path()));
        assert_eq!(good.read("a"), None, "nobody wrote any");
        let one = version("a", "-- title = \"One\"\nSELECT 1", None);
        let two = version("a", "SELECT 2", Some("title = \"Two\""));
        for version in [&one, &two, &two] {
            good.write(version);
            assert_eq!(good.read("a").as_ref(), Some(version));
        }
        assert!(good.read("b").is_none());
        good.write(&version("c", "SELECT 4", None));
        good.keep_only(&BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        assert_eq!((good.read("a"), good.read("c")), (Some(two), None));
        let path = data.path().join("reports/last_good/a.json");
        let text = fs::read_to_string(&path).expect("there");
        for other in ["", "{}", &text.replace("SELECT 2", "SELECT 7"), &text[..text.len() - 5]] {
            fs::write(&path, other).expect("written");
            assert_eq!(good.read("a"), None, "{other}");
        }
    }
}
