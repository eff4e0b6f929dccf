//! The files of the folder: listed, compared with what they were, and read where they changed.
//!
//! Whoever may write into the folder decides what runs; still, no file in it may hang, exhaust or confuse the server: what is not a
//! plain text of modest length is refused by name.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::kept::Kept;
use super::place::{Place, Verdict, Watched};
use crate::report::header::{self, Parsed, Source, is_name};
use crate::report::mistake::Mistake;

/// More than this is no report.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// More files than anybody keeps reports.
const MAX_ENTRIES: usize = 10_000;
/// A file that was written so short a time before it was read may have been written again within the same tick of its clock.
const RACY_NS: i128 = 2_000_000_000;
/// The file of silences, which is no report's header.
const SILENCES: &str = "silences";

/// Whether changed files are read at once, or once they have stayed the same for a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    Now,
    OnceStill,
}

/// What the files of a report were at some time: for each the time of its last change, its length and its number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    files: Vec<Result<(i128, u64, u64), String>>,
    /// Whether they were written too short a time ago to be sure of.
    is_racy: bool,
}

/// What was seen of a report.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Seen {
    Missing,
    Same,
    Changing(Stamp),
    Read(Stamp, Box<Result<Parsed, Vec<Mistake>>>),
}

/// What was seen of the folder.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub reports: BTreeMap<String, Seen>,
    /// Mistakes of files that are no report's.
    pub stray: Vec<Mistake>,
    /// Whether all that is in the folder was seen, and it is the folder.
    pub is_listed: bool,
    /// What is remembered for the next look.
    pub watched: Watched,
}

/// The files of a report.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Files {
    sql: Option<PathBuf>,
    toml: Option<PathBuf>,
}

/// Looks at the folder. Waits for the disk.
pub(super) fn scan(dir: &Path, known: &BTreeMap<String, Kept>, watched: Watched, haste: Haste) -> Scanned {
    let mut scanned = Scanned { watched, ..Scanned::default() };
    // What was known goes on where the reports were not taken away.
    let goes_on = || known.keys().map(|name| (name.clone(), Seen::Same)).collect();
    let listed = Place::of(dir).and_then(|place| Ok((place, list(dir, &mut scanned.stray)?)));
    let (place, (listed, is_whole)) = match listed {
        Ok(listed) => listed,
        Err(error) => {
            // A folder that never was there need not be.
            if error.kind() != io::ErrorKind::NotFound || !known.is_empty() {
                let why = format!("the reports folder cannot be read: {error}; what was read before goes on");
                scanned.stray.push(Mistake::of_file(dir, why));
            }
            return Scanned { reports: goes_on(), ..scanned };
        }
    };
    let verdict = scanned.watched.look(place, !listed.is_empty());
    scanned.is_listed = is_whole && verdict == Verdict::Whole;
    if verdict != Verdict::Whole {
        scanned.stray.extend((!known.is_empty()).then(|| Mistake::of_file(dir, empty(verdict))));
        return Scanned { reports: goes_on(), ..scanned };
    }
    scanned.reports = known.keys().map(|name| (name.clone(), Seen::Missing)).collect();
    for (name, files) in listed {
        match files {
            Files { sql: Some(sql), toml } => {
                let seen = look(&name, &sql, toml.as_deref(), known.get(&name), haste);
                scanned.reports.insert(name, seen);
            }
            Files { toml: Some(toml), .. } => {
                let why = format!("there is no {name}.sql beside it");
                scanned.stray.push(Mistake::of_file(&toml, why));
            }
            Files { sql: None, toml: None } => {}
        }
    }
    scanned
}

/// Why reports go on though the folder has none.
fn empty(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::EmptyAtOnce => {
            "the reports folder is empty at once; what was read before goes on for some seconds, and is gone if it is empty then"
        }
        Verdict::Elsewhere | Verdict::Whole => {
            "the reports folder is empty, and another than the one that had reports, as where a volume is not mounted; what was read before goes on \
             until a report is in it or the server starts again"
        }
    }
}

/// The reports by name, and whether these are all; what cannot be one is a mistake.
fn list(dir: &Path, stray: &mut Vec<Mistake>) -> io::Result<(BTreeMap<String, Files>, bool)> {
    let mut reports: BTreeMap<String, Files> = BTreeMap::new();
    for (number, entry) in std::fs::read_dir(dir)?.enumerate() {
        if number >= MAX_ENTRIES {
            stray.push(Mistake::of_file(dir, format!("only the first {MAX_ENTRIES} files are looked at")));
            return Ok((reports, false));
        }
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Editors and those who copy files leave hidden ones behind.
        let Some((stem, ending)) = name.rsplit_once('.').filter(|_| !name.starts_with('.')) else { continue };
        if !matches!(ending, "sql" | "toml") || (stem, ending) == (SILENCES, "toml") {
            continue;
        }
        if !is_name(stem) || stem == SILENCES {
            let why = match stem {
                SILENCES => "this name is taken by silences.toml: rename it",
                _ => "a report is named by its file, with a-z, 0-9, _ and - and not more than 100 of them: rename it",
            };
            stray.push(Mistake::of_file(&path, why));
            continue;
        }
        let files = reports.entry(stem.to_owned()).or_default();
        match ending {
            "sql" => files.sql = Some(path),
            _ => files.toml = Some(path),
        }
    }
    Ok((reports, true))
}

