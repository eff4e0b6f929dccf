//! `generate`: realistic traces to a file or an OTLP endpoint.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args};
use indicatif::ProgressBar;

use super::exit::{self, Exit};
use super::import::Senders;
use super::instant::instant_ns;
use super::output::say;
use super::sender::SenderFlags;
use super::{logging, terminal};
use crate::error::{Error, Result};
use crate::generate::{Facts, Generator, Limit, Parameters, Request};
use crate::ingest::ExportClient;
use crate::render::count;
use crate::typed::parse_duration;

const EXAMPLES: &str = "\
Examples:
  spanhouse generate --spans 1000000 --out shop.otlp.zst
  spanhouse generate --traces 500 --out shop.jsonl --facts shop.facts.json
  spanhouse generate --to http://127.0.0.1:4317 --duration 10m --rate 5000 --start now

A shop of 21 services: lognormal latencies, fan-out, retries, N+1 queries, bursts of errors that climb from \
service to service, consumers with links, spans that arrive late or never, clocks that disagree. The same \
seed and settings give the same bytes.

Files: .otlp is requests with their length before each, .jsonl one OTLP JSON request a line; add .zst or .gz \
to compress.";

/// Make realistic traces, to a file or an OTLP endpoint
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("limit"), group = ArgGroup::new("target").required(true))]
pub(super) struct Arguments {
    /// What decides everything
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Stop after exactly so many spans [default: 100000]
    #[arg(long, group = "limit", value_name = "COUNT")]
    spans: Option<u64>,
    /// Stop after so many visits to the shop; each is a trace, and some cause traces of consumers
    #[arg(long, group = "limit", value_name = "COUNT")]
    traces: Option<u64>,
    /// Stop when the traces have covered so much time, such as 10m
    #[arg(long, group = "limit", value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Duration>,
    /// The time of the first trace: RFC 3339, now, or a duration ago such as -2h
    #[arg(long, value_name = "TIME", default_value = "2026-01-05T09:00:00Z", allow_hyphen_values = true)]
    start: String,
    /// Visits to the shop in a second of the traces' own time
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    visits_per_second: u32,
    /// Spans in a request
    #[arg(long, value_name = "SPANS", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    batch: u32,
    /// Send to an OTLP/gRPC endpoint, or to OTLP/HTTP when it ends in /v1/traces
    #[arg(long, group = "target", value_name = "URL")]
    to: Option<String>,
    #[command(flatten)]
    sender: SenderFlags,
    /// Spans a second to send at most; 0 sends as fast as they are taken
    #[arg(long, value_name = "SPANS", default_value_t = 0, requires = "to")]
    rate: u64,
    /// Write to a file: .otlp or .jsonl, and .zst or .gz after it
    #[arg(short, long, group = "target", value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write what is true of the spans, as JSON: counts by service, kind and edge, errors, orphans
    #[arg(long, value_name = "FILE")]
    facts: Option<PathBuf>,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    logging::start("warn", Default::default())?;
    let parameters = arguments.parameters()?;
    let bar = progress(parameters.limit);
    let started = Instant::now();
    let facts = match (&arguments.to, &arguments.out) {
        (Some(endpoint), _) => {
            send(Generator::new(parameters), endpoint, &arguments.sender, arguments.rate, &bar).await?
        }
        (None, Some(path)) => write_file(parameters, path, &bar)?,
        (None, None) => return Err(Error::internal("a target is required")),
    };
    bar.finish_and_clear();
    if let Some(path) = &arguments.facts {
        let text = serde_json::to_string_pretty(&facts).map_err(|error| Error::internal(error.to_string()))?;
        std::fs::write(path, text + "\n").map_err(|error| cannot_write(path, error))?;
    }
    let seconds = started.elapsed().as_secs_f64();
    say!(
        "{} in {} ({}, {}, {} late) in {seconds:.1} s: {:.0} spans/s",
        count(facts.spans, "span"),
        count(facts.traces, "trace"),
        count(facts.errors, "error"),
        count(facts.orphans, "orphan"),
        facts.late,
        facts.spans as f64 / seconds.max(1e-9)
    )?;
    Ok(Exit::Success)
}

