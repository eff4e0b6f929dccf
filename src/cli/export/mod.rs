//! `export`: spans of a data directory in a format that others read.
//!
//! A statement gives the spans, in bounded memory and in the order that the format needs; they become OTLP's messages, and those the format. A server
//! may have the directory: reading takes no lock.

mod body;
mod format;
mod sink;

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use chrono::Utc;
use clap::Args;

use self::format::Format;
use self::sink::Sink;
use super::data::{self, DataDir};
use super::exit::{self, Exit};
use super::instant::instant_ns;
use super::output::tell;
use super::sql::{located, open_engine};
use super::tenant_flag::TenantFlag;
use crate::engine::{ChosenSpans, Outcome, SpanRows};
use crate::error::{Error, Kind, Result};
use crate::model::TraceId;
use crate::render::count;

const EXAMPLES: &str = "\
Examples:
  spanhouse export --trace 4bf92f3577b34da6a3ce929d0e0e4736 --format jaeger --output trace.json
  spanhouse export --from -1h --where \"status_code = 'ERROR'\" --output errors.otlp.zst
  spanhouse export --where \"service_name = 'cart'\" --format otlp-json | gzip > cart.jsonl.gz
  spanhouse export --from 2026-01-05 --to 2026-01-06 --output day.parquet
  spanhouse export --trace 4bf92f3577b34da6a3ce929d0e0e4736 --format perfetto -o trace.json
  spanhouse export --where \"root_name = 'GET /order'\" --output order.folded

Reads the data directory only, so a server may run on it at the same time; what it acknowledged before is seen.

OTLP gives back what came in: ids, nanoseconds, attributes with their types, events, links, resources and scopes; so \
does Parquet, which import takes again. Jaeger has microseconds. A file's name tells the format (.otlp, .jsonl, \
.csv, .ndjson, .parquet, .folded) and the compression (.zst, .gz). A file is there when it is whole, or not at all.

--where is SQL over the columns of traces.spans, and with --format folded over those of traces.span_tree.";

/// Write spans: OTLP, Jaeger, CSV, Parquet, Perfetto
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The spans of one trace
    #[arg(long, value_name = "ID")]
    trace: Option<String>,
    /// What says of a span that it is written: SQL as behind WHERE
    #[arg(long = "where", value_name = "PREDICATE")]
    predicate: Option<String>,
    /// Spans that begin then or later: a time, now, or a duration ago such as -2h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<String>,
    /// Spans that begin before then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<String>,
    /// How to write them [default: what the file's name tells]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Write to a file, whole or not at all [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    tenant: TenantFlag,
    #[command(flatten)]
    data_dir: DataDir,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    let format = arguments.format()?;
    let chosen = arguments.chosen()?;
    let settings = arguments.tenant.of(arguments.data_dir.flags().settings()?)?;
    data::must_exist(&settings.data_dir)?;
    let session = open_engine(&settings).await?.session();
    // An export takes as long as it has spans.
    session.set("statement_timeout", "0")?;
    let mistaken = |error| located(error, chosen.predicate.as_deref().unwrap_or_default());
    let statement = session.prepare_chosen(&chosen, format.rows()).await.map_err(mistaken)?;
    let sink = Sink::open(arguments.output.as_deref())?;
    let Outcome::Rows(rows) = session.execute(&statement, &[]).await.map_err(mistaken)? else {
        return Err(Error::internal("a statement about spans gives no rows"));
    };
    let (written, sink) = body::write(format, rows, sink).await?;
    if let (0, Some(trace)) = (written, chosen.trace) {
        let error =
            Error::new(Kind::NotFound, format!("there is no span of trace {trace} among those that were asked for"));
        return Err(error.with_hint("nothing was written"));
    }
    sink.finish()?;
    if let Some(path) = &arguments.output {
        let what = if format.rows() == SpanRows::Folded { "stack" } else { "span" };
        tell!("{} written to {}", count(written, what), path.display());
    }
    Ok(Exit::Success)
}

impl Arguments {
    fn format(&self) -> Result<Format> {
        let wrong = |text: String, hint: &'static str| exit::usage(Error::bad_input(text).with_hint(hint));
        let told = self.format.or_else(|| Format::of(self.output.as_deref()?));
        let format = told.ok_or_else(|| {
            let text = match &self.output {
                Some(path) => format!("the name {} does not tell a format", path.display()),
                None => "there is neither a format nor a file's name that tells one".to_owned(),
            };
            wrong(text, "add --format FORMAT, such as otlp, jaeger or perfetto")
        })?;
        if format.is_binary() && self.output.is_none() && io::stdout().is_terminal() {
            return Err(wrong(
                "the format is not for a terminal".to_owned(),
                "give --output FILE, or send the output to a file or pipe",
            ));
        }
        Ok(format)
    }

    fn chosen(&self) -> Result<ChosenSpans> {
        let now = Utc::now();
        let time = |text: &Option<String>| text.as_deref().map(|text| instant_ns(text, now)).transpose();
        let wrong = |why: String| exit::usage(Error::bad_input(why));
        let trace = self.trace.as_deref().map(|id| {
            TraceId::from_hex(id)
                .ok_or_else(|| wrong(format!("--trace {id}: a trace id is 32 hex digits, not all zero")))
        });
        Ok(ChosenSpans {
            trace: trace.transpose()?,
            from_ns: time(&self.from).map_err(|why| wrong(format!("--from {why}")))?,
            to_ns: time(&self.to).map_err(|why| wrong(format!("--to {why}")))?,
            predicate: self.predicate.clone(),
        })
    }
}
