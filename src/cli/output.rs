//! What commands say: results on stdout, and everything about them on stderr.
//!
//! `println!` panics when the reader has gone, as `head` does. Here that is an end and no failure.

use std::fmt;
use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// Says a line on stdout: `say!("…", …)?`.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::output::write_out(format_args!($($text)*)) };
}

/// Tells the user of something on stderr.
macro_rules! tell {
    ($($text:tt)*) => { $crate::cli::output::write_err(format_args!($($text)*)) };
}

pub(super) use {say, tell};

/// Writes a line to stdout; a reader that has gone misses it.
pub(super) fn write_out(text: fmt::Arguments<'_>) -> Result<()> {
    line(io::stdout().lock(), text).map_err(|error| Error::io("cannot write to standard output", error))
}

/// Writes a line to stderr. When that fails there is nobody left to tell.
pub(super) fn write_err(text: fmt::Arguments<'_>) {
    let _ = line(io::stderr().lock(), text);
}

fn line(mut out: impl Write, text: fmt::Arguments<'_>) -> io::Result<()> {
    let written = out.write_fmt(text).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// A new file beside `path`, to take its place once it is written whole. Who may read it is for the umask to say, as with any file.
pub(super) fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails every write in one way.
    struct Failing(io::ErrorKind);

    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_pipe_is_no_failure_and_a_full_disk_is() {
        assert!(line(Failing(io::ErrorKind::BrokenPipe), format_args!("text")).is_ok());
        assert!(line(Failing(io::ErrorKind::StorageFull), format_args!("text")).is_err());
    }
}
