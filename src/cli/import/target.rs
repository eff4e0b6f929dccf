//! Where an import goes: a data directory, or an OTLP endpoint.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::task::JoinSet;

use super::describe;
use super::ledger::{Ledger, Refusal};
use super::records::Record;
use super::senders::AT_ONCE;
use super::spans::walk;
use crate::cli::data::{self, ServerFile};
use crate::cli::exit;
use crate::cli::output::tell;
use crate::cli::sender::SenderFlags;
use crate::cli::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::ingest::{ExportClient, Ingest};
use crate::otlp::json_to_protobuf;
use crate::store::Store;

/// How often an export into the data directory is tried while memory is full; the sealer makes room meanwhile.
const ATTEMPTS: u32 = 120;

/// Where records go.
pub(super) enum Target {
    Endpoint(Arc<ExportClient>),
    DataDir { store: Arc<Store>, ingest: Arc<Ingest> },
}

/// What to know after an import that ended early.
const PARTLY_IMPORTED: &str = "the records before this one are imported, and a few after it may be; \
    importing them again stores their spans twice unless the log still holds them: import the rest of the file only";

/// What became of a record.
#[derive(Debug, Default)]
struct Taken {
    spans: u64,
    refused_spans: u64,
    message: String,
    trace_ids: Vec<Bytes>,
}

impl Target {
    pub(super) async fn endpoint(url: &str, sender: &SenderFlags) -> Result<Self> {
        let client = ExportClient::new(url, &sender.settings()?).map_err(exit::usage)?;
        client.reach().await?;
        Ok(Self::Endpoint(Arc::new(client)))
    }

    /// Opens the data directory, or turns to the server that has it.
    pub(super) async fn data_dir(settings: &Settings, sender: &SenderFlags) -> Result<Self> {
        let ingest_settings = settings.ingest()?;
        let refused = match Store::open(&settings.data_dir, data::for_import(settings)?).await {
            Ok(store) => {
                let ingest = Ingest::new(store.clone(), ingest_settings);
                return Ok(Self::DataDir { store, ingest });
            }
            Err(error) => error,
        };
        let server = (refused.kind == Kind::Denied).then(|| ServerFile::read(&settings.data_dir)).flatten();
        match server.as_ref().map(|server| (server.otlp_grpc, server.otlp_http)) {
            Some((Some(address), _)) => Self::announce(&format!("http://{address}"), &refused, sender).await,
            Some((None, Some(address))) => {
                Self::announce(&format!("http://{address}/v1/traces"), &refused, sender).await
            }
            _ => Err(refused),
        }
    }

    async fn announce(url: &str, refused: &Error, sender: &SenderFlags) -> Result<Self> {
        tell!("{refused}; sending to it at {url}");
        Self::endpoint(url, sender).await
    }

    pub(super) fn exports(&self) -> Exports<'_> {
        Exports { target: self, under_way: JoinSet::new(), started: 0, failed: None }
    }

    /// Seals what was imported into a data directory.
    pub(super) async fn close(&self) -> Result<()> {
        match self {
            Self::Endpoint(_) => Ok(()),
            Self::DataDir { store, .. } => store.close().await,
        }
    }

    fn clone_handle(&self) -> Handle {
        match self {
            Self::Endpoint(client) => Handle::Endpoint(client.clone()),
            Self::DataDir { ingest, .. } => Handle::DataDir(ingest.clone()),
        }
    }
}

enum Handle {
    Endpoint(Arc<ExportClient>),
    DataDir(Arc<Ingest>),
}

/// Exports under way, with the records that they belong to.
pub(super) struct Exports<'a> {
    target: &'a Target,
    /// Each with its number in the order of the files.
    under_way: JoinSet<(u64, Record, Result<Taken>)>,
    started: u64,
    /// The earliest record that ends the import, and why.
    failed: Option<(u64, Error)>,
}

