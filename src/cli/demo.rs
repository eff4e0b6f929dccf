//! `demo`: a server with made-up traces, the shipped questions answered, and how to go on.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::Utc;
use clap::Args;
use datafusion::arrow::record_batch::RecordBatch;
use futures::StreamExt;
use tempfile::TempDir;

use super::exit::Exit;
use super::house::House;
use super::import::Senders;
use super::output::say;
use super::serve::{StopSignals, addresses, psql, wait_and_stop};
use super::settings::{SettingFlags, Settings};
use super::{logging, sql, terminal};
use crate::engine::{Engine, LibraryQuery, Outcome, RowStream, Rows, library};
use crate::error::{Error, OBJECT_IN_USE, Result};
use crate::generate::{Generator, Limit, Parameters};
use crate::ingest::{ClientSettings, ExportClient};
use crate::render::{Expanded, Format, RenderOptions, count, write_all};

const EXAMPLES: &str = "\
Examples:
  spanhouse demo
  spanhouse demo --spans 1000000 --dir ./demo-data
  spanhouse demo --exit

The traces end now and come over real OTLP/gRPC. Ports are those of serve's settings; \
when one is taken, a free one is used instead. Without --dir the data goes when the demo ends.";

/// See it work: a server, made-up traces, and answers to the shipped questions
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// How many spans to make
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    spans: u64,
    /// What decides the traces
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Keep the data in this directory
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Stop after the answers
    #[arg(long)]
    exit: bool,
}

/// The questions that tell a newcomer most; the others follow by name.
const FIRST_QUESTIONS: [&str; 7] = [
    "service_dependencies",
    "red_by_service",
    "top_errors",
    "error_propagation",
    "slowest_traces",
    "slow_database_queries",
    "n_plus_one_suspects",
];

/// Rows that are shown of an answer.
const SHOWN_ROWS: usize = 8;
/// Rows of an answer that are asked for, to tell how many there are: more than any answer about a demo of common size has.
const ASKED_ROWS: &str = "1000000";
/// Letters that are shown of a value.
const SHOWN_CHARS: usize = 48;
/// Decimals that are shown of a number.
const SHOWN_DECIMALS: usize = 4;
/// How many spans a visit to the shop has on average, to have the traces end about now.
const SPANS_PER_VISIT: u64 = 33;

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    logging::start("warn", Default::default())?;
    let mut stop = StopSignals::listen()?;
    let (own_dir, dir) = match &arguments.dir {
        Some(dir) => (None, dir.clone()),
        None => {
            let own = TempDir::with_prefix("spanhouse-demo-")
                .map_err(|error| Error::io("cannot make a temporary folder", error))?;
            let path = own.path().to_owned();
            (Some(own), path)
        }
    };
    let house = start(&dir).await?;
    let shown = tokio::select! {
        shown = show(&house, &dir, &arguments) => shown,
        () = stop.next() => {
            house.stop().await?;
            return Ok(Exit::Success);
        }
    };
    if let Err(error) = shown {
        house.stop().await?;
        return Err(error);
    }
    if arguments.exit {
        house.stop().await?;
        return Ok(Exit::Success);
    }
    let exit = wait_and_stop(house, stop).await;
    drop(own_dir);
    exit
}

/// Starts a server on serve's ports, or on free ones where those are taken.
async fn start(dir: &Path) -> Result<House> {
    match House::start(settings(dir, false)?).await {
        Err(error) if error.sqlstate() == OBJECT_IN_USE && error.message.starts_with("port") => {
            say!("{error}; taking free ports instead")?;
            House::start(settings(dir, true)?).await
        }
        started => started,
    }
}

fn settings(dir: &Path, free_ports: bool) -> Result<Settings> {
    // Made-up spans go into a table of their own, and stay, whatever is set for a server.
    let mut given = vec![("data_dir", dir.to_string_lossy().into_owned())];
    given.extend(
        [("table_url", ""), ("retention", "off"), ("retention_rules", "")].map(|(key, value)| (key, value.into())),
    );
    if free_ports {
        given.extend(
            ["otlp_grpc", "otlp_http", "postgres", "admin_listen"].map(|name| (name, "127.0.0.1:0".to_owned())),
        );
    }
    SettingFlags { given, config: None }.settings()
}

/// Sends the traces, answers every shipped question, and says how to go on.
async fn show(house: &House, dir: &Path, arguments: &Arguments) -> Result<()> {
    say!("spanhouse {} serves a demo; data in {}", env!("CARGO_PKG_VERSION"), dir.display())?;
    say!("{}", addresses(&house.addresses).trim_end())?;
    let Some(address) = house.addresses.otlp_grpc else {
        return Err(Error::bad_input("the demo needs the OTLP/gRPC listener: do not set otlp_grpc to off"));
    };
    let started = Instant::now();
    let traces = send(&format!("http://{address}"), arguments).await?;
    let seconds = started.elapsed().as_secs_f64();
    say!(
        "\nSent {} in {} over OTLP/gRPC in {seconds:.1} s; all of them are on disk and can be asked about.",
        count(arguments.spans, "span"),
        count(traces, "trace")
    )?;
    for question in in_telling_order(library()) {
        answer(&house.engine, question).await?;
    }
    if arguments.exit { Ok(()) } else { say_next_steps(house, dir) }
}

