//! What happens when the log has a group on disk: its spans become visible, its senders are told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;

use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::failpoint;
use super::fresh::Part;
use super::shared::{CHARGE_UNIT_BYTES, Shared};
use super::wal::{Entry, Lsn, Refusal, Sink};
use crate::model::SpanBatch;

/// What a request carries through the log besides its bytes.
#[derive(Debug)]
pub(crate) struct Attachment {
    batch: SpanBatch,
    charge: OwnedSemaphorePermit,
    done: oneshot::Sender<Result<(), Refusal>>,
}

impl Attachment {
    pub(crate) fn new(
        batch: SpanBatch,
        charge: OwnedSemaphorePermit,
    ) -> (Self, oneshot::Receiver<Result<(), Refusal>>) {
        let (done, outcome) = oneshot::channel();
        (Self { batch, charge, done }, outcome)
    }
}

/// Runs on the log's thread, so that spans become visible in the log's order.
pub(crate) struct Publisher {
    pub shared: Arc<Shared>,
    /// Wakes the thread that merges small parts.
    pub merge: SyncSender<()>,
}

impl Sink<Attachment> for Publisher {
    fn durable(&mut self, group: Vec<(Lsn, Entry<Attachment>)>) {
        let Some(last) = group.last().map(|(lsn, _)| *lsn) else { return };
        let mut parts = Vec::with_capacity(group.len());
        let (mut told, mut stored) = (Vec::with_capacity(group.len()), Vec::with_capacity(group.len()));
        for (lsn, entry) in group {
            let Attachment { batch, charge, done } = entry.attachment;
            let units = charge.num_permits() as u32;
            match Part::new(lsn, batch, units, entry.received_unix_ms) {
                Ok(part) => {
                    charge.forget();
                    parts.push(part);
                    stored.push((entry.hash, entry.received_unix_ms));
                    told.push((done, Ok(())));
                }
                Err(error) => {
                    let refusal = Refusal { kind: error.kind, message: error.to_string() };
                    self.shared.retries.refused(entry.hash, &refusal);
                    told.push((done, Err(refusal)));
                }
            }
        }
        self.shared.visible.publish(parts);
        // Only now: who sent the same request again is told by this, and what is acknowledged is visible.
        stored.into_iter().for_each(|(hash, received_unix_ms)| self.shared.retries.stored(hash, received_unix_ms));
        self.shared.counters.last_lsn.store(last.0, Ordering::Relaxed);
        failpoint::pass("before_ack");
        for (done, outcome) in told {
            // Who does not wait any more does not need to know.
            let _ = done.send(outcome);
        }
        self.wake_others();
    }

    fn refused(&mut self, group: Vec<Entry<Attachment>>, refusal: Refusal) {
        for entry in group {
            self.shared.retries.refused(entry.hash, &refusal);
            let _ = entry.attachment.done.send(Err(refusal.clone()));
        }
    }
}

impl Publisher {
    fn wake_others(&self) {
        // A full channel means that the thread is awake anyway.
        let _ = self.merge.try_send(());
        let state = self.shared.visible.load();
        let bytes = state.fresh_charged() * CHARGE_UNIT_BYTES as u64;
        if bytes >= self.shared.settings.seal_bytes() as u64 || state.fresh_rows() >= self.shared.settings.seal_rows {
            self.shared.seal_wanted.notify_one();
        }
    }
}
