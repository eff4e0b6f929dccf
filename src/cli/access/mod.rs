//! `user` and `token`: who may come in.
//!
//! Both change one file of the data directory, which a running server reads again within a second or two.

mod password;
mod token;
mod user;

pub(super) use password::asked_once;
pub(super) use token::{Arguments as TokenArguments, run as run_token};
pub(super) use user::{Arguments as UserArguments, run as run_user};

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::data::{self, DataDir};
use crate::error::{Error, Result};

/// The data directory of a command that adds somebody; it may come before the first server.
fn made(data_dir: &DataDir) -> Result<PathBuf> {
    let folder = data_dir.flags().settings()?.data_dir;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
    made.map_err(|error| Error::io(format!("cannot make {}", folder.display()), error))?;
    Ok(folder)
}

/// The data directory of a command that changes somebody.
fn found(data_dir: &DataDir) -> Result<PathBuf> {
    let folder = data_dir.flags().settings()?.data_dir;
    data::must_exist(&folder)?;
    Ok(folder)
}

/// Reads a file that holds one secret; `-` is standard input. A line's end after it is not part of it.
pub(super) fn read_secret(path: &Path) -> Result<String> {
    let read = match path.as_os_str() == "-" {
        true => std::io::read_to_string(std::io::stdin()),
        false => std::fs::read_to_string(path),
    };
    let text = read.map_err(|error| Error::io(format!("cannot read {}", path.display()), error))?;
    Ok(text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line)).to_owned())
}
