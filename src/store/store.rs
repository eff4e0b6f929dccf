//! The store of one process: owns the data directory and moves spans from log to table.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::compact::{Backlog, backlog};
use super::health::{DiskRoom, full_disk, full_log};
use super::keeper::{CompactReport, Keeper, Redaction};
use super::publish::Attachment;
use super::retention::announce;
use super::retries::{Outcome, Standing};
use super::sealer::Sealer;
use super::settings::StoreSettings;
use super::shared::Shared;
use super::status::{SealReport, StoreStatus};
use super::wal::{Appender, Entry, Lsn, MAX_PAYLOAD_BYTES, Refusal, RequestHash};
use super::{RedactReport, Retention, Snapshot, SnapshotSource, missing_file, open};
use crate::error::{Error, Kind, Result};
use crate::model::SpanBatch;

/// What a client is told to wait when memory stayed full for as long as its export waited.
const FRESH_RETRY_AFTER: Duration = Duration::from_secs(2);
const FRESH_FULL: &str = "the memory for fresh spans is full; they are being moved to the table";

/// The store of one process.
#[derive(Debug)]
pub struct Store {
    shared: Arc<Shared>,
    appender: ArcSwapOption<Appender<Attachment>>,
    sealer: Sealer,
    keeper: Keeper,
    poisoned: watch::Receiver<Option<Refusal>>,
    log_thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the data directory, replays its log, and starts the sealer.
    ///
    /// # Errors
    /// [`Kind::Denied`] when another process has the directory, [`Kind::Corrupt`] when its log is damaged.
    pub async fn open(dir: &Path, settings: StoreSettings) -> Result<Arc<Self>> {
        open::open(dir, settings, open::Components::default()).await
    }