impl Arguments {
    fn parameters(&self) -> Result<Parameters> {
        let limit = match (self.spans, self.traces, self.duration) {
            (Some(spans), _, _) => Limit::Spans(spans),
            (_, Some(visits), _) => Limit::Visits(visits),
            (_, _, Some(duration)) => Limit::DurationNs(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
            _ => Limit::Spans(100_000),
        };
        Ok(Parameters {
            seed: self.seed,
            start_ns: start_ns(&self.start, Utc::now())?,
            limit,
            visits_per_second: self.visits_per_second,
            batch_spans: self.batch as usize,
        })
    }
}

/// Reads a start time; `now` is what the clock says.
fn start_ns(text: &str, now: DateTime<Utc>) -> Result<u64> {
    let time = instant_ns(text, now).and_then(|ns| u64::try_from(ns).map_err(|_| format!("\"{text}\" is before 1970")));
    time.map_err(|why| exit::usage(Error::bad_input(format!("--start {why}"))))
}

fn progress(limit: Limit) -> ProgressBar {
    match limit {
        Limit::Spans(spans) => terminal::bar(spans, "{bar:40} {human_pos}/{human_len} spans  {per_sec}  {eta} left"),
        _ => terminal::bar(0, "{spinner} {human_pos} spans  {per_sec}"),
    }
}

/// Sends requests, several at a time, no faster than `rate` spans a second unless that is 0.
async fn send(
    mut generator: Generator,
    endpoint: &str,
    sender: &SenderFlags,
    rate: u64,
    bar: &ProgressBar,
) -> Result<Facts> {
    let client = ExportClient::new(endpoint, &sender.settings()?).map_err(exit::usage)?;
    client.reach().await?;
    let mut senders = Senders::new(client);
    let started = Instant::now();
    let mut sent: u64 = 0;
    for Request { spans, payload, .. } in generator.by_ref() {
        senders.send(Bytes::from(payload), |receipt| refused_none(receipt.rejected_spans, &receipt.message)).await?;
        sent += spans as u64;
        bar.inc(spans as u64);
        if rate > 0 {
            let due = Duration::from_secs_f64(sent as f64 / rate as f64);
            tokio::time::sleep(due.saturating_sub(started.elapsed())).await;
        }
    }
    senders.finish(|receipt| refused_none(receipt.rejected_spans, &receipt.message)).await?;
    Ok(generator.facts().clone())
}

/// Every generated span is valid, so a refused one is a failure.
fn refused_none(rejected_spans: u64, message: &str) -> Result<()> {
    match rejected_spans {
        0 => Ok(()),
        _ => Err(Error::bad_input(format!("the server refused {rejected_spans} generated spans: {message}"))),
    }
}

/// A file's form, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FileForm {
    json: bool,
    compression: Compression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

impl FileForm {
    fn of(path: &Path) -> Result<Self> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (inner, compression) = match name.rsplit_once('.') {
            Some((inner, "zst")) => (inner, Compression::Zstd),
            Some((inner, "gz")) => (inner, Compression::Gzip),
            _ => (name.as_str(), Compression::None),
        };
        let json = match inner.rsplit_once('.') {
            Some((_, "otlp")) => false,
            Some((_, "jsonl")) => true,
            _ => {
                let why = format!("{}: the name must end in .otlp or .jsonl", path.display());
                let hint = "add .zst or .gz to compress, as in shop.otlp.zst";
                return Err(exit::usage(Error::bad_input(why).with_hint(hint)));
            }
        };
        Ok(Self { json, compression })
    }
}

fn write_file(parameters: Parameters, path: &Path, bar: &ProgressBar) -> Result<Facts> {
    let failed = |error| cannot_write(path, error);
    let form = FileForm::of(path)?;
    let file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(failed)?);
    let mut generator = Generator::new(parameters);
    if form.json {
        generator = generator.with_json();
    }
    let mut file = match form.compression {
        Compression::None => write_requests(&mut generator, file, bar).map_err(failed)?,
        Compression::Gzip => {
            let out = flate2::write::GzEncoder::new(file, flate2::Compression::default());
            let out = write_requests(&mut generator, out, bar).map_err(failed)?;
            out.finish().map_err(failed)?
        }
        Compression::Zstd => {
            let out = zstd::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(failed)?;
            let out = write_requests(&mut generator, out, bar).map_err(failed)?;
            out.finish().map_err(failed)?
        }
    };
    file.flush().map_err(failed)?;
    Ok(generator.facts().clone())
}

fn write_requests<W: Write>(generator: &mut Generator, mut out: W, bar: &ProgressBar) -> io::Result<W> {
    let mut record = Vec::new();
    for request in generator.by_ref() {
        record.clear();
        match &request.json {
            Some(json) => {
                serde_json::to_writer(&mut record, json)?;
                record.push(b'\n');
            }
            None => request.push_delimited(&mut record),
        }
        out.write_all(&record)?;
        bar.inc(request.spans as u64);
    }
    Ok(out)
}

fn cannot_write(path: &Path, error: io::Error) -> Error {
    Error::io(format!("cannot write {}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::DEFAULT_START_NS;

    #[test]
    fn a_start_is_a_time_now_or_a_while_ago() {
        let now = DateTime::from_timestamp(1_000_000, 0).expect("a time");
        assert_eq!(start_ns("now", now).ok(), Some(1_000_000_000_000_000));
        assert_eq!(start_ns("-1h", now).ok(), Some(996_400_000_000_000));
        assert_eq!(start_ns("2026-01-05T09:00:00Z", now).ok(), Some(DEFAULT_START_NS));
        assert!(start_ns("some day", now).is_err());
        assert!(start_ns("1900-01-01T00:00:00Z", now).is_err());
    }

    #[test]
    fn a_files_name_tells_its_form() {
        let form = |name: &str| FileForm::of(Path::new(name)).ok().map(|form| (form.json, form.compression));
        assert_eq!(form("a/shop.otlp"), Some((false, Compression::None)));
        assert_eq!(form("shop.otlp.zst"), Some((false, Compression::Zstd)));
        assert_eq!(form("shop.jsonl.gz"), Some((true, Compression::Gzip)));
        assert_eq!(form("shop.zst"), None);
        assert_eq!(form("shop"), None);
    }
}
