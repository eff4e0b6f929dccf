//! `report list`: what there is and when it is due.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;

use clap::Args;
use datafusion::arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, TimestampMillisecondArray};
use futures::stream;

use super::Place;
use crate::cli::exit::Exit;
use crate::cli::output::tell;
use crate::cli::sql::render_options;
use crate::error::{Error, Result};
use crate::render::{Format, write_all};
use crate::report::{Clock, History, Report, ReportsHome, Run, SystemClock, history};

const EXAMPLES: &str = "\
Examples:
  spanhouse report list
  spanhouse report list --format ndjson | jq -r 'select(.last_status == \"failed\") | .report'

A report with a mistake is not listed, its mistakes are told instead; `spanhouse report check` looks at the \
statements too.";

/// List the reports, when they are due next and how they ran last
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// How to write: table, csv, json, ndjson or markdown
    #[arg(long, value_name = "FORMAT", default_value_t)]
    format: Format,
    #[command(flatten)]
    place: Place,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let settings = arguments.place.settings()?;
    let folder = super::folder(&settings)?;
    let history = history(&ReportsHome::new(&settings.data_dir))?;
    let batch = listed(&folder.reports(), &history, SystemClock.now_ms())?;
    let (schema, rows) = (batch.schema(), stream::iter([Ok(batch)]));
    let out = BufWriter::new(io::stdout());
    let (_, mut out) = write_all(arguments.format, schema, rows, &render_options(true), out).await?;
    out.flush().map_err(|error| Error::io("cannot write the result", error))?;
    for mistake in folder.mistakes() {
        tell!("{mistake}");
    }
    Ok(Exit::Success)
}

fn listed(reports: &[Arc<Report>], history: &History, now_ms: i64) -> Result<RecordBatch> {
    let texts = |of: &dyn Fn(&Report) -> Option<String>| -> ArrayRef {
        Arc::new(reports.iter().map(|report| of(report)).collect::<StringArray>())
    };
    let times = |of: &dyn Fn(&Report) -> Option<i64>| -> ArrayRef {
        let times: TimestampMillisecondArray = reports.iter().map(|report| of(report)).collect();
        Arc::new(times.with_timezone("UTC"))
    };
    let enabled: BooleanArray = reports.iter().map(|report| Some(report.enabled)).collect();
    let columns: [(&str, ArrayRef); 8] = [
        ("report", texts(&|report| Some(report.name.clone()))),
        ("title", texts(&|report| Some(report.title.clone()))),
        ("schedule", texts(&Report::schedule_text)),
        ("window", texts(&Report::window_text)),
        ("enabled", Arc::new(enabled)),
        ("next_due", times(&|report| report.next_due_ms(now_ms))),
        ("last_started", times(&|report| last(history, report).map(|run| run.started_ms))),
        ("last_status", texts(&|report| last(history, report).map(|run| run.status.name().to_owned()))),
    ];
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).map_err(|error| Error::internal(error.to_string()))
}

/// The run that began last.
fn last<'a>(history: &'a History, report: &'a Report) -> Option<&'a Run> {
    history.of(&report.name).next_back()
}
