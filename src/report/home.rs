//! Where reports keep what they make: names below the data directory.

use std::path::{Path, PathBuf};

/// The folder `reports` of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportsHome {
    dir: PathBuf,
}

impl ReportsHome {
    /// The one of a data directory; nothing is made yet. Its path is absolute: results are told to those who are elsewhere.
    pub fn new(data_dir: &Path) -> Self {
        let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        Self { dir: data_dir.join("reports") }
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whether a report has ever run here.
    pub fn has_runs(&self) -> bool {
        [self.runs_journal(), self.results(), self.tables()].iter().any(|path| path.exists())
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

    /// The file that tells which folder has the files of reports.
    pub fn folder_memory(&self) -> PathBuf {
        self.dir.join("folder")
    }

    /// The folder with the last good version of each report.
    pub fn last_good(&self) -> PathBuf {
        self.dir.join("last_good")
    }

    /// The file whose lock runs share, and which a redaction has for itself.
    pub fn standstill(&self) -> PathBuf {
        self.dir.join("standstill.lock")
    }

    /// The folder with a lock file for each report that ran.
    pub fn locks(&self) -> PathBuf {
        self.dir.join("locks")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_locks_alone_tells_of_no_run() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = ReportsHome::new(folder.path());
        std::fs::create_dir_all(home.locks()).expect("made");
        std::fs::write(home.standstill(), "").expect("written");
        assert!(!home.has_runs());
        std::fs::write(home.runs_journal(), "").expect("written");
        assert!(home.has_runs());
    }

    #[test]
    fn results_have_a_path_for_those_who_are_elsewhere() {
        let here = std::env::current_dir().expect("a folder");
        for data_dir in ["./spanhouse-data", "spanhouse-data"] {
            assert_eq!(ReportsHome::new(Path::new(data_dir)).results(), here.join("spanhouse-data/reports/results"));
        }
    }
}
