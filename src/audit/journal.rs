//! The files of the audit log: `audit-00000000000000000001.jsonl`, each named by its first line's number, appended to and never changed.
//!
//! A server writes them, and commands beside it do. Whoever appends has the lock for as long as that takes, and first looks whether the chain has grown
//! meanwhile: then its file has, or was full.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};

use super::line::{BEGINNING, Event, Line, hash};
use crate::error::{Error, Kind, OBJECT_IN_USE, Result};

/// A file is closed when it has grown beyond this.
pub(super) const FILE_BYTES: u64 = 16 << 20;
/// More files than these are not kept, however young: whoever is refused without end must not fill the disk.
pub(super) const MOST_FILES: usize = 64;

const LOCK_FILE: &str = "lock";
const PREFIX: &str = "audit-";
const SUFFIX: &str = ".jsonl";

/// How often it is tried to get the lock, which is had for some microseconds, and the pause between: whoever stops in between must not stop others.
const LOCK_TRIES: u32 = 100;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// The log, open for more.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    lock: File,
    end: End,
    has_begun_file: bool,
}

/// The end of the chain, as it was when this was last looked at.
#[derive(Debug)]
struct End {
    file: File,
    len_bytes: u64,
    /// The number of the next line.
    next: u64,
    /// The hash of the last line.
    prev: String,
}

/// How a file of the log ends.
struct Ending {
    /// The number and the hash of its last line.
    last: Option<(u64, String)>,
    /// Behind the last whole line.
    len_bytes: u64,
}

impl Journal {
    /// Opens the log at its end; what a crash left of an unfinished line is cut off.
    ///
    /// # Errors
    /// [`crate::error::Kind::Corrupt`] when its last line is none.
    pub fn open(folder: &Path) -> Result<Self> {
        let failed = |error: io::Error| Error::io(folder.display(), error);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let lock = open_file(&folder.join(LOCK_FILE))?;
        let end = locked(&lock, folder, || End::find(folder))?;
        Ok(Self { folder: folder.to_owned(), lock, end, has_begun_file: false })
    }

    /// Appends a line.
    pub fn append(&mut self, at: DateTime<Utc>, event: &Event) -> Result<()> {
        let (folder, end) = (&self.folder, &mut self.end);
        self.has_begun_file |= locked(&self.lock, folder, || {
            let is_full = end.len_bytes >= FILE_BYTES;
            if is_full || !end.is_last().map_err(|error| Error::io(folder.display(), error))? {
                *end = End::find(folder)?;
            }
            let begins_file = end.len_bytes >= FILE_BYTES;
            if begins_file {
                end.begin_file(folder)?;
            }
            end.append(folder, at, event)?;
            Ok(begins_file)
        })?;
        Ok(())
    }

    /// Whether a new file was begun since this was last asked: then others may be too many.
    pub fn has_begun_file(&mut self) -> bool {
        std::mem::take(&mut self.has_begun_file)
    }

    /// Makes all lines durable.
    pub fn sync(&self) -> Result<()> {
        self.end.file.sync_data().map_err(|error| Error::io(self.folder.display(), error))
    }

    /// Removes files in which nothing was written for `keep`, and those above the most; not the one that is written.
    pub fn forget(&self, keep: Option<Duration>, now: SystemTime) -> Result<usize> {
        locked(&self.lock, &self.folder, || self.remove_old(keep, now))
    }

    fn remove_old(&self, keep: Option<Duration>, now: SystemTime) -> Result<usize> {
        let files = files(&self.folder)?;
        let closed = &files[..files.len().saturating_sub(1)];
        let too_many = files.len().saturating_sub(MOST_FILES);
        let mut removed = 0;
        for (at, path) in closed.iter().enumerate() {
            let age = path
                .metadata()
                .and_then(|meta| meta.modified())
                .ok()
                .and_then(|written| now.duration_since(written).ok());
            let is_old = keep.is_some_and(|keep| age.is_some_and(|age| age > keep));
            if !is_old && at >= too_many {
                break;
            }
            fs::remove_file(path).map_err(|error| Error::io(path.display(), error))?;
            removed += 1;
        }
        Ok(removed)
    }
}

