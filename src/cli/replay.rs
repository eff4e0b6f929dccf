//! `replay`: sends traces again, at the pace at which they came or another, with their times moved.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::Utc;
use clap::Args;
use indicatif::ProgressBar;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::exit::{self, Exit};
use super::import::{
    Format, Item, MapFlags, Place, Reading, Record, Senders, Source, read_in_background, sources, to_protobuf,
};
use super::instant::instant_ns;
use super::output::{say, tell};
use super::sender::SenderFlags;
use super::{logging, terminal};
use crate::error::{Error, Result};
use crate::formats::{Replayed, latest_end_ns};
use crate::ingest::{ExportClient, Receipt};
use crate::render::{count, sanitize};

const EXAMPLES: &str = "\
Examples:
  spanhouse replay incident.otlp.zst --to http://127.0.0.1:4317 --shift-to now --new-ids
  spanhouse replay day.jsonl.gz --to http://collector:4318/v1/traces --speed 10
  spanhouse replay traces/ --to http://127.0.0.1:4317 --speed max --shift-to -1d

Takes what import takes, and sends it as OTLP in the order of the files. A request is sent when its last span has ended, \
counted from the first request; --speed 2 takes half the time between, and max none. --shift-to moves all times of \
spans and events by one length, so that the first request ends at that time: now, -2h, or 2026-01-05T09:00:00Z. Lengths \
of spans stay as they are; at a higher speed times therefore run ahead of the clock.

--new-ids gives traces and spans new ids, another set each time, so that a second replay does not add to the same traces. \
A server that asks to come again later is asked again.";

/// Send traces again, at their own pace or another
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Files, directories and Delta tables to send; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// An OTLP/gRPC endpoint, or OTLP/HTTP when it ends in /v1/traces
    #[arg(long, value_name = "URL")]
    to: String,
    #[command(flatten)]
    sender: SenderFlags,
    /// How many times as fast as they came, such as 2 or 0.5; max does not wait
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = Speed::parse)]
    speed: Speed,
    /// Move the times so that the first request ends then
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    shift_to: Option<String>,
    /// Give traces and spans new ids
    #[arg(long)]
    new_ids: bool,
    /// What the files hold [default: what their contents say]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    #[command(flatten)]
    map: MapFlags,
}

/// How fast.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Speed {
    /// Times the original.
    Times(f64),
    Max,
}

impl Speed {
    fn parse(text: &str) -> Result<Self, String> {
        let times = || text.parse().ok().filter(|times: &f64| times.is_finite() && *times > 0.0);
        match text {
            "max" => Ok(Self::Max),
            _ => times().map(Self::Times).ok_or_else(|| "write a number above 0, such as 2, or max".to_owned()),
        }
    }

    /// How long after the first request one is sent whose spans ended so much later.
    fn after(self, later_ns: i128) -> Duration {
        let later_ns = u64::try_from(later_ns).unwrap_or(0);
        match self {
            Self::Max => Duration::ZERO,
            Self::Times(times) => Duration::try_from_secs_f64(later_ns as f64 / 1e9 / times).unwrap_or(Duration::MAX),
        }
    }
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    logging::start("warn", Default::default())?;
    let now = Utc::now();
    let target_ns = arguments.shift_to.as_deref().map(|text| instant_ns(text, now)).transpose();
    let target_ns = target_ns.map_err(|why| exit::usage(Error::bad_input(format!("--shift-to {why}"))))?;
    let reading = Reading { format: arguments.format, mapping: arguments.map.mapping()? };
    let sources = sources(&arguments.files)?;
    let client = ExportClient::new(&arguments.to, &arguments.sender.settings()?).map_err(exit::usage)?;
    client.reach().await?;
    let total = sources.iter().map(Source::size_bytes).sum();
    let bar = terminal::bar(total, "{bar:30} {binary_bytes}/{binary_total_bytes} read  {eta} left  {msg}");
    let new_ids = arguments.new_ids.then(rand::random);
    let mut replay = Replay {
        senders: Senders::new(client),
        speed: arguments.speed,
        target_ns,
        changes: Replayed { shift_ns: 0, new_ids },
        first: None,
        told: Told { bar: bar.clone(), spans: 0, requests: 0, refused: 0.into() },
    };
    let started = Instant::now();
    let (mut items, reader) = read_in_background(sources, reading, bar.clone());
    while let Some(item) = items.recv().await {
        replay.item(item).await?;
    }
    let told = replay.finish().await?;
    reader.await.map_err(|error| Error::internal(format!("reading failed: {error}")))?;
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    let (spans, requests) = (count(told.spans, "span"), count(told.requests, "request"));
    say!("{spans} sent in {requests} in {seconds:.1} s: {:.0} spans/s", told.spans as f64 / seconds.max(1e-9))?;
    let refused = told.refused.get();
    if refused > 0 {
        say!("refused: {refused}, as told above")?;
    }
    Ok(if refused == 0 { Exit::Success } else { Exit::Failure })
}