    /// Opens another data directory in the same process: keeping the files of their tables in order, the stores take turns, and all that are opened
    /// so share memory for trace indexes.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub async fn open_beside(&self, dir: &Path, settings: StoreSettings) -> Result<Arc<Self>> {
        let (upkeep, indexes) = (self.shared.upkeep.clone(), Some(self.shared.indexes_beside.clone()));
        open::open(dir, settings, open::Components { upkeep, indexes, ..open::Components::default() }).await
    }

    pub(crate) fn new(
        shared: Arc<Shared>,
        appender: Appender<Attachment>,
        (sealer, keeper): (Sealer, Keeper),
        log_thread: JoinHandle<()>,
    ) -> Self {
        let poisoned = appender.poisoned();
        let appender = ArcSwapOption::from_pointee(appender);
        Self { shared, appender, sealer, keeper, poisoned, log_thread: Mutex::new(Some(log_thread)) }
    }

    /// Keeps one export: returns when `payload` (a protobuf `ExportTraceServiceRequest`) is on disk and `batch`, decoded
    /// from it, is visible to every new snapshot.
    ///
    /// A payload that was kept within the retry window is not kept again. When the caller stops waiting, the export may still be kept.
    ///
    /// # Errors
    /// [`Kind::Overloaded`] when memory or disk is full, [`Kind::Closed`] when the store is closed or its log has failed.
    pub async fn append(&self, payload: Bytes, batch: SpanBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        if payload.len() > MAX_PAYLOAD_BYTES {
            return Err(Error::new(
                Kind::TooLarge,
                format!("a request of more than {MAX_PAYLOAD_BYTES} bytes does not fit the log"),
            ));
        }
        self.shared.fence.check()?;
        let hash = RequestHash::of(&payload);
        let received_unix_ms = self.shared.clock.unix_ms();
        if let Some(done) = self.known(self.shared.retries.look(hash, received_unix_ms)).await {
            return done;
        }
        let closed = || Error::new(Kind::Closed, "the store is closed");
        let appender = self.appender.load_full().ok_or_else(closed)?;
        let charge = self.charge(&batch).await?;
        let slot = appender.reserve().await?;
        let standing = self.shared.retries.begin(hash);
        if !matches!(standing, Standing::New) {
            drop((slot, charge));
            return self
                .known(standing)
                .await
                .unwrap_or_else(|| Err(Error::internal("a request is both new and known")));
        }
        let (attachment, done) = Attachment::new(batch, charge);
        slot.send(Entry { payload, hash, received_unix_ms, attachment });
        done.await.map_err(|_| closed())?.map_err(|refusal| refusal.to_error())
    }

    /// The outcome of a request that came before; `None` for a new one.
    async fn known(&self, standing: Standing) -> Option<Result<()>> {
        let outcome: Outcome = match standing {
            Standing::New => return None,
            Standing::Stored => Some(Ok(())),
            Standing::UnderWay(mut waiting) => match waiting.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone(),
                Err(_) => None,
            },
        };
        Some(match outcome {
            Some(Ok(())) => {
                self.shared.counters.retries.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Some(Err(refusal)) => Err(refusal.to_error()),
            None => Err(Error::new(Kind::Closed, "the store is closed")),
        })
    }

    /// Takes memory from the budget, waiting a bounded time for it.
    async fn charge(&self, batch: &SpanBatch) -> Result<OwnedSemaphorePermit> {
        let units = self.shared.charge(batch);
        let budget = self.shared.budget.clone();
        if let Ok(permit) = budget.clone().try_acquire_many_owned(units) {
            self.shared.refusals.taken();
            return Ok(permit);
        }
        let _waiting = Waiting::enter(&self.shared);
        match tokio::time::timeout(self.shared.settings.append_wait, budget.acquire_many_owned(units)).await {
            Ok(permit) => {
                self.shared.refusals.taken();
                permit.map_err(|_| Error::new(Kind::Closed, "the store is closed"))
            }
            Err(_) => {
                self.shared.counters.refused_for_memory.fetch_add(1, Ordering::Relaxed);
                self.shared.refusals.refused(1, FRESH_FULL);
                Err(Error::new(Kind::Overloaded { retry_after: FRESH_RETRY_AFTER }, FRESH_FULL))
            }
        }
    }

    /// Moves all spans that are fresh now into the table.
    pub async fn seal(&self) -> Result<SealReport> {
        self.sealer.seal().await
    }

    /// Makes the files of the table as few and large as they shall be, and returns when nothing is left to do.
    pub async fn compact(&self) -> Result<CompactReport> {
        self.keeper.compact().await
    }

    /// Takes spans out of the table for good: those that are fresh now are sealed first. A span that comes later is a new one.
    ///
    /// # Errors
    /// [`Kind::Denied`], with nothing changed, when a file of another program holds such spans.
    pub async fn redact(&self, redaction: Redaction) -> Result<RedactReport> {
        self.seal().await?;
        self.keeper.redact(redaction).await
    }

    /// Refuses further appends, seals, removes the log, which then holds nothing more, and lets go of the directory.
    pub async fn close(self: &Arc<Self>) -> Result<()> {
        self.appender.store(None);
        let store = self.clone();
        on_blocking_thread(move || {
            store.keeper.stop();
            store.end_log()
        })
        .await??;
        self.seal().await?;
        let store = self.clone();
        on_blocking_thread(move || {
            store.sealer.stop();
            let mark = Lsn(store.shared.counters.sealed_lsn.load(Ordering::Relaxed));
            let cut = store.shared.segments.cut(store.shared.disk.as_ref(), mark);
            store.shared.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
            cut
        })
        .await?
    }

    /// Waits for the log's thread, which ends when nobody appends any more.
    fn end_log(&self) -> Result<()> {
        let thread = self.log_thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let joined = thread.map_or(Ok(()), JoinHandle::join);
        joined.map_err(|_| Error::internal("the log's thread ended badly"))
    }

    /// Waits until the store has failed for good, and tells why: from then on no export is acknowledged, and the process should end.
    pub async fn poisoned(&self) -> Error {
        tokio::select! {
            error = self.log_failed() => error,
            error = self.shared.fence.closed() => error,
        }
    }

    async fn log_failed(&self) -> Error {
        let mut poisoned = self.poisoned.clone();
        match poisoned.wait_for(Option::is_some).await.map(|refusal| refusal.clone()) {
            Ok(Some(refusal)) => {
                let error = refusal.to_error();
                Error::new(error.kind, format!("the write-ahead log has failed: {error}")).with_source(error)
            }
            _ if self.appender.load().is_some() => log_ended_badly(),
            // The log's thread ended in good health: it will never be poisoned.
            _ => std::future::pending().await,
        }
    }

    /// Why no export is taken now, if none is.
    pub fn refusal(&self) -> Option<Error> {
        let failed = || self.poisoned.borrow().as_ref().map(Refusal::to_error).or_else(|| self.ended_badly());
        let closed = || self.appender.load().is_none().then(|| Error::new(Kind::Closed, "the store is closed"));
        let full = || full_log(self.status().log_bytes, self.shared.settings.log_budget_bytes);
        // A disk that cannot be looked at tells so when it is written to.
        let disk = || full_disk(self.disk_room().ok()?);
        self.shared.fence.check().err().or_else(failed).or_else(closed).or_else(full).or_else(disk)
    }

    /// The failure of a log whose thread has ended although nobody closed it.
    fn ended_badly(&self) -> Option<Error> {
        let has_ended = self.poisoned.has_changed().is_err();
        (has_ended && self.appender.load().is_some()).then(log_ended_badly)
    }

    /// The disk that holds the log.
    pub fn disk_room(&self) -> Result<DiskRoom> {
        DiskRoom::of(&self.shared.dir)
    }

    /// What compaction has to do.
    pub fn backlog(&self) -> Backlog {
        backlog(&self.shared.visible.load().files, self.shared.clock.unix_ms())
    }

    /// What the store may take of memory for fresh spans, and of disk for the log, in bytes.
    pub fn budgets(&self) -> (u64, u64) {
        (self.shared.settings.fresh_budget_bytes as u64, self.shared.settings.log_budget_bytes)
    }

    /// Memory that fresh spans, and requests under way, take.
    pub fn fresh_bytes(&self) -> u64 {
        self.shared.fresh_bytes()
    }

    /// Disk that the log takes.
    pub fn log_bytes(&self) -> u64 {
        self.shared.segments.bytes() + self.current_log_bytes()
    }

    fn current_log_bytes(&self) -> u64 {
        self.appender.load().as_ref().map_or(0, |appender| appender.current_bytes())
    }

    /// Keeps spans for another time from now on, for readers of the directory as well.
    pub fn set_retention(&self, retention: Retention) -> Result<()> {
        let settings = StoreSettings { retention, ..self.shared.settings.clone() };
        settings.validate()?;
        announce(self.shared.disk.as_ref(), &self.shared.dir, &settings.retention)?;
        self.shared.retention.store(Arc::new(settings.retention));
        Ok(())
    }

    async fn pin(&self) -> Result<Snapshot> {
        let state = self.shared.visible.load();
        let object_store = self.shared.object_store.clone();
        let expiry = self.shared.expiry((&*state, None), self.shared.clock.unix_ms()).await?;
        let quarantined_files = self.shared.counters.quarantined_files.load(Ordering::Relaxed);
        Snapshot::new(&state, expiry, object_store, quarantined_files, Some(self.status()))
    }

    /// The store's numbers.
    pub fn status(&self) -> StoreStatus {
        self.shared.status(self.current_log_bytes())
    }
}

fn log_ended_badly() -> Error {
    Error::new(Kind::Closed, "the write-ahead log has failed: its thread ended badly")
}

async fn on_blocking_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::internal(format!("closing the store ended badly: {error}")))
}

/// An export that waits for memory, counted for as long as it does.
struct Waiting<'a>(&'a Shared);

impl<'a> Waiting<'a> {
    fn enter(shared: &'a Shared) -> Self {
        shared.waiting.fetch_add(1, Ordering::Relaxed);
        shared.seal_wanted.notify_one();
        Self(shared)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl SnapshotSource for Store {
    async fn snapshot(&self) -> Result<Snapshot> {
        self.shared.follow_if_near().await;
        match self.pin().await {
            // What decides about expired spans is read from files, which others may have deleted. One that is in the table all the same fails only
            // who needs it the second time.
            Err(error) if missing_file(&error).is_some() => {
                self.shared.has_left(&error).await?;
                self.pin().await
            }
            done => done,
        }
    }

    async fn newest(&self) -> Result<Snapshot> {
        self.shared.follow().await?;
        self.snapshot().await
    }
}
