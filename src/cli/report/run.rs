//! `report run`: a run by hand, and its result for whoever waits for it.

use std::fmt;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use clap::Args;
use futures::stream;

use super::{Place, assignment};
use crate::cli::data;
use crate::cli::exit::{self, Exit};
use crate::cli::output::{beside, tell};
use crate::cli::sql::{open_engine, render_options};
use crate::error::{Error, Result};
use crate::render::{Format, RenderOptions, Visible, count, sanitize, write_all};
use crate::report::{
    Clock, DeliveryStatus, FROM, Frame, Made, Output, OutputFormat, Report, ReportsHome, RunOrder, Runner, SystemClock,
    TO, moment_text,
};

const EXAMPLES: &str = "\
Examples:
  spanhouse report run daily_service_health
  spanhouse report run daily_service_health --from 2026-03-28 --to 2026-03-29 service=checkout
  spanhouse report run slo_burn --dry-run --format html --output slo_burn.html

A run by hand is a run like any other: its files are kept, its deliveries made, and it is in the history. \
--dry-run only asks, judges and shows. It needs no server; what another run of the same report is doing is \
not disturbed.

Times are 2026-03-29T05:00:00Z, or as the report's time zone reads 2026-03-29, '2026-03-29 05:00', today or \
yesterday. Alerts keep their states from runs as the report describes them: not from those with a window or \
a parameter of their own.";

/// Run a report now and show its result
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The report
    #[arg(value_name = "NAME")]
    name: String,
    /// Values for its parameters
    #[arg(value_name = "PARAMETER=VALUE", value_parser = assignment)]
    values: Vec<(String, String)>,
    /// The same, for values that are options to a shell
    #[arg(short, long = "param", value_name = "PARAMETER=VALUE", value_parser = assignment)]
    parameters: Vec<(String, String)>,
    /// When the window begins; else as long before its end as the report says
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// When the window ends; now, if only --from is given
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// Keep nothing and deliver nothing
    #[arg(long)]
    dry_run: bool,
    /// How to show the result: table, csv, json, ndjson, markdown or parquet; html or png, as it is delivered
    #[arg(long, value_name = "FORMAT", default_value_t)]
    format: Shape,
    /// Write to a file, whole or not at all
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

/// A form of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Rows(Format),
    File(OutputFormat),
}

impl Default for Shape {
    fn default() -> Self {
        Self::Rows(Format::Table)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(format) => write!(f, "{format}"),
            Self::File(format) => write!(f, "{format}"),
        }
    }
}

impl FromStr for Shape {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "html" => Ok(Self::File(OutputFormat::Html)),
            "png" => Ok(Self::File(OutputFormat::Png)),
            name => name.parse().map(Self::Rows).map_err(|error: Error| format!("{error}, html, png")),
        }
    }
}