impl Exports<'_> {
    /// Starts the export of a record; first ends another when there is no room.
    pub(super) async fn send(&mut self, record: Record, ledger: &mut Ledger) -> Result<()> {
        while self.under_way.len() >= AT_ONCE {
            self.end_one(ledger).await?;
        }
        if self.failed.is_some() {
            return self.end_all(ledger).await;
        }
        let handle = self.target.clone_handle();
        self.started += 1;
        let number = self.started;
        self.under_way.spawn(async move {
            let taken = export(&handle, &record).await;
            (number, record, taken)
        });
        Ok(())
    }

    pub(super) async fn finish(mut self, ledger: &mut Ledger) -> Result<()> {
        self.end_all(ledger).await
    }

    /// Ends what is under way, after a failure too: it tells which record is the first that was not taken.
    async fn end_all(&mut self, ledger: &mut Ledger) -> Result<()> {
        while !self.under_way.is_empty() {
            self.end_one(ledger).await?;
        }
        self.failed.take().map_or(Ok(()), |(_, error)| Err(error))
    }

    async fn end_one(&mut self, ledger: &mut Ledger) -> Result<()> {
        let Some(ended) = self.under_way.join_next().await else { return Ok(()) };
        let (number, record, taken) = ended.map_err(|panic| Error::internal(format!("an export failed: {panic}")))?;
        let refusal = |spans, why| Refusal { file: record.file.clone(), place: record.place, spans, why };
        match taken {
            Ok(taken) => {
                taken.trace_ids.iter().for_each(|id| ledger.traces.add(id));
                ledger.take(taken.spans);
                if taken.refused_spans > 0 {
                    ledger.refuse(refusal(Some(taken.refused_spans), taken.message));
                }
            }
            Err(error) if matches!(error.kind, Kind::BadInput | Kind::TooLarge) => {
                ledger.refuse(refusal(None, error.message.into_owned()));
            }
            Err(error) => self.fail(number, &record, &error),
        }
        Ok(())
    }

    /// Keeps the failure of the earliest record.
    fn fail(&mut self, number: u64, record: &Record, error: &Error) {
        if self.failed.as_ref().is_none_or(|(earliest, _)| number < *earliest) {
            let error = Error::new(error.kind, format!("{}: {error}", describe(record))).with_hint(PARTLY_IMPORTED);
            self.failed = Some((number, error));
        }
    }
}

async fn export(handle: &Handle, record: &Record) -> Result<Taken> {
    let payload = match record.json {
        true => Bytes::from(json_to_protobuf(&record.payload)?),
        false => record.payload.clone(),
    };
    let mut trace_ids: Vec<Bytes> = Vec::new();
    let walked = walk(&payload, &mut |id| {
        // Most spans follow one of their own trace.
        if trace_ids.last().is_none_or(|last| last != id) {
            trace_ids.push(payload.slice_ref(id));
        }
    });
    if walked == 0 && record.json {
        explain_no_spans(&record.payload)?;
    }
    let mut taken = match handle {
        Handle::Endpoint(client) => {
            let receipt = client.export(payload).await?;
            let spans = walked.saturating_sub(receipt.rejected_spans);
            Taken { spans, refused_spans: receipt.rejected_spans, message: receipt.message, trace_ids: Vec::new() }
        }
        Handle::DataDir(ingest) => keep(ingest, payload).await?,
    };
    if taken.spans > 0 {
        taken.trace_ids = trace_ids;
    }
    Ok(taken)
}

/// Keeps a request, waiting for memory while the sealer makes room.
async fn keep(ingest: &Ingest, payload: Bytes) -> Result<Taken> {
    let mut attempt = 0;
    let answer = loop {
        attempt += 1;
        match ingest.export(payload.clone()).await {
            Err(Error { kind: Kind::Overloaded { retry_after }, .. }) if attempt < ATTEMPTS => {
                tokio::time::sleep(retry_after.min(Duration::from_secs(1))).await;
            }
            answer => break answer?,
        }
    };
    Ok(Taken {
        spans: answer.accepted_spans,
        refused_spans: answer.refusals.rejected_spans,
        message: answer.refusals.message,
        trace_ids: Vec::new(),
    })
}

/// Refuses JSON that is not an OTLP trace request, and says what it looks like. An empty request is one.
fn explain_no_spans(json: &[u8]) -> Result<()> {
    let Ok(fields) = serde_json::from_slice::<Fields>(json) else { return Ok(()) };
    let has = |name: &str| fields.0.contains_key(name);
    let looks_like = match () {
        () if fields.0.is_empty() || has("resourceSpans") || has("resource_spans") => return Ok(()),
        () if has("resourceLogs") => "OTLP logs; only traces can be imported",
        () if has("resourceMetrics") => "OTLP metrics; only traces can be imported",
        () if has("data") || has("traceID") || has("operationName") => "Jaeger JSON; export it as OTLP",
        () if has("localEndpoint") || has("traceId") => "Zipkin JSON or a single span; wrap spans in an OTLP request",
        () => "some other JSON",
    };
    Err(Error::bad_input(format!("there is no resourceSpans in it: it looks like {looks_like}")))
}

/// The keys of a JSON object.
#[derive(Deserialize)]
struct Fields(BTreeMap<String, IgnoredAny>);
