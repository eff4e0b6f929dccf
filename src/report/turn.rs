//! No two runs of one report at once, in whatever process: a lock that a run holds, and that its death lets go. Another one says that the
//! deliveries of runs by hand are being made, so that nobody else makes them, and runs need not wait for receivers.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
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
    /// Shared with the runs of all reports.
    _no_standstill: File,
}

/// Nothing runs in whatever process until it is dropped, and nothing ran when it was taken.
#[derive(Debug)]
pub struct Standstill {
    _file: File,
}

impl Standstill {
    /// Stops reports from running.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] with SQLSTATE 55006 while one does.
    pub fn take(home: &ReportsHome) -> Result<Self> {
        let path = home.standstill();
        fs::create_dir_all(home.dir()).map_err(|error| cannot_lock(&path, error))?;
        let file = opened(&path)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {
                let message = "a report is running, and what it read is not recorded yet";
                Err(in_use(message.to_owned()).with_hint("go on once it has ended"))
            }
            Err(TryLockError::Error(error)) => Err(cannot_lock(&path, error)),
        }
    }
}

/// Deliveries of a report that a process makes for a person. Several may.
#[derive(Debug)]
pub(super) struct Delivering {
    _file: File,
}

impl Delivering {
    /// Tells other processes to leave the report's deliveries alone until it is dropped.
    pub(super) fn take(home: &ReportsHome, report: &str) -> Result<Self> {
        let path = path_of(home, report);
        fs::create_dir_all(home.locks()).map_err(|error| cannot_lock(&path, error))?;
        let file = opened(&path)?;
        // Whoever asks holds it for himself, for a moment.
        match tried(|| file.try_lock_shared()) {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => {
                Err(in_use(format!("the deliveries of report {report} are being looked at")))
            }
            Err(TryLockError::Error(error)) => Err(cannot_lock(&path, error)),
        }
    }

    /// Whether somebody makes them now.
    pub(super) fn is_taken(home: &ReportsHome, report: &str) -> bool {
        let Ok(file) = File::open(path_of(home, report)) else { return false };
        matches!(file.try_lock(), Err(TryLockError::WouldBlock))
    }
}

/// No report has a dot in its name.
fn path_of(home: &ReportsHome, report: &str) -> PathBuf {
    home.locks().join(format!("{report}.deliveries"))
}

/// Tries to lock again and again for a moment.
fn tried(lock: impl Fn() -> std::result::Result<(), TryLockError>) -> std::result::Result<(), TryLockError> {
    for _ in 1..TRIES {
        match lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(TRY_PAUSE),
            tried => return tried,
        }
    }
    lock()
}

impl Turn {
    /// Takes the turn of a report.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] with SQLSTATE 55006 while another run of it has not ended.
    pub(super) fn take(home: &ReportsHome, report: &str) -> Result<Self> {
        let dir = home.locks();
        let path = dir.join(report);
        fs::create_dir_all(&dir).map_err(|error| cannot_lock(&path, error))?;
        let no_standstill = no_standstill(home, report)?;
        let file = opened(&path)?;
        match tried(|| file.try_lock()) {
            Ok(()) => Ok(Self { _file: file, _no_standstill: no_standstill }),
            Err(TryLockError::WouldBlock) => Err(busy(report)),
            Err(TryLockError::Error(error)) => Err(cannot_lock(&path, error)),
        }
    }

    /// Whether a run of the report lives now.
    pub(super) fn is_taken(home: &ReportsHome, report: &str) -> bool {
        let Ok(file) = File::open(home.locks().join(report)) else { return false };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }
}

fn no_standstill(home: &ReportsHome, report: &str) -> Result<File> {
    let path = home.standstill();
    let file = opened(&path)?;
    match file.try_lock_shared() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(in_use(format!("report {report} cannot run while traces are redacted"))
            .with_hint("run it again after that")),
        Err(TryLockError::Error(error)) => Err(cannot_lock(&path, error)),
    }
}

fn opened(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    opened.map_err(|error| cannot_lock(path, error))
}

fn cannot_lock(path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("cannot lock {}", path.display()), error)
}

fn in_use(message: String) -> Error {
    Error::new(Kind::Overloaded { retry_after: Duration::from_secs(1) }, message).with_sqlstate(OBJECT_IN_USE)
}

fn busy(report: &str) -> Error {
    in_use(format!("report {report} is running already")).with_hint(
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

    #[test]
    fn deliveries_of_runs_by_hand_are_left_to_who_makes_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = ReportsHome::new(folder.path());
        assert!(!Delivering::is_taken(&home, "a"));
        let made = [0; 2].map(|_| Delivering::take(&home, "a").expect("several may"));
        assert!(Delivering::is_taken(&home, "a") && !Delivering::is_taken(&home, "b"));
        let _turn = Turn::take(&home, "a").expect("runs do not wait for deliveries");
        drop(made);
        assert!(!Delivering::is_taken(&home, "a"));
    }

    #[test]
    fn nothing_runs_while_all_stand_still() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = ReportsHome::new(folder.path());
        let still = Standstill::take(&home).expect("nothing ever ran");
        let refused = Turn::take(&home, "a").expect_err("not now");
        assert_eq!((refused.sqlstate(), Turn::is_taken(&home, "a")), (OBJECT_IN_USE, false));
        drop(still);
        let turns = ["a", "b"].map(|report| Turn::take(&home, report).expect("reports do not stop each other"));
        assert_eq!(Standstill::take(&home).expect_err("two run").sqlstate(), OBJECT_IN_USE);
        drop(turns);
        Standstill::take(&home).expect("nothing runs any more");
    }
}
