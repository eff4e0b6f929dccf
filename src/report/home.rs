//! Where reports keep what they make: names below the data directory.

use std::path::{Path, PathBuf};

/// The folder `reports` of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportsHome {
    dir: PathBuf,
}

impl ReportsHome {
    /// The one of a data directory; nothing is made yet.
    pub fn new(data_dir: &Path) -> Self {
        Self { dir: data_dir.join("reports") }
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The journal of runs.
    pub fn runs_journal(&self) -> PathBuf {
        self.dir.join("runs.ndjson")
    }

    /// The journal of alerts.
    pub fn alerts_journal(&self) -> PathBuf {
        self.dir.join("alerts.ndjson")
    }

    /// The folder with a folder for each report that has results.
    pub fn results(&self) -> PathBuf {
        self.dir.join("results")
    }

    /// The folder with a folder for each recorded table.
    pub fn tables(&self) -> PathBuf {
        self.dir.join("tables")
    }

    /// The folder with a lock file for each report that ran.
    pub fn locks(&self) -> PathBuf {
        self.dir.join("locks")
    }
}
