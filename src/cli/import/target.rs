//! Where an import goes: a data directory, or an OTLP endpoint.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::convert::to_protobuf;
use super::describe;
use super::done::{Imported, RecordHash};
use super::ledger::{Ledger, Refusal};
use super::record::Record;
use super::senders::AT_ONCE;
use super::spans::walk;
use crate::cli::data::{self, ServerFile};
use crate::cli::exit;
use crate::cli::output::tell;
use crate::cli::sender::SenderFlags;
use crate::cli::settings::Settings;
use crate::cli::tenant_flag::of_tenant;
use crate::error::{Error, Kind, Result};
use crate::formats::RefusedSpan;
use crate::ingest::{ExportClient, Ingest};
use crate::store::Store;

/// How often an export into the data directory is tried while memory is full; the sealer makes room meanwhile.
const ATTEMPTS: u32 = 120;

/// Where records go.
pub(super) enum Target {
    Endpoint(Arc<ExportClient>),
    DataDir { store: Arc<Store>, ingest: Arc<Ingest> },
}

/// What to know after an import that ended early.
const PARTLY_IMPORTED: &str = "the records before this one are imported, and a few after it may be: run the import \
    again, and it goes on here";
const PARTLY_SENT: &str = "the records before this one are imported, and a few after it may be; sent again, their \
    spans are stored twice unless the server's log still holds them: send the rest of the file only, or use --ledger FILE \
    from the beginning";

/// What became of a record.
#[derive(Debug, Default)]
struct Taken {
    spans: u64,
    refused_spans: u64,
    message: String,
    trace_ids: Vec<Bytes>,
    /// Spans that could not be converted.
    refused: Vec<RefusedSpan>,
}

impl Target {
    pub(super) async fn endpoint(url: &str, sender: &SenderFlags) -> Result<Self> {
        let client = ExportClient::new(url, &sender.settings()?).map_err(exit::usage)?;
        client.reach().await?;
        Ok(Self::Endpoint(Arc::new(client)))
    }

    /// Opens the data directory, or turns to the server that has it.
    pub(super) async fn data_dir(settings: &Settings, sender: &SenderFlags) -> Result<Self> {
        let settings = &of_tenant(sender.tenant(), settings.clone())?;
        let ingest_settings = settings.ingest()?;
        let refused = match Store::open(&settings.data_dir, data::for_import(settings)?).await {
            Ok(store) => {
                let ingest = Ingest::new(store.clone(), ingest_settings);
                return Ok(Self::DataDir { store, ingest });
            }
            Err(error) => error,
        };
        let server = (refused.kind == Kind::Denied).then(|| ServerFile::read(settings.home())).flatten();
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

    /// Begins to export; records that were `imported` before are left out, and those that are taken are noted.
    pub(super) fn exports(&self, imported: Option<Imported>) -> Exports<'_> {
        Exports { target: self, imported, under_way: JoinSet::new(), started: 0, failed: None }
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
    imported: Option<Imported>,
    /// Each with its number in the order of the files.
    under_way: JoinSet<(u64, Record, RecordHash, Result<Taken>)>,
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
        let hash = RecordHash::of(&record.payload);
        if self.imported.as_ref().is_some_and(|imported| imported.has(hash)) {
            ledger.leave_out();
            return Ok(());
        }
        let handle = self.target.clone_handle();
        self.started += 1;
        let number = self.started;
        self.under_way.spawn(async move {
            let taken = export(&handle, &record).await;
            (number, record, hash, taken)
        });
        Ok(())
    }

    pub(super) async fn finish(mut self, ledger: &mut Ledger) -> Result<()> {
        let ended = self.end_all(ledger).await;
        ended.and(self.imported.as_ref().map_or(Ok(()), Imported::finish))
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
        let (number, record, hash, taken) =
            ended.map_err(|panic| Error::internal(format!("an export failed: {panic}")))?;
        let refusal = |spans, why| Refusal { file: record.file.clone(), place: record.place, spans, why };
        match taken {
            Ok(taken) => {
                taken.trace_ids.iter().for_each(|id| ledger.traces.add(id));
                ledger.take(taken.spans);
                if let Some(imported) = &mut self.imported {
                    imported.note(hash)?;
                }
                for refused in taken.refused {
                    ledger.refuse(refusal(Some(1), format!("{}: {}", refused.place, refused.why)));
                }
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
            let hint = if self.imported.is_some() { PARTLY_IMPORTED } else { PARTLY_SENT };
            let error = Error::new(error.kind, format!("{}: {error}", describe(record))).with_hint(hint);
            self.failed = Some((number, error));
        }
    }
}

async fn export(handle: &Handle, record: &Record) -> Result<Taken> {
    let (payload, refused) = to_protobuf(record)?;
    let mut trace_ids: Vec<Bytes> = Vec::new();
    let walked = walk(&payload, &mut |id| {
        // Most spans follow one of their own trace.
        if trace_ids.last().is_none_or(|last| last != id) {
            trace_ids.push(payload.slice_ref(id));
        }
    });
    if walked == 0 && !refused.is_empty() {
        return Ok(Taken { refused, ..Taken::default() });
    }
    let mut taken = match handle {
        Handle::Endpoint(client) => {
            let receipt = client.export(payload).await?;
            let spans = walked.saturating_sub(receipt.rejected_spans);
            Taken { spans, refused_spans: receipt.rejected_spans, message: receipt.message, ..Taken::default() }
        }
        Handle::DataDir(ingest) => keep(ingest, payload).await?,
    };
    if taken.spans > 0 {
        taken.trace_ids = trace_ids;
    }
    Ok(Taken { refused, ..taken })
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
        ..Taken::default()
    })
}
