//! What is wrong with a report, and where.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::render::sanitize;

/// A mistake in a file of the reports folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    pub path: PathBuf,
    /// From 1; `None` when the whole file is meant.
    pub line: Option<usize>,
    pub why: String,
}

impl Mistake {
    /// A mistake of a whole file.
    pub(super) fn of_file(path: &Path, why: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, why: why.into() }
    }

    /// A mistake of one line.
    pub(super) fn at(path: &Path, line: usize, why: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), why: why.into() }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A file's name may hold anything, and ends up in terminals and logs.
        f.write_str(&sanitize(&self.path.display().to_string()))?;
        match self.line {
            Some(line) => write!(f, ":{line}: {}", self.why),
            None => write!(f, ": {}", self.why),
        }
    }
}