impl End {
    /// Looks for it; what a crash left of an unfinished line is cut off.
    fn find(folder: &Path) -> Result<Self> {
        let files = files(folder)?;
        let mut last = None;
        let mut open = None;
        for path in files.iter().rev() {
            let ending = ending(path)?;
            open.get_or_insert((path.clone(), ending.len_bytes));
            last = ending.last;
            if last.is_some() {
                break;
            }
        }
        let (number, prev) = last.unwrap_or((0, BEGINNING.to_owned()));
        let (path, len_bytes) = open.unwrap_or_else(|| (path_of(folder, number + 1), 0));
        let mut file = open_file(&path)?;
        let at_end = file.set_len(len_bytes).and_then(|()| file.seek(SeekFrom::Start(len_bytes)));
        at_end.map_err(|error| Error::io(path.display(), error))?;
        Ok(Self { file, len_bytes, next: number + 1, prev })
    }

    /// Whether nothing has come behind it, in a file that is not full.
    fn is_last(&self) -> io::Result<bool> {
        Ok(self.file.metadata()?.len() == self.len_bytes)
    }

    fn append(&mut self, folder: &Path, at: DateTime<Utc>, event: &Event) -> Result<()> {
        let text = Line::text(self.next, at, event, &self.prev)?;
        let hash = hash(text.as_bytes());
        if let Err(error) = self.file.write_all(format!("{text}\n").as_bytes()) {
            // What is there of the line would otherwise stand before the next one.
            let _ = self.file.set_len(self.len_bytes).and_then(|()| self.file.seek(SeekFrom::Start(self.len_bytes)));
            return Err(Error::io(folder.display(), error));
        }
        self.len_bytes += text.len() as u64 + 1;
        self.next += 1;
        self.prev = hash;
        Ok(())
    }

    fn begin_file(&mut self, folder: &Path) -> Result<()> {
        let failed = |error: io::Error| Error::io(folder.display(), error);
        self.file.sync_data().map_err(failed)?;
        self.file = open_file(&path_of(folder, self.next))?;
        self.len_bytes = 0;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

/// Does something with the log that nobody else changes meanwhile.
fn locked<T>(lock: &File, folder: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    for _ in 0..LOCK_TRIES {
        match lock.try_lock() {
            Ok(()) => {
                let done = work();
                // Closing the file would let go of it as well.
                let _ = lock.unlock();
                return done;
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(Error::io(folder.join(LOCK_FILE).display(), error)),
        }
    }
    let message = format!("another process has the audit log in {} and does not let go of it", folder.display());
    Err(Error::new(Kind::Denied, message).with_sqlstate(OBJECT_IN_USE))
}

/// The files of the log, oldest first.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| Error::io(folder.display(), error))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| Error::io(folder.display(), error))?.path();
        if first_number(&path).is_some() {
            files.push(path);
        }
    }
    // The numbers have leading zeros.
    files.sort();
    Ok(files)
}

/// The number of the first line of a file, by its name.
pub(super) fn first_number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

fn path_of(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("{PREFIX}{first:020}{SUFFIX}"))
}

fn open_file(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
    opened.map_err(|error| Error::io(path.display(), error))
}

fn ending(path: &Path) -> Result<Ending> {
    let bytes = fs::read(path).map_err(|error| Error::io(path.display(), error))?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let Some(lines) = bytes[..whole].strip_suffix(b"\n") else { return Ok(Ending { last: None, len_bytes: 0 }) };
    let last = lines.rsplit(|byte| *byte == b'\n').next().unwrap_or(lines);
    let line = Line::parse(last).map_err(|why| {
        let message = format!("the last line of the audit log {} is damaged: {why}", path.display());
        Error::corrupt(message)
            .with_hint("`spanhouse audit verify` tells where; move the folder elsewhere to begin a new log")
    })?;
    Ok(Ending { last: Some((line.n, hash(last))), len_bytes: whole as u64 })
}
