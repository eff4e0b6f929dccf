//! `import`: files of traces into a data directory or a running server.
//!
//! A thread reads records one at a time, whatever the file's form and compression; each becomes an OTLP request; exports run a few at once; the
//! ledger keeps the account. Memory is bounded by one record a place, however long the files are.

mod convert;
mod done;
mod files;
mod form;
mod ledger;
mod mapping;
mod objects;
mod record;
mod records;
mod senders;
mod spans;
mod split;
mod stream;
mod tables;
mod target;

use std::path::PathBuf;
use std::time::Instant;

use clap::{ArgGroup, Args};
use indicatif::ProgressBar;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

pub(super) use convert::to_protobuf;
pub(super) use files::{Source, sources};
pub(super) use form::Format;
pub(super) use mapping::MapFlags;
pub(super) use record::{Item, Place, Record};
pub(super) use records::Reading;
pub(super) use senders::Senders;

use done::Imported;
use ledger::{Ledger, Refusal};
use records::Sink;
use target::Target;

use super::data::DataDir;
use super::exit::Exit;
use super::sender::SenderFlags;
use super::tenant_flag::of_tenant;
use super::{logging, terminal};
use crate::error::{Error, Kind, Result};

const EXAMPLES: &str = "\
Examples:
  spanhouse import traces.otlp.zst
  spanhouse import --to http://127.0.0.1:4317 *.jsonl.gz
  zstdcat traces.otlp.zst | spanhouse import -
  spanhouse import /var/lib/otelcol/traces/           a directory, with files that were rotated
  spanhouse import jaeger-trace.json zipkin.json
  spanhouse import otel_traces.parquet                of ClickHouse or GreptimeDB
  spanhouse import --map trace=trace_id,id=span_id,start=timestamp,ms=duration_ms,op=span_name lake/

Takes OTLP protobuf (one request, or many with a varint length before each), OTLP JSON (one document, or one \
request a line), what the Collector's file exporter writes, Jaeger JSON and Zipkin JSON, each plain, gzip or zstd; \
Parquet files and Delta tables of spans. The contents decide, not the name, unless --format does. - is standard \
input.

Without --to the spans go straight into the data directory. When a server has that directory, they are sent \
to the server. What is refused is listed with its file, position and reason, and makes the exit code 1; \
everything else is imported.

What was imported into a data directory is noted there: an import that is run again, after it was stopped or \
because files have grown, takes only the records that are new. With --to, name a file for that with --ledger.";

/// Import traces: OTLP, Jaeger, Zipkin, Parquet
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("where"))]
pub(super) struct Arguments {
    /// Files, directories and Delta tables to import; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the files hold [default: what their contents say]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    #[command(flatten)]
    map: MapFlags,
    /// Write what is refused to a new file, a line of JSON each, with position and reason
    #[arg(long, value_name = "FILE")]
    refused: Option<PathBuf>,
    /// The file that notes what was imported [default: imports in the data directory; none with --to]
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Import also what was imported before
    #[arg(long)]
    again: bool,
    /// Send to an OTLP/gRPC endpoint, or to OTLP/HTTP when it ends in /v1/traces
    #[arg(long, value_name = "URL", conflicts_with = "data_dir")]
    to: Option<String>,
    #[command(flatten)]
    sender: SenderFlags,
    #[command(flatten)]
    data_dir: DataDir,
}

/// Records that wait between the reader and the exports: enough that neither waits for the other's hiccups.
const QUEUED_RECORDS: usize = 16;

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    logging::start("warn", Default::default())?;
    let reading = Reading { format: arguments.format, mapping: arguments.map.mapping()? };
    let sources = sources(&arguments.files)?;
    let total = sources.iter().map(Source::size_bytes).sum();
    let bar =
        terminal::bar(total, "{bar:30} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left  {msg}");
    let mut ledger = Ledger::new(bar.clone(), arguments.refused.as_deref())?;
    let (target, imports) = match &arguments.to {
        Some(endpoint) => (Target::endpoint(endpoint, &arguments.sender).await?, None),
        None => {
            let settings = arguments.data_dir.flags().settings()?;
            let target = Target::data_dir(&settings, &arguments.sender).await?;
            let settings = of_tenant(arguments.sender.tenant(), settings)?;
            (target, Some(settings.data_dir.join(done::FILE_NAME)))
        }
    };
    let imports = arguments.ledger.or(imports);
    let imported = imports.as_deref().map(|path| Imported::open(path, arguments.again)).transpose();
    let started = Instant::now();
    let imported = match imported {
        Ok(imported) => import_files(sources, reading, (&target, imported), &mut ledger, &bar).await,
        Err(error) => Err(error),
    };
    // What was taken before a failure stays; it is sealed and told all the same.
    let closed = target.close().await;
    let told = ledger.print(started.elapsed());
    imported.and(closed).and(told)?;
    Ok(if ledger.refused_nothing() { Exit::Success } else { Exit::Failure })
}

async fn import_files(
    sources: Vec<Source>,
    reading: Reading,
    (target, imported): (&Target, Option<Imported>),
    ledger: &mut Ledger,
    bar: &ProgressBar,
) -> Result<()> {
    let (mut receiver, reader) = read_in_background(sources, reading, bar.clone());
    let mut exports = target.exports(imported);
    while let Some(item) = receiver.recv().await {
        match item {
            Item::Record(record) => exports.send(record, ledger).await?,
            Item::Refused { file, place, why } => ledger.refuse(Refusal { file, place, spans: Some(1), why }),
            Item::Broken { file, place, why } => ledger.refuse(Refusal { file, place, spans: None, why }),
        }
    }
    exports.finish(ledger).await?;
    bar.finish_and_clear();
    reader.await.map_err(|error| Error::internal(format!("reading failed: {error}")))
}

/// Reads all sources on a thread of its own, which ends when nobody takes the records any more.
pub(super) fn read_in_background(
    sources: Vec<Source>,
    reading: Reading,
    bar: ProgressBar,
) -> (mpsc::Receiver<Item>, tokio::task::JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel(QUEUED_RECORDS);
    let runtime = Handle::current();
    let reader = tokio::task::spawn_blocking(move || {
        let mut send =
            |item: Item| sender.blocking_send(item).map_err(|_| Error::new(Kind::Closed, "the import has ended"));
        for source in &sources {
            if read_source(source, &reading, &bar, &runtime, &mut send).is_err() {
                return;
            }
        }
    });
    (receiver, reader)
}

/// Reads a source; what cannot be read is told as an item, and the next source goes on.
fn read_source(source: &Source, reading: &Reading, bar: &ProgressBar, runtime: &Handle, sink: Sink<'_>) -> Result<()> {
    let read = match source {
        Source::File(path) => records::read(path, reading, bar, sink),
        Source::DeltaTable(path) => tables::read_delta(path, reading, bar, runtime, sink),
    };
    match read {
        Err(error) if error.kind != Kind::Closed => {
            let hint = error.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            let why = format!("{error}{hint}");
            sink(Item::Broken { file: source.path().to_owned(), place: Place::default(), why })
        }
        read => read,
    }
}

/// Names a record in errors: `traces.jsonl: line 3 (record 3)`.
fn describe(record: &Record) -> String {
    format!("{}: {}", record.file.display(), record.place)
}