async fn send(endpoint: &str, arguments: &Arguments) -> Result<u64> {
    let visits_per_second = Parameters::default().visits_per_second;
    let lasting = Duration::from_secs(arguments.spans / (SPANS_PER_VISIT * u64::from(visits_per_second)) + 1);
    let now_ns = Utc::now().timestamp_nanos_opt().and_then(|now| u64::try_from(now).ok()).unwrap_or(0);
    let start_ns = now_ns.saturating_sub(u64::try_from(lasting.as_nanos()).unwrap_or(0));
    let limit = Limit::Spans(arguments.spans);
    let mut generator = Generator::new(Parameters { seed: arguments.seed, start_ns, limit, ..Parameters::default() });
    let mut senders = Senders::new(ExportClient::new(endpoint, &ClientSettings::default())?);
    let bar = terminal::bar(arguments.spans, "{bar:40} {human_pos}/{human_len} spans  {per_sec}");
    for request in generator.by_ref() {
        senders.send(Bytes::from(request.payload), |_| Ok(())).await?;
        bar.inc(request.spans as u64);
    }
    senders.finish(|_| Ok(())).await?;
    bar.finish_and_clear();
    Ok(generator.facts().traces)
}

fn in_telling_order(library: &[LibraryQuery]) -> Vec<&LibraryQuery> {
    let mut questions: Vec<&LibraryQuery> = library.iter().collect();
    // The sort is stable, so the rest keeps its order by name.
    questions.sort_by_key(|question| {
        FIRST_QUESTIONS.iter().position(|name| *name == question.name).unwrap_or(FIRST_QUESTIONS.len())
    });
    questions
}

/// Runs one shipped question and shows the first rows of its answer.
async fn answer(engine: &Arc<Engine>, question: &LibraryQuery) -> Result<()> {
    let limited = question.parameters.iter().any(|parameter| parameter.name == "limit");
    let values: &[(&str, &str)] = if limited { &[("limit", ASKED_ROWS)] } else { &[] };
    let text = question.bind(values)?;
    let (bold, plain) = match terminal::color(io::IsTerminal::is_terminal(&io::stdout())) {
        true => ("\x1b[1m", "\x1b[0m"),
        false => ("", ""),
    };
    say!("\n{bold}{}{plain}  ({})\n{}\n", question.title, question.name, question.purpose.trim())?;
    let (session, started) = (engine.session(), Instant::now());
    let options = RenderOptions {
        expanded: Expanded::Off,
        max_cell_chars: Some(SHOWN_CHARS),
        decimals: Some(SHOWN_DECIMALS),
        footer: false,
        ..sql::render_options(true)
    };
    let mut more = 0;
    for statement in session.prepare(&text).await? {
        if let Outcome::Rows(Rows { schema, stream, .. }) = session.execute(&statement, &[]).await? {
            let (first, rest) = first_rows(stream).await?;
            more += rest;
            write_all(Format::Table, schema, futures::stream::iter(first).map(Ok), &options, io::stdout()).await?;
        }
    }
    if more > 0 {
        say!("… and {}", count(more, "more row"))?;
    }
    say!("({:.0} ms)", started.elapsed().as_secs_f64() * 1000.0)
}

/// The first [`SHOWN_ROWS`], and how many rows there are after them.
async fn first_rows(mut stream: RowStream) -> Result<(Vec<RecordBatch>, u64)> {
    let (mut first, mut shown, mut rest) = (Vec::new(), 0, 0);
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        let taken = batch.num_rows().min(SHOWN_ROWS - shown);
        if taken > 0 {
            first.push(batch.slice(0, taken));
        }
        shown += taken;
        rest += (batch.num_rows() - taken) as u64;
    }
    Ok((first, rest))
}

fn say_next_steps(house: &House, dir: &Path) -> Result<()> {
    say!("\nThe server stays up until Ctrl-C. Ask it yourself:\n")?;
    if let Some(address) = house.addresses.postgres {
        say!("  {}", psql(address))?;
    }
    say!("  spanhouse repl --data-dir {}", dir.display())?;
    say!("\nFor example:\n\n{EXAMPLE_QUESTION}")
}

const EXAMPLE_QUESTION: &str = "  SELECT service_name, quantile(0.95)(duration_ms) AS p95_ms, count(*) AS spans
  FROM spans WHERE span_kind = 'SERVER' GROUP BY 1 ORDER BY 2 DESC;";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_telling_questions_come_first_and_none_is_lost() {
        let ordered = in_telling_order(library());
        let names: Vec<&str> = ordered.iter().map(|question| question.name).collect();
        assert_eq!(names[..FIRST_QUESTIONS.len()], FIRST_QUESTIONS);
        assert_eq!(names.len(), library().len());
        assert!(names[FIRST_QUESTIONS.len()..].is_sorted());
    }
}
