//! The front door: whatever came off the wire becomes spans in the store, or an error with its answer.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::admission::{Admission, Reservation};
use super::body::{Compression, decompress};
use super::counters::{Counters, CountersSnapshot};
use super::rules::{RuleCount, Rules};
use super::settings::IngestSettings;
use super::share::{Pool, Share, ShareLimits};
use crate::error::{Error, Result};
use crate::otlp::{Decoded, Refusals, decode_export, json_to_protobuf};
use crate::store::Store;

/// Requests of up to this size are decoded where they arrive. At 250 MB/s that keeps the network runtime's thread for at most
/// half a millisecond; handing over to another thread costs 10 to 20 µs.
const INLINE_BYTES: usize = 128 << 10;

/// Takes exports into a store.
#[derive(Debug)]
pub struct Ingest {
    store: Arc<Store>,
    settings: IngestSettings,
    admission: Arc<Admission>,
    counters: Counters,
    /// One large request a core is decoded at a time: each may take half a gigabyte for a moment.
    decode_slots: Arc<Semaphore>,
    /// That of a tenant beside the default one.
    share: Option<Arc<Share>>,
}

/// What became of an export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExportAnswer {
    pub accepted_spans: u64,
    pub refusals: Refusals,
}

impl ExportAnswer {
    /// Spans that the export had.
    pub(super) fn spans(&self) -> u64 {
        self.accepted_spans + self.refusals.rejected_spans
    }
}

/// The two encodings of OTLP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Protobuf,
    Json,
}

/// A request's body as it came, with its share of the budget.
#[derive(Debug)]
pub(super) struct Received {
    pub body: Bytes,
    pub compression: Compression,
    pub format: Format,
    pub reservation: Reservation,
}

impl Ingest {
    /// Opens the front door of `store`.
    pub fn new(store: Arc<Store>, settings: IngestSettings) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let admission = Admission::new(settings.max_in_flight_bytes);
        let decode_slots = Arc::new(Semaphore::new(cores));
        Arc::new(Self { store, settings, admission, counters: Counters::default(), decode_slots, share: None })
    }

    /// Opens the front door of another tenant's store: of the memory for requests in flight it gets a fair part, and it decodes in turn with this one.
    pub(super) fn beside(&self, store: Arc<Store>, pool: &Arc<Pool>, limits: ShareLimits) -> Arc<Self> {
        Arc::new(Self {
            share: Some(Share::of(pool, store.clone(), limits)),
            store,
            settings: self.settings.clone(),
            // One tenant gets half of it at most: as much as the default one has.
            admission: pool.admission(self.settings.max_in_flight_bytes.saturating_mul(2)),
            counters: Counters::default(),
            decode_slots: self.decode_slots.clone(),
        })
    }

    /// Changes what a tenant may take from now on.
    pub fn limit(&self, limits: ShareLimits) {
        if let Some(share) = &self.share {
            share.limit(limits);
        }
    }

    /// What a tenant beside the default one may take.
    pub fn limits(&self) -> Option<ShareLimits> {
        self.share.as_ref().map(|share| share.limits())
    }

    /// Keeps a protobuf `ExportTraceServiceRequest`: when this returns, its spans are on disk and visible.
    pub async fn export(&self, payload: Bytes) -> Result<ExportAnswer> {
        let received = self.receive(payload, Format::Protobuf);
        match received {
            Ok(received) => self.export_received(received).await,
            Err(error) => Err(self.refuse(error)),
        }
    }

    /// Keeps an OTLP JSON `ExportTraceServiceRequest`.
    pub async fn export_json(&self, payload: Bytes) -> Result<ExportAnswer> {
        match self.receive(payload, Format::Json) {
            Ok(received) => self.export_received(received).await,
            Err(error) => Err(self.refuse(error)),
        }
    }

    /// The counts since the start.
    pub fn counters(&self) -> CountersSnapshot {
        self.counters.snapshot(self.admission.in_flight_bytes() as u64)
    }

    /// What the rules for sensitive data have done since the start.
    pub fn rule_counts(&self) -> Vec<RuleCount> {
        self.settings.rules.as_ref().map(|rules| rules.counts()).unwrap_or_default()
    }

    pub fn settings(&self) -> &IngestSettings {
        &self.settings
    }

    pub(super) fn open_reservation(&self) -> Reservation {
        self.admission.open()
    }

    pub(super) async fn export_received(&self, received: Received) -> Result<ExportAnswer> {
        self.try_export(received).await.map_err(|error| self.refuse(error))
    }

    /// Counts an error on its way to the sender.
    pub(super) fn refuse(&self, error: Error) -> Error {
        self.counters.refuse(&error);
        tracing::debug!(kind = ?error.kind, "refused an export: {error}");
        error
    }

    fn receive(&self, body: Bytes, format: Format) -> Result<Received> {
        let mut reservation = self.open_reservation();
        reservation.grow(body.len())?;
        Ok(Received { body, compression: Compression::Identity, format, reservation })
    }

    async fn try_export(&self, received: Received) -> Result<ExportAnswer> {
        let (began, max_bytes) = (Instant::now(), self.settings.max_request_bytes);
        if let Some(share) = &self.share {
            share.check()?;
        }
        let is_small = received.body.len() <= INLINE_BYTES && received.compression == Compression::Identity;
        let prepared = if is_small {
            prepare(received, max_bytes, self.settings.rules.as_deref())?
        } else {
            let rules = self.settings.rules.clone();
            in_slot(&self.decode_slots, move || prepare(received, max_bytes, rules.as_deref())).await?
        };
        let Prepared { payload, decoded: Decoded { batch, refusals }, reservation } = prepared;
        let (accepted_spans, bytes) = (batch.num_rows() as u64, payload.len() as u64);
        if accepted_spans > 0 {
            self.store.append(payload, batch).await?;
        }
        drop(reservation);
        self.counters.accept(accepted_spans, bytes, began.elapsed(), &refusals);
        Ok(ExportAnswer { accepted_spans, refusals })
    }
}

