//! `report show`: one run, and what became of it.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, BufWriter};
use std::path::Path;
use std::time::Duration;

use clap::Args;

use super::Place;
use crate::cli::data;
use crate::cli::exit::Exit;
use crate::cli::output::say;
use crate::cli::settings::Settings;
use crate::cli::sql::{execute, open_engine, render_options};
use crate::engine::{ParameterKind, bind};
use crate::error::{Error, Kind, Result};
use crate::render::{Format, sanitize};
use crate::report::{Delivered, History, ReportsHome, Run, history, moment_text};

const EXAMPLES: &str = "\
Examples:
  spanhouse report show daily_service_health@2026-03-29T05:00:00Z
  spanhouse report show daily_service_health          its last run

Runs are listed by `spanhouse report history`.";

const ALERTS: &str = include_str!("../queries/report_alerts.sql");

/// Show one run: its window, its files, its alerts and its deliveries
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The run, or a report for its last one
    #[arg(value_name = "RUN")]
    run: String,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let settings = arguments.place.settings()?;
    data::must_exist(&settings.data_dir)?;
    let history = history(&ReportsHome::new(&settings.data_dir))?;
    let run = find(&history, &arguments.run)?;
    say!("{}", told(run).trim_end())?;
    alerts(&settings, run).await?;
    Ok(Exit::Success)
}

fn find<'a>(history: &'a History, name: &'a str) -> Result<&'a Run> {
    let last = || history.of(name).next_back();
    history.run(name).or_else(last).ok_or_else(|| {
        let error = Error::new(Kind::NotFound, format!("there is no run \"{name}\""));
        error.with_hint("`spanhouse report history` lists the runs")
    })
}

/// The run, a line for each thing that is known of it.
fn told(run: &Run) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<12}{}", sanitize(value));
    };
    line("run", &run.id);
    line("report", &format!("{}, version {}", run.report, run.report_version));
    line("status", run.status.name());
    line("cause", run.cause.name());
    line("due", &moment_text(run.due_ms));
    line("started", &moment_text(run.started_ms));
    if let Some(ended_ms) = run.ended_ms {
        let took = Duration::from_millis(u64::try_from(ended_ms - run.started_ms).unwrap_or(0));
        line("ended", &format!("{}, after {:.1} s", moment_text(ended_ms), took.as_secs_f64()));
    }
    if let (Some(from_ms), Some(to_ms)) = (run.window_from_ms, run.window_to_ms) {
        line("window", &format!("{} to {}", moment_text(from_ms), moment_text(to_ms)));
    }
    for (name, value) in &run.parameters {
        line("parameter", &format!("{name}={value}"));
    }
    run.rows.iter().for_each(|rows| line("rows", &rows.to_string()));
    run.error.iter().for_each(|error| line("error", error));
    for file in run.result.iter().flat_map(|folder| files(Path::new(folder))) {
        line("file", &file);
    }
    for delivered in &run.deliveries {
        line("delivery", &delivery(delivered));
    }
    text
}

/// The files of a folder with their sizes; none when it is gone.
fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(std::result::Result::ok);
    let mut files: Vec<String> = entries
        .filter_map(|entry| {
            let bytes = entry.metadata().ok()?.len();
            Some(format!("{} ({bytes} bytes)", entry.path().display()))
        })
        .collect();
    files.sort();
    files
}

fn delivery(delivered: &Delivered) -> String {
    let Delivered { name, status, attempts, error, at_ms, .. } = delivered;
    let tries = if *attempts == 1 { "attempt" } else { "attempts" };
    let error = error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{name}: {} at {} after {attempts} {tries}{error}", status.name(), moment_text(*at_ms))
}

/// What its alerts said.
async fn alerts(settings: &Settings, run: &Run) -> Result<()> {
    let sql = bind(ALERTS, |placeholder| match placeholder.name {
        "run" => ParameterKind::Text.literal("run", &run.id).map(Some),
        _ => Ok(None),
    })?;
    let engine = open_engine(settings).await?;
    let options = render_options(true);
    let lines = execute(&engine, &sql.sql, Format::Ndjson, &options, Vec::new()).await?;
    if lines.is_empty() {
        return Ok(());
    }
    say!("alerts")?;
    execute(&engine, &sql.sql, Format::Table, &options, BufWriter::new(io::stdout())).await?;
    Ok(())
}
