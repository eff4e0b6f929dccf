//! No two runs of one report at once, in whatever process: a lock that a run holds, and that its death lets go.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::time::Duration;

use super::home::ReportsHome;
use crate::error::{Error, Kind, OBJECT_IN_USE, Result};

/// How often a lock is tried: whoever asks whether a run lives holds it for a moment.
const TRIES: usize = 10;
const TRY_PAUSE: Duration = Duration::from_millis(5);

/// A report's turn; dropping it lets the next run begin.
#[derive(Debug)]
pub(super) struct Turn {
    _file: File,
}

impl Turn {
    /// Takes the turn of a report.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] with SQLSTATE 55006 while another run of it has not ended.
    pub(super) fn take(home: &ReportsHome, report: &str) -> Result<Self> {
        let dir = home.locks();
        let path = dir.join(report);
        let failed = |error| Error::io(format!("cannot lock {}", path.display()), error);
        fs::create_dir_all(&dir).map_err(failed)?;
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(failed)?;
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < TRIES => std::thread::sleep(TRY_PAUSE),
                Err(TryLockError::WouldBlock) => return Err(busy(report)),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
        }
        Ok(Self { _file: file })
    }

    /// Whether a run of the report lives now.
    pub(super) fn is_taken(home: &ReportsHome, report: &str) -> bool {
        let Ok(file) = File::open(home.locks().join(report)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}

fn busy(report: &str) -> Error {
    let kind = Kind::Overloaded { retry_after: Duration::from_secs(1) };
    Error::new(kind, format!("report {report} is running already")).with_sqlstate(OBJECT_IN_USE).with_hint(
        "no two runs of one report are at work at once; wait for it to end, `spanhouse report history` tells when",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_one_turn_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = ReportsHome::new(folder.path());
        assert!(!Turn::is_taken(&home, "a"));
        let turn = Turn::take(&home, "a").expect("free");
        assert!(Turn::is_taken(&home, "a") && !Turn::is_taken(&home, "b"));
        assert_eq!(Turn::take(&home, "a").expect_err("taken").sqlstate(), OBJECT_IN_USE);
        let _other = Turn::take(&home, "b").expect("another report");
        drop(turn);
        assert!(!Turn::is_taken(&home, "a"));
        Turn::take(&home, "a").expect("free again");
    }
}
