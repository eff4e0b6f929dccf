//! `redact`: takes chosen spans out of a data directory for good.

mod ids;
mod receipt;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{ArgGroup, Args};

use self::receipt::{By, NewReceipt, Receipt};
use super::audit;
use super::data::{self, DataDir};
use super::exit::Exit;
use super::output::say;
use super::settings::Settings;
use super::sql;
use super::tenant_flag::TenantFlag;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::render::count;
use crate::report::{RedactedReports, ReportsHome, Standstill, redact_reports, redactable_reports};
use crate::store::{
    FoundSpans, RedactReport, Redaction, Snapshot, SnapshotSource, SpanFilter, Store, StoreReader, TraceFilter,
    find_spans,
};

const EXAMPLES: &str = "\
Examples:
  spanhouse redact --dry-run --where \"attributes['user.email'] = 'ann@example.org'\"
  spanhouse redact --trace-id 4bf92f3577b34da6a3ce929d0e0e4736 --receipt ticket-1841.json
  spanhouse sql --format csv \"SELECT DISTINCT trace_id FROM spans WHERE …\" > ids.csv
  spanhouse redact --trace-ids-from ids.csv --now

Needs a directory that no server has; a dry run does not. Fresh spans are moved into the table first, the files \
that hold such spans are written anew without them, and one commit puts those in their place: killed at any \
moment, all of it happened or nothing, and doing it again does no harm. The write-ahead log is empty afterwards.

The replaced files still hold the spans. They are deleted when keep_removed (10 minutes) is over, by the next \
server or `spanhouse compact`; --now deletes them at once, and a `spanhouse sql` that is reading them then fails.

The ids of the traces go out of what reports keep, too: in recorded tables and in the journals of runs and alerts the \
word redacted stands for them, and results whose files hold one are removed, and so are all that are only a picture, which cannot be searched. What reports have delivered is out of reach, and \
so is what a predicate means that no stored span has any more.

A span that arrives later is a new span, also of a trace that was redacted, and also when it is sent again.";

/// Take spans out of the table for good, by trace or by predicate
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("which").required(true))]
pub(super) struct Arguments {
    /// The traces whose spans go
    #[arg(long, group = "which", value_name = "ID", num_args = 1..)]
    trace_id: Vec<String>,
    /// A file of trace ids, one a line; - reads them from standard input
    #[arg(long, group = "which", value_name = "FILE")]
    trace_ids_from: Option<PathBuf>,
    /// What says of a span that it goes: SQL over the columns of traces.spans, as behind WHERE
    #[arg(long = "where", group = "which", value_name = "PREDICATE")]
    predicate: Option<String>,
    /// Tell what would go, and change nothing; a server may run meanwhile
    #[arg(long)]
    dry_run: bool,
    /// Delete the replaced files at once
    #[arg(long, conflicts_with = "dry_run")]
    now: bool,
    /// Write what was done into a new file, as JSON
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    tenant: TenantFlag,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let settings = arguments.tenant.of(arguments.data_dir.flags().settings()?)?;
    data::must_exist(&settings.data_dir)?;
    let receipt = arguments.receipt.as_deref().map(NewReceipt::begin).transpose()?;
    let reader = data::open_reader(&settings).await?;
    let Meant { by, filter, traces } = selection(&arguments, &settings, reader.clone()).await?;
    let written = match arguments.dry_run {
        true => {
            let snapshot = reader.snapshot().await?;
            let found = find_spans(&snapshot, filter.clone()).await?;
            tell_found(&found)?;
            tell_quarantined(snapshot.quarantined_files)?;
            let traces = traces.in_snapshot(&settings, &snapshot, filter).await?;
            let reports = in_reports(&settings, move |home| redactable_reports(home, &traces)).await?;
            tell_reports(&reports, "would go")?;
            Receipt::of_dry_run(by, &found, snapshot.quarantined_files, reports)
        }
        false => {
            drop(reader);
            let (id, report, reports) = redact(&settings, filter, traces, arguments.now).await?;
            audit::note(
                &settings,
                "redact",
                &format!("receipt {id}: {} spans of {} traces", report.spans, report.traces),
            );
            tell_done(&report)?;
            tell_quarantined(report.quarantined_files)?;
            tell_reports(&reports, "went")?;
            Receipt::of_redaction(id, by, &report, reports)
        }
    };
    receipt.map_or(Ok(()), |receipt| receipt.write(&written))?;
    Ok(Exit::Success)
}

/// What the arguments mean.
struct Meant {
    by: By,
    filter: Arc<dyn SpanFilter>,
    traces: Traces,
}

/// The traces that the spans are of.
enum Traces {
    These(HashSet<u128>),
    /// Those of which the filter means a span.
    OfSpans,
}

impl Traces {
    /// The ids that reports are searched for.
    async fn in_snapshot(
        self,
        settings: &Settings,
        snapshot: &Snapshot,
        filter: Arc<dyn SpanFilter>,
    ) -> Result<HashSet<u128>> {
        if let Self::These(ids) = self {
            return Ok(ids);
        }
        if !ReportsHome::new(&settings.data_dir).has_runs() {
            return Ok(HashSet::new());
        }
        let found = find_spans(snapshot, filter).await?;
        if !found.traces_are_all() {
            let error = Error::new(Kind::TooLarge, "the spans are of more traces than reports can be searched for");
            return Err(error.with_hint("take several predicates, such as one for each month"));
        }
        Ok(found.trace_ids().collect())
    }
}