struct Replay {
    senders: Senders,
    speed: Speed,
    target_ns: Option<i64>,
    changes: Replayed,
    /// When the first request was sent, and the end of its last span as it came.
    first: Option<(Instant, u64)>,
    told: Told,
}

/// What was sent, and what was not.
struct Told {
    bar: ProgressBar,
    spans: u64,
    requests: u64,
    refused: std::cell::Cell<u64>,
}

impl Told {
    fn refuse(&self, refused: u64, why: &str) {
        self.refused.set(self.refused.get() + refused);
        self.bar.suspend(|| tell!("{}", sanitize(why)));
    }

    /// Tells of spans that the server did not take.
    fn check(&self, receipt: &Receipt) -> Result<()> {
        if receipt.rejected_spans > 0 {
            self.refuse(receipt.rejected_spans, &format!("the server refused {}", receipt.message));
        }
        Ok(())
    }
}

impl Replay {
    async fn item(&mut self, item: Item) -> Result<()> {
        match item {
            Item::Record(record) => self.record(record).await,
            Item::Refused { file, place, why } | Item::Broken { file, place, why } => {
                self.told.refuse(1, &format!("{}: {place}: refused: {why}", file.display()));
                Ok(())
            }
        }
    }

    async fn record(&mut self, record: Record) -> Result<()> {
        let place = |place: &Place| format!("{}: {place}", record.file.display());
        let converted = to_protobuf(&record).and_then(|(payload, refused)| {
            let request = ExportTraceServiceRequest::decode(payload);
            let wrong = |error| Error::bad_input(format!("it is no OTLP request: {error}"));
            Ok((request.map_err(wrong)?, refused))
        });
        let (mut request, refused) = match converted {
            Ok(converted) => converted,
            Err(error) => {
                self.told.refuse(1, &format!("{}: refused: {error}", place(&record.place)));
                return Ok(());
            }
        };
        for span in refused {
            self.told.refuse(1, &format!("{}: 1 span refused: {}: {}", place(&record.place), span.place, span.why));
        }
        let Some(end_ns) = latest_end_ns(&request) else { return Ok(()) };
        self.wait_for(end_ns).await;
        let spans: u64 = request
            .resource_spans
            .iter()
            .flat_map(|resource| &resource.scope_spans)
            .map(|scope| scope.spans.len() as u64)
            .sum();
        if !self.changes.change(&mut request) {
            self.told.refuse(spans, &format!("{}: refused: its times cannot be moved so far", place(&record.place)));
            return Ok(());
        }
        let told = &self.told;
        self.senders.send(Bytes::from(request.encode_to_vec()), |receipt| told.check(&receipt)).await?;
        self.told.spans += spans;
        self.told.requests += 1;
        self.told.bar.set_message(count(self.told.spans, "span"));
        Ok(())
    }

    /// Waits until a request is due whose last span ended then; the first says when that is.
    async fn wait_for(&mut self, end_ns: u64) {
        let (began, first_end_ns) = *self.first.get_or_insert_with(|| {
            if let Some(target_ns) = self.target_ns {
                let shift = i128::from(target_ns) - i128::from(end_ns);
                self.changes.shift_ns = i64::try_from(shift).unwrap_or(if shift < 0 { i64::MIN } else { i64::MAX });
            }
            (Instant::now(), end_ns)
        });
        let due = self.speed.after(i128::from(end_ns) - i128::from(first_end_ns));
        tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
    }

    async fn finish(self) -> Result<Told> {
        let told = self.told;
        self.senders.finish(|receipt| told.check(&receipt)).await?;
        Ok(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_number_or_max() {
        assert_eq!((Speed::parse("2"), Speed::parse("max")), (Ok(Speed::Times(2.0)), Ok(Speed::Max)));
        for text in ["0", "-1", "fast", "inf", "NaN"] {
            Speed::parse(text).expect_err(text);
        }
        assert_eq!(Speed::Times(2.0).after(4_000_000_000), Duration::from_secs(2));
        assert_eq!(Speed::Max.after(4_000_000_000), Duration::ZERO);
        assert_eq!(Speed::Times(1.0).after(-5), Duration::ZERO, "what ended before the first is sent at once");
    }
}
