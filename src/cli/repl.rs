//! `repl`: the interactive shell on a data directory.

use clap::Args;

use super::access::asked_once;
use super::data;
use super::exit::Exit;
use super::report::{Place, ShellReports};
use super::sql;
use super::tenant_flag::TenantFlag;
use crate::error::Result;
use crate::render::Format;
use crate::repl;

const EXAMPLES: &str = "\
Examples:
  spanhouse repl
  spanhouse repl --data-dir /var/lib/spanhouse
  spanhouse repl postgres://ada@traces.example/spanhouse
  echo 'SELECT count(*) FROM spans;' | spanhouse repl

Reads the data directory only, so a server may run on it at the same time. Inside, \\? lists the commands and \
\\q leaves. On a pipe it is a script: every statement runs, and the exit code is 1 when one of them failed.";

/// Ask questions interactively, with history and completion
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    tenant: TenantFlag,
    /// How to show results at first; \format changes it
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// A server to ask instead of a data directory: postgres://USER@HOST:PORT/spanhouse
    #[arg(value_name = "URL")]
    server: Option<String>,
    /// On a pipe, end with the first statement that fails
    #[arg(long)]
    stop_on_error: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let settings = arguments.tenant.of(arguments.place.settings()?)?;
    let reports = ShellReports::of(&settings.reports_dir);
    let (format, stop_on_error) = (arguments.format, arguments.stop_on_error);
    let options =
        repl::Options { format, stop_on_error, reports, ask_password: Some(asked_once), ..repl::Options::default() };
    let summary = match arguments.server {
        Some(server) => {
            let title = "a server; \\c tells which".to_owned();
            repl::run(None, repl::Options { title, server: Some(server), ..options }).await?
        }
        None => {
            data::must_exist(&settings.data_dir)?;
            let engine = sql::open_engine(&settings).await?;
            let title = settings.data_dir.display().to_string();
            repl::run(Some(&engine), repl::Options { title, ..options }).await?
        }
    };
    Ok(if summary.failed == 0 { Exit::Success } else { Exit::Failure })
}
