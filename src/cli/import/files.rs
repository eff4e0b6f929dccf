//! Which files an import reads, and in which order.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Error, Kind, Result};

/// Something to import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Source {
    /// A file, or standard input as `-`.
    File(PathBuf),
    /// The root of a Delta table.
    DeltaTable(PathBuf),
}

impl Source {
    pub(in crate::cli) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::DeltaTable(path) => path,
        }
    }

    /// What there is to read, as far as that can be told.
    pub(in crate::cli) fn size_bytes(&self) -> u64 {
        match self {
            Self::File(path) => fs::metadata(path).map_or(0, |file| file.len()),
            Self::DeltaTable(_) => 0,
        }
    }
}

/// The files that paths name, and those in directories that they name; all that cannot be read is told at once, before anything is imported.
pub(in crate::cli) fn sources(paths: &[PathBuf]) -> Result<Vec<Source>> {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for path in paths {
        if path.as_os_str() == "-" {
            found.push(Source::File(path.clone()));
        } else if let Err(why) = look(path, &mut found) {
            wrong.push(format!("{}: {why}", path.display()));
        }
    }
    match &wrong[..] {
        [] => Ok(found),
        [one] => Err(Error::new(Kind::Io, format!("cannot read {one}; nothing was imported"))),
        many => {
            let text = format!("cannot read {} files; nothing was imported:\n  {}", many.len(), many.join("\n  "));
            Err(Error::new(Kind::Io, text))
        }
    }
}

fn look(path: &Path, found: &mut Vec<Source>) -> Result<(), String> {
    let file = fs::File::open(path).and_then(|file| file.metadata()).map_err(|error| error.to_string())?;
    if !file.is_dir() {
        found.push(Source::File(path.to_owned()));
        return Ok(());
    }
    if path.join("_delta_log").is_dir() {
        found.push(Source::DeltaTable(path.to_owned()));
        return Ok(());
    }
    if path.join("table").is_dir() && path.join("wal").is_dir() {
        return Err("it is a data directory; `spanhouse export --data-dir` writes files of one".to_owned());
    }
    let before = found.len();
    walk(path, found).map_err(|error| error.to_string())?;
    match found.len() == before {
        true => Err("there is no file in the directory".to_owned()),
        false => Ok(()),
    }
}

/// The files below a directory, in the order in which they were written as far as their names tell; hidden ones are left out.
fn walk(folder: &Path, found: &mut Vec<Source>) -> std::io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.retain(|entry| !entry.file_name().to_string_lossy().starts_with(['.', '_']));
    entries.sort_by_cached_key(|entry| order(&entry.file_name().to_string_lossy()));
    for entry in entries {
        let path = entry.path();
        // What a link leads to is read as what it is; a loop of directories is not followed.
        if entry.file_type()?.is_dir() {
            match path.join("_delta_log").is_dir() {
                true => found.push(Source::DeltaTable(path)),
                false => walk(&path, found)?,
            }
        } else if path.is_file() {
            found.push(Source::File(path));
        }
    }
    Ok(())
}

/// Sorts files as they were rotated: `traces-2026-01-05T09-00-00.000.json` before `traces.json`, and `traces.json.2` before `traces.json.1`
/// before `traces.json`.
fn order(name: &str) -> (String, u8, u64, String) {
    let plain = name.trim_end_matches(".gz").trim_end_matches(".zst");
    let numbered = plain.rsplit_once('.').and_then(|(stem, number)| Some((stem, number.parse::<u32>().ok()?)));
    if let Some((stem, number)) = numbered {
        return (stem_of(stem), 0, u64::from(u32::MAX - number), name.to_owned());
    }
    match dated(plain) {
        Some(stem) => (stem, 0, 0, name.to_owned()),
        None => (stem_of(plain), 1, 0, name.to_owned()),
    }
}

/// A name without its ending.
fn stem_of(name: &str) -> String {
    name.split('.').next().unwrap_or(name).to_owned()
}

/// The name before the time that a rotated file bears, `-2026-01-05T09-00-00.000`.
fn dated(name: &str) -> Option<String> {
    let shape = |text: &str| -> String { text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect() };
    let at = shape(name).find("-0000-00-00T00-00-00")?;
    Some(name[..at].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_files_come_in_the_order_of_their_writing() {
        let mut names = [
            "traces.json",
            "b.jsonl",
            "traces-2026-01-06T09-00-00.000.json.gz",
            "b.jsonl.2",
            "traces-2026-01-05T09-00-00.000.json",
            "b.jsonl.10.gz",
            "b.jsonl.1",
            "a.otlp",
        ];
        names.sort_by_cached_key(|name| order(name));
        let wanted = [
            "a.otlp",
            "b.jsonl.10.gz",
            "b.jsonl.2",
            "b.jsonl.1",
            "b.jsonl",
            "traces-2026-01-05T09-00-00.000.json",
            "traces-2026-01-06T09-00-00.000.json.gz",
            "traces.json",
        ];
        assert_eq!(names, wanted);
    }

    #[test]
    fn directories_are_looked_through_and_tables_are_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let made = |path: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            std::fs::write(&path, "x").expect("written");
            path
        };
        let (b, a) = (made("b/c.json"), made("a.json"));
        made(".hidden");
        made("t/_delta_log/0.json");
        let found = sources(&[folder.path().to_owned()]).expect("sources");
        assert_eq!(found, [Source::File(a), Source::File(b), Source::DeltaTable(folder.path().join("t"))]);
        std::fs::create_dir(folder.path().join("empty")).expect("made");
        let error = sources(&[folder.path().join("empty")]).expect_err("empty").to_string();
        assert!(error.ends_with("empty: there is no file in the directory; nothing was imported"), "{error}");
    }
}
