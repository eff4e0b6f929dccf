//! `report`: questions in files, their runs and what became of them; one file a command.

mod check;
mod history;
mod init;
mod list;
mod run;
mod shell;
mod show;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::data::DataDir;
use super::exit::Exit;
use super::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::report::Folder;

pub(super) use check::mistakes_on;
pub(super) use shell::ShellReports;

const EXAMPLES: &str = "\
Examples:
  spanhouse report init daily_service_health     copy a ready-made report to ./reports
  spanhouse report check                         tell every mistake by file and line
  spanhouse report run daily_service_health      run it now and show the result
  spanhouse report list                          what there is and when it is due
  spanhouse report history                       what ran

A report is a file NAME.sql with a header: TOML in the comment lines at its top, or in NAME.toml beside it. A \
running server reads the folder and runs those that have a schedule; an edit needs no restart. What there is \
to write is in docs/reports.md.";

/// Ask questions on a schedule, with charts, alerts and deliveries
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(list::Arguments),
    Check(check::Arguments),
    Run(run::Arguments),
    History(history::Arguments),
    Show(show::Arguments),
    Init(init::Arguments),
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    match arguments.command {
        Command::List(arguments) => list::run(arguments).await,
        Command::Check(arguments) => check::run(arguments).await,
        Command::Run(arguments) => run::run(arguments).await,
        Command::History(arguments) => history::run(arguments).await,
        Command::Show(arguments) => show::run(arguments).await,
        Command::Init(arguments) => init::run(&arguments),
    }
}

/// Where reports and their data are.
#[derive(Debug, Clone, Args)]
pub(super) struct Place {
    /// Where reports are described [env: SPANHOUSE_REPORTS_DIR] [default: ./reports]
    #[arg(long, value_name = "DIR")]
    reports_dir: Option<PathBuf>,
    #[command(flatten)]
    data_dir: DataDir,
}

impl Place {
    /// The settings of a command that takes no others.
    pub(super) fn settings(&self) -> Result<Settings> {
        let mut flags = self.data_dir.flags();
        let given = self.reports_dir.iter().map(|dir| ("reports_dir", dir.to_string_lossy().into_owned()));
        flags.given.extend(given);
        flags.settings()
    }
}

/// The folder of reports, which must be there.
fn folder(settings: &Settings) -> Result<Folder> {
    let dir = &settings.reports_dir;
    if dir.is_dir() {
        return Ok(Folder::open(dir));
    }
    let error = Error::new(Kind::NotFound, format!("there is no folder of reports {}", dir.display()));
    Err(error.with_hint("`spanhouse report init` makes one, or name another with --reports-dir"))
}

/// Splits `name=value`.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.trim_start_matches(':').to_owned(), value.to_owned())),
        _ => Err("write PARAMETER=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assignments_have_a_name_and_perhaps_a_value() {
        let read = |text| assignment(text).map(|(name, value)| format!("{name} is {value}"));
        assert_eq!(read(":a=b=c"), Ok("a is b=c".to_owned()));
        assert_eq!(read("a="), Ok("a is ".to_owned()));
        assert!(read("a").is_err() && read("=b").is_err());
    }
}
