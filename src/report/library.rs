//! The ready-made reports, which come with the program: a person copies those that help and changes them.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::header::{Source, parse};
use crate::error::{Error, Kind, Result};

/// A report that comes with the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadyMade {
    /// The file's name without its ending.
    pub name: &'static str,
    /// The file's text.
    pub text: &'static str,
}

/// The ready-made reports, in order of name.
pub const READY_MADE: &[ReadyMade] = &[
    ReadyMade { name: "capacity_forecast", text: include_str!("../../reports/capacity_forecast.sql") },
    ReadyMade { name: "daily_service_health", text: include_str!("../../reports/daily_service_health.sql") },
    ReadyMade { name: "dependency_changes", text: include_str!("../../reports/dependency_changes.sql") },
    ReadyMade { name: "hourly_red", text: include_str!("../../reports/hourly_red.sql") },
    ReadyMade { name: "latency_heatmap", text: include_str!("../../reports/latency_heatmap.sql") },
    ReadyMade { name: "n_plus_one_suspects", text: include_str!("../../reports/n_plus_one_suspects.sql") },
    ReadyMade { name: "new_errors", text: include_str!("../../reports/new_errors.sql") },
    ReadyMade { name: "service_trends", text: include_str!("../../reports/service_trends.sql") },
    ReadyMade { name: "slo_burn", text: include_str!("../../reports/slo_burn.sql") },
    ReadyMade { name: "slowest_operations", text: include_str!("../../reports/slowest_operations.sql") },
    ReadyMade { name: "volume_by_service", text: include_str!("../../reports/volume_by_service.sql") },
];

impl ReadyMade {
    /// Finds a report by name.
    ///
    /// # Errors
    /// [`Kind::NotFound`], with the known names as a hint.
    pub fn find(name: &str) -> Result<&'static Self> {
        READY_MADE.iter().find(|report| report.name == name).ok_or_else(|| {
            let names: Vec<&str> = READY_MADE.iter().map(|report| report.name).collect();
            Error::new(Kind::NotFound, format!("there is no ready-made report \"{name}\""))
                .with_hint(format!("there are {}", names.join(", ")))
        })
    }

    /// What its header calls it; its name when the header cannot be read.
    pub fn title(&self) -> String {
        let (name, sql) = (self.name.to_owned(), self.text.to_owned());
        let source = Source { sql_path: self.path(Path::new("")), name, sql, toml: None };
        parse(&source).map_or_else(|_| self.name.to_owned(), |parsed| parsed.report.title)
    }

    fn path(&self, folder: &Path) -> PathBuf {
        folder.join(self.name).with_extension("sql")
    }
}

/// Writes copies of ready-made reports into a folder, which is made when it is not there, and gives their paths in order of `names`.
///
/// # Errors
/// [`Kind::NotFound`] for a name that none has, and [`Kind::BadInput`] when one of the files is there already: then none is written.
pub fn init(folder: &Path, names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut reports: Vec<&ReadyMade> = Vec::new();
    for name in names {
        let report = ReadyMade::find(name)?;
        if !reports.contains(&report) {
            reports.push(report);
        }
    }
    if let Some(path) = reports.iter().map(|report| report.path(folder)).find(|path| path.exists()) {
        return Err(is_there(&path));
    }
    fs::create_dir_all(folder).map_err(|error| Error::io(format!("cannot make {}", folder.display()), error))?;
    let write = |report: &&ReadyMade| {
        let path = report.path(folder);
        let file = OpenOptions::new().write(true).create_new(true).open(&path);
        match file.and_then(|mut file| file.write_all(report.text.as_bytes())) {
            Ok(()) => Ok(path),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(is_there(&path)),
            Err(error) => Err(Error::io(format!("cannot write {}", path.display()), error)),
        }
    };
    reports.iter().map(write).collect()
}

fn is_there(path: &Path) -> Error {
    Error::bad_input(format!("{} is there already, and is left as it is", path.display()))
        .with_hint("move it away, or leave its name out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_in_the_library() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports");
        let entries = fs::read_dir(folder).expect("reports").map(|entry| entry.expect("an entry").path());
        let mut files: Vec<String> =
            entries.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect();
        files.sort();
        let known: Vec<String> = READY_MADE.iter().map(|report| format!("{}.sql", report.name)).collect();
        assert_eq!(files, known);
    }

    #[test]
    fn copies_are_written_once_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("new/reports");
        let written = init(&folder, &["slo_burn", "new_errors", "slo_burn"]).expect("written");
        assert_eq!(written, [folder.join("slo_burn.sql"), folder.join("new_errors.sql")]);
        let slo_burn = ReadyMade::find("slo_burn").expect("known");
        assert_eq!(fs::read_to_string(&written[0]).expect("readable"), slo_burn.text);

        fs::write(&written[0], "mine").expect("written");
        let error = init(&folder, &["hourly_red", "slo_burn"]).expect_err("it is there");
        assert!(error.message.contains("slo_burn.sql is there already"), "{error}");
        assert_eq!(fs::read_to_string(&written[0]).expect("readable"), "mine");
        assert!(!folder.join("hourly_red.sql").exists());

        let error = init(&folder, &["slo"]).expect_err("no such report");
        assert_eq!(error.kind, Kind::NotFound);
        assert!(error.hint.expect("a hint").contains("n_plus_one_suspects, new_errors"));
    }
}