impl Shape {
    fn is_binary(self) -> bool {
        matches!(self, Self::Rows(Format::Parquet) | Self::File(OutputFormat::Png))
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    if arguments.format.is_binary() && arguments.output.is_none() && io::stdout().is_terminal() {
        let wrong = Error::bad_input(format!("{} is not for a terminal", arguments.format));
        return Err(exit::usage(wrong.with_hint("give --output FILE, or send the output to a file or pipe")));
    }
    let settings = arguments.place.settings()?;
    let report = super::folder(&settings)?.find(&arguments.name)?.report;
    let report = with_output(&report, arguments.format);
    data::must_exist(&settings.data_dir)?;
    let engine = open_engine(&settings).await?;
    let order = order(&report, &arguments, SystemClock.now_ms())?;
    let home = ReportsHome::new(&settings.data_dir);
    let runner = Runner::open(engine, home, Arc::new(SystemClock), &settings.reports_dir)?;
    let made = runner.run_whole(&report, order).await?;
    show(&report, &made, &arguments).await?;
    tell_of(&report, &made, arguments.dry_run);
    match made.run.status.is_failure() {
        true => Err(failure(&made)),
        false if made.run.deliveries.iter().any(|made| made.status == DeliveryStatus::Failed) => Ok(Exit::Failure),
        false => Ok(Exit::Success),
    }
}

/// The report with the output that is to be shown.
fn with_output(report: &Arc<Report>, shape: Shape) -> Arc<Report> {
    match shape {
        Shape::File(format) if !report.outputs.contains(&Output { format }) => {
            let mut report = Report::clone(report);
            report.outputs.push(Output { format });
            Arc::new(report)
        }
        _ => report.clone(),
    }
}

fn order(report: &Report, arguments: &Arguments, now_ms: i64) -> Result<RunOrder> {
    let (ends, parameters) = report.parted(&[&arguments.values[..], &arguments.parameters].concat());
    let end = |flag: &Option<String>, name: &str| {
        let value = ends.iter().rev().find(|(end, _)| end == name).map(|(_, value)| value);
        flag.as_ref().or(value).map(|text| report.time_ms(text).map_err(exit::usage)).transpose()
    };
    let (from_ms, to_ms) = (end(&arguments.from, FROM)?, end(&arguments.to, TO)?);
    let window = match (from_ms, to_ms) {
        (None, None) => None,
        _ => report.window_at(now_ms, from_ms, to_ms)?,
    };
    Ok(RunOrder { parameters, window, dry_run: arguments.dry_run, ..RunOrder::by_hand(now_ms) })
}

/// Writes the result to where it was asked for.
async fn show(report: &Report, made: &Made, arguments: &Arguments) -> Result<()> {
    let Some(frame) = &made.frame else { return Ok(()) };
    let failed = |path: &Path, error| Error::io(format!("cannot write {}", path.display()), error);
    match &arguments.output {
        Some(path) => {
            let partial = BufWriter::new(beside(path).map_err(|error| failed(path, error))?);
            let partial = write(report, made, frame, arguments, partial).await?;
            let partial = partial.into_inner().map_err(|error| failed(path, error.into_error()))?;
            partial.persist(path).map_err(|error| failed(path, error.error))?;
        }
        None => {
            // A table is harmless by itself; the other formats keep every byte for the programs that read them.
            let is_seen = io::stdout().is_terminal() && arguments.format != Shape::default();
            let out: Box<dyn Write + Send> =
                if is_seen { Box::new(Visible::new(io::stdout())) } else { Box::new(io::stdout()) };
            write(report, made, frame, arguments, BufWriter::new(out)).await?;
        }
    }
    Ok(())
}

async fn write<W: Write + Send>(
    report: &Report,
    made: &Made,
    frame: &Frame,
    arguments: &Arguments,
    mut out: W,
) -> Result<W> {
    match arguments.format {
        Shape::Rows(format) => {
            let options = render_options(arguments.output.is_none());
            let options = RenderOptions { zone: report.zone().name().to_owned(), ..options };
            let rows = stream::iter(frame.batches.iter().cloned().map(Ok));
            (_, out) = write_all(format, frame.schema.clone(), rows, &options, out).await?;
        }
        Shape::File(format) => {
            let at = report.outputs.iter().position(|output| output.format == format);
            if let Some(artifact) = at.and_then(|at| made.artifacts.get(at)) {
                out.write_all(&artifact.bytes).map_err(|error| Error::io("cannot write the result", error))?;
            }
        }
    }
    out.flush().map_err(|error| Error::io("cannot write the result", error))?;
    Ok(out)
}

/// Says what else came of it.
fn tell_of(report: &Report, made: &Made, is_dry: bool) {
    let run = &made.run;
    for notice in &made.notices {
        let silenced = if notice.silenced_by.is_some() { ", silenced" } else { "" };
        let labels = notice.label_text();
        let of_whom = if labels.is_empty() { labels } else { format!(" {labels}") };
        let (severity, of_whom, summary) = (sanitize(&notice.severity), sanitize(&of_whom), sanitize(&notice.summary));
        tell!("{} ({severity}{silenced}){of_whom}: {summary}", notice.state);
    }
    if let (Some(from_ms), Some(to_ms)) = (run.window_from_ms, run.window_to_ms) {
        tell!("{} from {} to {}", report.title, moment_text(from_ms), moment_text(to_ms));
    }
    if is_dry {
        let targets: Vec<&str> = report.deliveries.iter().map(|delivery| delivery.name.as_str()).collect();
        let deliveries = if targets.is_empty() { String::new() } else { format!(" to {}", targets.join(", ")) };
        tell!("A dry run: nothing was kept, and nothing was delivered{deliveries}.");
        return;
    }
    let files = run.result.as_ref().map(|folder| format!(", in {folder}")).unwrap_or_default();
    tell!("{}{files}", run.id);
    for delivered in &run.deliveries {
        let why = delivered.error.as_ref().map(|error| format!(": {}", sanitize(error))).unwrap_or_default();
        tell!(
            "{} {} after {}{why}",
            delivered.name,
            delivered.status.name(),
            count(delivered.attempts.into(), "attempt")
        );
    }
}

fn failure(made: &Made) -> Error {
    let why = made.run.error.as_deref().unwrap_or("nothing is known of why");
    Error::bad_input(format!("report {} {}: {why}", made.run.report, made.run.status.name().replace('_', " ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_has_the_forms_of_rows_and_of_pages() {
        for text in ["table", "csv", "parquet", "html", "png"] {
            assert_eq!(text.parse::<Shape>().map(|shape| shape.to_string()).as_deref(), Ok(text));
        }
        let wrong = "pdf".parse::<Shape>().expect_err("unknown");
        assert!(wrong.contains("markdown") && wrong.ends_with("html, png"), "{wrong}");
    }
}
