//! A data directory with a report that delivers, run by the program's own command or by a server.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::Server;

/// The report `answer` over a data directory of its own.
pub struct House {
    folder: TempDir,
}

impl House {
    /// With a report that has this header besides, one delivery and this statement.
    pub fn with(header: &str, delivery: &str, sql: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let house = Self { folder };
        house.serve(&[]).stop();
        house.report(header, delivery, sql);
        house
    }

    /// Writes the report anew.
    pub fn report(&self, header: &str, delivery: &str, sql: &str) {
        std::fs::create_dir_all(self.reports_dir()).expect("a folder");
        let header = format!("outputs = [\"csv\"]\n{header}\n[[deliveries]]\n{delivery}");
        let header: String = header.lines().map(|line| format!("-- {line}\n")).collect();
        std::fs::write(self.reports_dir().join("answer.sql"), format!("{header}{sql}\n")).expect("written");
    }

    /// Runs it; tells whether all went well, and what became of the first delivery of the last run.
    pub fn run(&self, environment: &[(String, String)]) -> (bool, Value) {
        let output = output(self.command(&["report", "run", "answer"], environment));
        let deliveries = self.deliveries().unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (output.status.success(), deliveries[0].clone())
    }

    /// What became of the deliveries of the last run, if there was one.
    pub fn deliveries(&self) -> Option<Value> {
        let told = "SELECT deliveries FROM system.report_runs ORDER BY started_at DESC LIMIT 1";
        let told = output(self.command(&["sql", told, "--format", "ndjson"], &[]));
        let row: Value = serde_json::from_slice(told.stdout.split(|byte| *byte == b'\n').next()?).ok()?;
        match &row["deliveries"] {
            Value::String(text) => serde_json::from_str(text).ok(),
            list => Some(list.clone()),
        }
    }

    /// The program with these arguments, which lead to the data directory and the report.
    pub fn command(&self, arguments: &[&str], environment: &[(String, String)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
        command.args(arguments).arg("--data-dir").arg(self.data_dir());
        if arguments[0] == "report" {
            command.arg("--reports-dir").arg(self.reports_dir());
        }
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A server that has the data directory and runs its reports, with variables in its environment.
    pub fn serve(&self, environment: &[(&str, &str)]) -> Server {
        let reports = self.reports_dir();
        let reports = ("SPANHOUSE_REPORTS_DIR", reports.to_str().expect("a path"));
        Server::start_in(&self.data_dir(), &[&[reports], environment].concat())
    }

    /// All that is kept of runs and alerts: journals and results.
    pub fn kept(&self) -> String {
        let (mut kept, mut folders) = (String::new(), vec![self.data_dir().join("reports")]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
                match entry.path().is_dir() {
                    true => folders.push(entry.path()),
                    false => kept += &String::from_utf8_lossy(&std::fs::read(entry.path()).expect("a file")),
                }
            }
        }
        kept
    }

    fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn reports_dir(&self) -> PathBuf {
        self.folder.path().join("reports")
    }
}

fn output(mut command: Command) -> Output {
    command.output().expect("spanhouse starts")
}
