//! How a command ends: its exit code, and an error as the user reads it.

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use super::output::tell;
use super::settings::INVALID_SETTING;
use super::terminal;
use crate::error::{Error, Kind, OBJECT_IN_USE};

/// Exit codes, for scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Success = 0,
    /// The command failed, or `import` refused something.
    Failure = 1,
    /// The command line, the environment or the settings file is wrong.
    Usage = 2,
    /// Another process has the data directory or a port.
    InUse = 3,
    /// Stored data is damaged, or the log could not be written and was given up.
    Damaged = 4,
    /// Stopped by a second signal before everything was sealed. Nothing acknowledged is lost.
    Interrupted = 130,
}

/// What `--help` says about exit codes.
pub(super) const HELP: &str = "\
Exit codes:
  0  success
  1  the command failed, or import refused something
  2  the command line, environment or settings file is wrong
  3  another process has the data directory or a port
  4  stored data is damaged, or the log could not be written
  130  stopped by a second signal";

impl Exit {
    /// The code for a command that ended with `error`.
    pub(super) fn of(error: &Error) -> Self {
        match error.kind {
            _ if error.sqlstate() == OBJECT_IN_USE => Self::InUse,
            _ if error.sqlstate() == INVALID_SETTING => Self::Usage,
            Kind::Corrupt => Self::Damaged,
            _ => Self::Failure,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// An error for something that another process holds.
pub(super) fn in_use(message: String) -> Error {
    Error::new(Kind::Denied, message).with_sqlstate(OBJECT_IN_USE)
}

/// Marks an error as one of the command line.
pub(super) fn usage(error: Error) -> Error {
    error.with_sqlstate(INVALID_SETTING)
}

/// Tells the user of an error, and what to do about it.
pub(super) fn report(error: &Error) {
    let (red, plain) = match terminal::color(io::stderr().is_terminal()) {
        true => ("\x1b[1;31m", "\x1b[0m"),
        false => ("", ""),
    };
    tell!("{red}error:{plain} {error}");
    if let Some(hint) = &error.hint {
        tell!("hint: {hint}");
    }
}