async fn selection(arguments: &Arguments, settings: &Settings, reader: Arc<StoreReader>) -> Result<Meant> {
    if let Some(predicate) = &arguments.predicate {
        let engine = Engine::new(reader, settings.engine())?;
        let filter = engine.span_filter(predicate).await.map_err(|error| sql::located(error, predicate))?;
        return Ok(Meant { by: By::Predicate(predicate.clone()), filter, traces: Traces::OfSpans });
    }
    let ids = match &arguments.trace_ids_from {
        Some(file) => ids::read(file)?,
        None => ids::parse(&arguments.trace_id)?,
    };
    let filter = TraceFilter::new(ids.iter().copied());
    let traces = ids.iter().map(|id| u128::from_be_bytes(*id.as_bytes())).collect();
    let by = By::TraceIds(ids.iter().map(ToString::to_string).collect());
    Ok(Meant { by, filter: Arc::new(filter), traces: Traces::These(traces) })
}

async fn redact(
    settings: &Settings,
    filter: Arc<dyn SpanFilter>,
    traces: Traces,
    delete_now: bool,
) -> Result<(String, RedactReport, RedactedReports)> {
    let store = Store::open(&settings.data_dir, data::for_upkeep(settings)?).await.map_err(stop_the_server)?;
    let id = uuid::Uuid::new_v4().to_string();
    let redacted = async {
        // No report runs from here until the spans are gone, and no server is there to take new ones: what is found is all that there is.
        let still = in_reports(settings, Standstill::take).await?;
        let traces = traces.in_snapshot(settings, &store.snapshot().await?, filter.clone()).await?;
        // Before the spans go: by a predicate nobody would find them any more, should this be interrupted.
        let redacted = move |home: &ReportsHome| Ok((redact_reports(home, &traces, &still)?, still));
        let (reports, _still) = in_reports(settings, redacted).await?;
        let report = store.redact(Redaction { filter, receipt: id.clone(), delete_now }).await?;
        Ok::<_, Error>((id, report, reports))
    };
    let redacted = redacted.await;
    // The log goes with this: it may hold the spans as they came.
    let closed = store.close().await;
    let redacted = redacted?;
    closed?;
    Ok(redacted)
}

/// Searches what reports keep.
async fn in_reports<T: Send + 'static>(
    settings: &Settings,
    search: impl FnOnce(&ReportsHome) -> Result<T> + Send + 'static,
) -> Result<T> {
    let home = ReportsHome::new(&settings.data_dir);
    let redacted = tokio::task::spawn_blocking(move || search(&home)).await;
    redacted.map_err(|error| Error::internal(format!("searching reports failed: {error}")))?
}

fn tell_reports(reports: &RedactedReports, goes: &str) -> Result<()> {
    let RedactedReports { texts, lines, results, pictures } = *reports;
    if texts + lines + results == 0 {
        return Ok(());
    }
    let (texts, lines, results) = (count(texts, "text"), count(lines, "line"), count(results, "result"));
    say!("of reports, ids in {texts} of recorded tables and {lines} of journals {goes}, and {results} with all files")?;
    match pictures {
        0 => Ok(()),
        pictures => say!(
            "of the results, {pictures} only a picture, which cannot be searched for ids",
            pictures = are(pictures)
        ),
    }
}

fn are(number: u64) -> String {
    if number == 1 { "1 is".to_owned() } else { format!("{number} are") }
}

fn stop_the_server(error: Error) -> Error {
    match error.kind {
        Kind::Denied => error.with_hint("stop the server, redact, and start it again; --dry-run works beside it"),
        _ => error,
    }
}

fn tell_found(found: &FoundSpans) -> Result<()> {
    let traces = count(found.traces(), "trace");
    let more = if found.traces_are_all() { "" } else { " or more" };
    let (spans, files) = (count(found.spans, "span"), count(found.files.len() as u64, "file"));
    say!("{spans} of {traces}{more} would go, out of {files}; nothing was changed")
}

/// Says what nothing is taken out of.
fn tell_quarantined(files: u64) -> Result<()> {
    match files {
        0 => Ok(()),
        files => say!(
            "{} in the directory quarantine was not looked into and may hold such spans: delete what is not needed any more",
            count(files, "file")
        ),
    }
}

fn tell_done(report: &RedactReport) -> Result<()> {
    let traces = count(report.traces, "trace");
    let more = if report.traces_are_all { "" } else { " or more" };
    let (spans, files) = (count(report.spans, "span"), count(report.files.len() as u64, "file"));
    say!("{spans} of {traces}{more} went, out of {files}")?;
    match report.waiting_files {
        0 => Ok(()),
        waiting => say!(
            "{} left the table and may hold them still: the next server or `spanhouse compact` deletes what keep_removed is over for; --now deletes at once",
            count(waiting, "file")
        ),
    }
}

#[cfg(test)]
mod tests;
