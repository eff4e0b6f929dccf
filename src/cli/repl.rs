//! `repl`: the interactive shell on a data directory.

use clap::Args;

use super::data;
use super::exit::Exit;
use super::report::{Place, ShellReports};
use super::sql;
use crate::error::Result;
use crate::render::Format;
use crate::repl;

const EXAMPLES: &str = "\
Examples:
  spanhouse repl
  spanhouse repl --data-dir /var/lib/spanhouse
  echo 'SELECT count(*) FROM spans;' | spanhouse repl

Reads the data directory only, so a server may run on it at the same time. Inside, \\? lists the commands and \
\\q leaves. On a pipe it is a script: every statement runs, and the exit code is 1 when one of them failed.";

/// Ask questions interactively, with history and completion
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    /// How to show results at first; \format changes it
    #[arg(long, value_name = "FORMAT", default_value_t)]
    format: Format,
    /// On a pipe, end with the first statement that fails
    #[arg(long)]
    stop_on_error: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let settings = arguments.place.settings()?;
    data::must_exist(&settings.data_dir)?;
    let engine = sql::open_engine(&settings).await?;
    let title = settings.data_dir.display().to_string();
    let reports = ShellReports::of(&settings.reports_dir);
    let options = repl::Options { title, format: arguments.format, stop_on_error: arguments.stop_on_error, reports };
    let summary = repl::run(&engine, options).await?;
    Ok(if summary.failed == 0 { Exit::Success } else { Exit::Failure })
}