/// Compares a report's files with what they were, and reads them if they changed.
fn look(name: &str, sql: &Path, toml: Option<&Path>, known: Option<&Kept>, haste: Haste) -> Seen {
    let stamp = Stamp::of(sql, toml);
    match wants(known, &stamp, haste) {
        Wants::Nothing => Seen::Same,
        Wants::ToWait => Seen::Changing(stamp),
        Wants::ToRead => {
            let read = source(name, sql, toml).map_err(|mistake| vec![mistake]);
            Seen::Read(stamp, Box::new(read.and_then(|source| header::parse(&source))))
        }
    }
}

/// What is to be done about a report's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wants {
    Nothing,
    ToWait,
    ToRead,
}

fn wants(known: Option<&Kept>, stamp: &Stamp, haste: Haste) -> Wants {
    let read = known.and_then(|kept| kept.read.as_ref());
    match read {
        Some(read) if read.files == stamp.files && !read.is_racy => Wants::Nothing,
        Some(read) if read.files == stamp.files => Wants::ToRead,
        _ if haste == Haste::Now => Wants::ToRead,
        _ if known.and_then(|kept| kept.changing.as_ref()).is_some_and(|seen| seen.files == stamp.files) => {
            Wants::ToRead
        }
        _ => Wants::ToWait,
    }
}

impl Stamp {
    fn of(sql: &Path, toml: Option<&Path>) -> Self {
        let files = [Some(sql), toml].into_iter().flatten();
        let files: Vec<_> = files.map(|path| stamp_of(path).map_err(|error| error.to_string())).collect();
        let now_ns =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i128);
        let is_racy = files.iter().flatten().any(|(changed_ns, ..)| now_ns - changed_ns < RACY_NS);
        Self { files, is_racy }
    }
}

fn stamp_of(path: &Path) -> io::Result<(i128, u64, u64)> {
    let metadata: Metadata = std::fs::metadata(path)?;
    let changed_ns = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
    Ok((changed_ns, metadata.len(), metadata.ino()))
}

fn source(name: &str, sql: &Path, toml: Option<&Path>) -> Result<Source, Mistake> {
    let text = |path: &Path| read(path).map_err(|why| Mistake::of_file(path, why));
    let toml = match toml {
        Some(path) => Some((path.to_owned(), text(path)?)),
        None => None,
    };
    Ok(Source { name: name.to_owned(), sql_path: sql.to_owned(), sql: text(sql)?, toml })
}

/// The text of a file, or why it has none.
fn read(path: &Path) -> Result<String, String> {
    let cannot = |error: io::Error| format!("it cannot be read: {error}");
    // Opening a pipe would wait for somebody to write into it.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file: File = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err("it is no file with a text".to_owned());
    }
    if metadata.len() > MAX_FILE_BYTES {
        return Err(format!("it has {} bytes, at most {MAX_FILE_BYTES} are read", metadata.len()));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it has more than {MAX_FILE_BYTES} bytes"));
    }
    if let Some(at) = bytes.iter().position(|byte| *byte == 0) {
        return Err(format!("it is not text: there is a zero at byte {}", at + 1));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..valid].iter().filter(|byte| **byte == b'\n').count();
        format!("it is not UTF-8 text: see line {line}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(changed_ns: i128, is_racy: bool) -> Stamp {
        Stamp { files: vec![Ok((changed_ns, 10, 1))], is_racy }
    }

    #[test]
    fn what_changed_is_read_once_it_is_still() {
        let read = |stamp| Some(Kept { read: Some(stamp), ..Kept::default() });
        let changing = |read, changing| Some(Kept { read: Some(read), changing: Some(changing), ..Kept::default() });
        let (old, new) = (stamp(1, false), stamp(2, false));
        for (known, haste, expected) in [
            (None, Haste::Now, Wants::ToRead),
            (None, Haste::OnceStill, Wants::ToWait),
            (read(new.clone()), Haste::OnceStill, Wants::Nothing),
            (read(stamp(2, true)), Haste::OnceStill, Wants::ToRead),
            (read(old.clone()), Haste::OnceStill, Wants::ToWait),
            (read(old.clone()), Haste::Now, Wants::ToRead),
            (changing(old.clone(), new.clone()), Haste::OnceStill, Wants::ToRead),
            (changing(old.clone(), stamp(3, false)), Haste::OnceStill, Wants::ToWait),
        ] {
            assert_eq!(wants(known.as_ref(), &new, haste), expected, "{known:?}");
        }
    }
}
