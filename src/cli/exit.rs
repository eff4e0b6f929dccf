//! How a command ends: its exit code, and an error as the user reads it.

use std::error::Error as _;
use std::io::{self, IsTerminal};
use std::process::ExitCode;

use super::output::tell;
use super::settings::INVALID_SETTING;
use super::terminal;
use crate::error::{Error, Kind};

/// The SQLSTATE of something that another process holds.
pub(super) const OBJECT_IN_USE: &str = "55006";

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

/// Whether the reader of our output has gone, as `head` does; that is an end and not a failure.
pub(super) fn is_closed_pipe(error: &Error) -> bool {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if inner.downcast_ref::<io::Error>().is_some_and(|inner| inner.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        cause = inner.source();
    }
    false
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
