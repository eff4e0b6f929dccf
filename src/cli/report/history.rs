//! `report history`: what ran.

use std::io::{self, BufWriter};

use clap::Args;

use super::Place;
use crate::cli::data;
use crate::cli::exit::Exit;
use crate::cli::sql::{execute, open_engine, render_options};
use crate::engine::{ParameterKind, bind};
use crate::error::Result;
use crate::render::Format;
use crate::report::{Folder, ReportsHome, history};

const EXAMPLES: &str = "\
Examples:
  spanhouse report history
  spanhouse report history daily_service_health --limit 100
  spanhouse sql \"SELECT report, count(*) FROM system.report_runs WHERE status = 'failed' GROUP BY 1\"

The newest run comes first. The same, and more, is in system.report_runs and system.alerts.";

const HISTORY: &str = include_str!("../queries/report_history.sql");

/// Show what ran, when and how it ended
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Only the runs of this report
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// How many runs to show
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 20)]
    limit: u32,
    /// How to write: table, csv, json, ndjson or markdown
    #[arg(long, value_name = "FORMAT", default_value_t)]
    format: Format,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let settings = arguments.place.settings()?;
    data::must_exist(&settings.data_dir)?;
    if let Some(name) = &arguments.name {
        let runs = history(&ReportsHome::new(&settings.data_dir))?;
        // A report that is gone has a history; a slip of the keyboard has none.
        if runs.of(name).next().is_none() {
            Folder::open(&settings.reports_dir).find(name)?;
        }
    }
    let name = arguments.name.as_deref().unwrap_or_default();
    let sql = bind(HISTORY, |placeholder| match placeholder.name {
        "report" => ParameterKind::Text.literal("report", name).map(Some),
        "limit" => ParameterKind::Integer.literal("limit", &arguments.limit.to_string()).map(Some),
        _ => Ok(None),
    })?;
    let engine = open_engine(&settings).await?;
    execute(&engine, &sql.sql, arguments.format, &render_options(true), BufWriter::new(io::stdout())).await?;
    Ok(Exit::Success)
}