/// Works on a thread that may block. The slot is held until the work ends, also when the sender has gone and nobody waits for it any longer.
async fn in_slot<T: Send + 'static>(
    slots: &Arc<Semaphore>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let slot = Arc::clone(slots).acquire_owned().await;
    let slot = slot.map_err(|_| Error::internal("the decode slots are closed"))?;
    let decoding = tokio::task::spawn_blocking(move || {
        let _slot = slot;
        work()
    });
    decoding.await.map_err(|error| Error::internal(format!("decoding a request failed: {error}")))?
}

/// A request that is ready for the store.
struct Prepared {
    payload: Bytes,
    decoded: Decoded,
    reservation: Reservation,
}

/// Decompresses, transcodes and decodes a request; what rules take out of it is gone before anything else sees it.
fn prepare(received: Received, max_bytes: usize, rules: Option<&Rules>) -> Result<Prepared> {
    let Received { body, compression, format, mut reservation } = received;
    let body = decompress(body, compression, max_bytes, &mut reservation)?;
    let payload = match format {
        Format::Protobuf => body,
        Format::Json => {
            reservation.grow(body.len())?;
            Bytes::from(json_to_protobuf(&body)?)
        }
    };
    let payload = match rules {
        None => payload,
        Some(rules) => {
            reservation.grow(payload.len())?;
            rules.apply(&payload)?
        }
    };
    let decoded = decode_export(&payload)?;
    Ok(Prepared { payload, decoded, reservation })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slot_is_held_until_its_work_ends_though_nobody_waits() {
        let slots = Arc::new(Semaphore::new(1));
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let mut working = Box::pin(in_slot(&slots, move || wait.recv().map_err(|_| Error::internal("left alone"))));
        tokio::select! {
            biased;
            ended = &mut working => panic!("it ended before it was told to: {ended:?}"),
            () = std::future::ready(()) => {}
        }
        drop(working);
        assert_eq!(slots.available_permits(), 0);
        end.send(()).expect("it waits");
        assert!(slots.acquire().await.is_ok());
    }
}
