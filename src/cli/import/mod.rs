//! `import`: OTLP files into a data directory or a running server.
//!
//! A thread reads records one at a time, whatever the file's form and compression; exports run a few at once; the ledger keeps the
//! account. Memory is bounded by one record a place, however long the files are.

mod form;
mod ledger;
mod records;
mod senders;
mod spans;
mod target;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{ArgGroup, Args};
use indicatif::ProgressBar;
use tokio::sync::mpsc;

pub(super) use senders::Senders;

use ledger::{Ledger, Refusal};
use records::{Item, Record};
use target::Target;

use super::data::DataDir;
use super::exit::Exit;
use super::sender::SenderFlags;
use super::{logging, terminal};
use crate::error::{Error, Kind, Result};

const EXAMPLES: &str = "\
Examples:
  spanhouse import traces.otlp.zst
  spanhouse import --to http://127.0.0.1:4317 *.jsonl.gz
  zstdcat traces.otlp.zst | spanhouse import -

Takes OTLP protobuf (one request, or many with a varint length before each), OTLP JSON (one document, or one \
request a line), each plain, gzip or zstd; the contents decide, not the name. - is standard input.

Without --to the spans go straight into the data directory. When a server has that directory, they are sent \
to the server. What is refused is listed with its file, position and reason, and makes the exit code 1; \
everything else is imported.

Importing the same file a second time stores its spans a second time: only requests that the write-ahead log \
still holds are known again.";

/// Import OTLP files
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("where"))]
pub(super) struct Arguments {
    /// Files to import; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
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
    check_readable(&arguments.files)?;
    let target = match &arguments.to {
        Some(endpoint) => Target::endpoint(endpoint, &arguments.sender).await?,
        None => Target::data_dir(&arguments.data_dir.flags().settings()?, &arguments.sender).await?,
    };
    let started = Instant::now();
    let total = arguments.files.iter().filter_map(|file| std::fs::metadata(file).ok()).map(|file| file.len()).sum();
    let bar = terminal::bar(total, "{bar:40} {binary_bytes}/{binary_total_bytes}  {binary_bytes_per_sec}  {eta} left");
    let mut ledger = Ledger::new(bar.clone());
    let imported = import_files(&arguments.files, &target, &mut ledger, &bar).await;
    // What was taken before a failure stays; it is sealed and told all the same.
    let closed = target.close().await;
    let told = ledger.print(started.elapsed());
    imported.and(closed).and(told)?;
    Ok(if ledger.refused_nothing() { Exit::Success } else { Exit::Failure })
}

async fn import_files(files: &[PathBuf], target: &Target, ledger: &mut Ledger, bar: &ProgressBar) -> Result<()> {
    let (sender, mut receiver) = mpsc::channel(QUEUED_RECORDS);
    let (paths, read_bar) = (files.to_vec(), bar.clone());
    let reader = tokio::task::spawn_blocking(move || read_files(&paths, &read_bar, &sender));
    let mut exports = target.exports();
    while let Some(item) = receiver.recv().await {
        match item {
            Item::Record(record) => exports.send(record, ledger).await?,
            Item::Broken { file, place, why } => ledger.refuse(Refusal { file, place, spans: None, why }),
        }
    }
    exports.finish(ledger).await?;
    bar.finish_and_clear();
    reader.await.map_err(|error| Error::internal(format!("reading failed: {error}")))
}

/// Reads all files; what cannot be read is told as an item, and the next file goes on.
fn read_files(files: &[PathBuf], bar: &ProgressBar, sender: &mpsc::Sender<Item>) {
    for file in files {
        let send =
            |item: Item| sender.blocking_send(item).map_err(|_| Error::new(Kind::Closed, "the import has ended"));
        if let Err(error) = records::read(file, bar, &mut |item| send(item)) {
            if error.kind == Kind::Closed {
                return;
            }
            let broken = Item::Broken { file: file.clone(), place: records::Place::default(), why: error.to_string() };
            if send(broken).is_err() {
                return;
            }
        }
    }
}

/// Tells every file that cannot be read, before anything is imported.
fn check_readable(files: &[PathBuf]) -> Result<()> {
    let check = |path: &Path| match std::fs::File::open(path).and_then(|file| file.metadata()) {
        Err(error) => Some(format!("{}: {error}", path.display())),
        Ok(file) if file.is_dir() => Some(format!("{}: it is a directory", path.display())),
        Ok(_) => None,
    };
    let wrong: Vec<String> =
        files.iter().filter(|file| file.as_os_str() != "-").filter_map(|file| check(file)).collect();
    match &wrong[..] {
        [] => Ok(()),
        [one] => Err(Error::new(Kind::Io, format!("cannot read {one}; nothing was imported"))),
        many => {
            let text = format!("cannot read {} files; nothing was imported:\n  {}", many.len(), many.join("\n  "));
            Err(Error::new(Kind::Io, text))
        }
    }
}

/// Names a record in errors: `traces.jsonl: line 3 (record 3)`.
fn describe(record: &Record) -> String {
    format!("{}: {}", record.file.display(), record.place)
}
