//! One process writes a data directory: an operating-system lock that the process's death lets go.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Kind, OBJECT_IN_USE, Result};

const LOCK_FILE: &str = "lock";
/// How often the lock is tried: [`holder`] holds it for a moment, and a process that just ended may do so too.
const TRIES: usize = 10;
const TRY_PAUSE: Duration = Duration::from_millis(10);

/// The hold on a data directory; dropping it lets go.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock of `dir` and writes this process's id into it.
    ///
    /// # Errors
    /// [`Kind::Denied`], naming the holder's process id, when another process has it.
    pub(crate) fn take(dir: &Path) -> Result<Self> {
        let path = dir.join(LOCK_FILE);
        let io = |error| Error::io(path.display(), error);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        let mut tries = 1;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if tries < TRIES => tries += 1,
                Err(TryLockError::WouldBlock) => return Err(held_by_another(dir, &mut file)),
                Err(TryLockError::Error(error)) => return Err(io(error)),
            }
            std::thread::sleep(TRY_PAUSE);
        }
        file.set_len(0).and_then(|()| file.seek(SeekFrom::Start(0)).map(|_| ())).map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Self { _file: file })
    }
}

/// The id of the process that holds `dir` now, if one does.
pub fn holder(dir: &Path) -> Option<u32> {
    let mut file = File::open(dir.join(LOCK_FILE)).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read_pid(&mut file),
        _ => None,
    }
}

fn held_by_another(dir: &Path, file: &mut File) -> Error {
    let holder = read_pid(file).map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    let text = format!("the data directory {} is in use by {holder}", dir.display());
    Error::new(Kind::Denied, text)
        .with_sqlstate(OBJECT_IN_USE)
        .with_hint("stop that process, or give another --data-dir")
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_refused_with_the_holder_and_a_dropped_lock_is_free() {
        let dir = tempfile::tempdir().expect("directory");
        let held = DirectoryLock::take(dir.path()).expect("free");
        let refused = DirectoryLock::take(dir.path()).expect_err("held");
        assert_eq!(refused.kind, Kind::Denied);
        assert!(refused.message.contains(&format!("process {}", std::process::id())), "{refused}");
        assert_eq!(holder(dir.path()), Some(std::process::id()));
        drop(held);
        assert_eq!(holder(dir.path()), None);
        DirectoryLock::take(dir.path()).expect("free again");
    }
}
