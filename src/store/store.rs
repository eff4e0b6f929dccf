//! The store of one process: owns the data directory and moves spans from log to table.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use bytes::Bytes;
use datafusion::object_store::ObjectStore;
use datafusion::object_store::path::Path as ObjectPath;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

use super::cache::{Blocks, CacheFigures};
use super::clock::Clock;
use super::compact::{Backlog, PlanLimits, backlog};
use super::disk::Disk;
use super::fence::Fence;
use super::health::{DiskRoom, full_disk, full_log};
use super::keeper::{CompactReport, Keeper, Redaction};
use super::lock::DirectoryLock;
use super::open::Decode;
use super::publish::Attachment;
use super::quarantine::Quarantine;
use super::retention::{Expiry, MatchMemory, announce, expiry_of};
use super::retries::{Outcome, Retries, Standing};
use super::seal::Convert;
use super::sealer::Sealer;
use super::settings::StoreSettings;
use super::state::{State, Visible};
use super::table::{DeltaLog, TableDir, TableState};
use super::trace_index::IndexMemory;
use super::wal::{Appender, Entry, Lsn, MAX_PAYLOAD_BYTES, Refusal, RequestHash, SegmentList};
use super::{DataFile, RedactReport, RefusalWatch, Retention, Snapshot, SnapshotSource, missing_file, open};
use crate::error::{Error, Kind, Result};
use crate::model::SpanBatch;

/// The unit in which memory is charged to the budget: large enough that the budget's count fits a semaphore.
pub(crate) const CHARGE_UNIT_BYTES: usize = 1024;
/// What a client is told to wait when memory stayed full for as long as its export waited.
const FRESH_RETRY_AFTER: Duration = Duration::from_secs(2);
const FRESH_FULL: &str = "the memory for fresh spans is full; they are being moved to the table";

/// What one sealing did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SealReport {
    pub rows: u64,
    pub files: usize,
    pub bytes: u64,
}

impl SealReport {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, files: self.files + other.files, bytes: self.bytes + other.bytes }
    }
}

/// The store's numbers at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// The last request that is in the log.
    pub last_lsn: u64,
    /// The last request whose spans are in the table.
    pub sealed_lsn: u64,
    pub fresh_rows: u64,
    pub fresh_batches: usize,
    /// What fresh spans, and requests under way, take of the memory budget.
    pub fresh_bytes: u64,
    pub log_bytes: u64,
    /// Files of the log.
    pub log_segments: usize,
    /// How long the oldest fresh span has waited for the table, in milliseconds; `None` when there is none.
    pub oldest_fresh_ms: Option<u64>,
    pub table_version: Option<u64>,
    pub table_files: usize,
    pub table_rows: u64,
    pub table_bytes: u64,
    /// Since the store was opened.
    pub sealings: u64,
    pub sealed_rows: u64,
    /// Requests that were acknowledged as retries and not stored again, since the store was opened.
    pub retries: u64,
    /// Exports that were asked to come again because memory was full, since the store was opened.
    pub refused_for_memory: u64,
    /// Bytes of an unfinished write that opening cut off the log.
    pub cut_torn_bytes: u64,
    /// What the trace indexes of the table's files take of memory.
    pub trace_index_bytes: u64,
    /// Lookups of a file that had to do without its trace index, since the store was opened.
    pub trace_index_failures: u64,
    /// Commits of compaction, since the store was opened.
    pub compactions: u64,
    /// Rows that compaction wrote, since the store was opened.
    pub compacted_rows: u64,
    pub compaction_failures: u64,
    /// Files that left the table and are not deleted yet.
    pub removed_files: u64,
    /// Files that left the table and were deleted, since the store was opened.
    pub deleted_files: u64,
    /// Files that left the table because all their spans had expired, since the store was opened.
    pub expired_files: u64,
    /// Spans that had expired by a rule and were taken out of files, since the store was opened.
    pub expired_rows: u64,
    /// Requests that cannot be stored and were put into quarantine, since the store was opened.
    pub quarantined_requests: u64,
    /// What opening read of the log, and how long that took.
    pub replayed_bytes: u64,
    pub replay_ms: u64,
    /// The cache of a table that lies on an object store.
    pub cache: Option<CacheFigures>,
}

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

/// What the store's threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub dir: PathBuf,
    pub node: String,
    pub settings: StoreSettings,
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub visible: Visible,
    /// Free memory for fresh spans, in units of [`CHARGE_UNIT_BYTES`].
    pub budget: Arc<Semaphore>,
    /// Exports that wait for the budget.
    pub waiting: AtomicUsize,
    pub retries: Retries,
    pub segments: Arc<SegmentList>,
    pub seal_wanted: Notify,
    /// Where the table lies.
    pub object_store: Arc<dyn ObjectStore>,
    /// The same, for reading files that are to be replaced.
    pub rewrites: Arc<dyn ObjectStore>,
    pub cache: Option<Arc<Blocks>>,
    pub indexes: Arc<IndexMemory>,
    pub table_dir: TableDir,
    /// Held for a commit together with its becoming visible.
    pub table: tokio::sync::Mutex<DeltaLog>,
    pub fence: Arc<Fence>,
    pub plan_limits: PlanLimits,
    /// How long spans are kept now, which may change.
    pub retention: ArcSwap<Retention>,
    /// Held while files of the table are kept in order; the stores of a process take turns.
    pub upkeep: Arc<Semaphore>,
    /// The memory for trace indexes of the stores beside this one.
    pub indexes_beside: Arc<IndexMemory>,
    pub decode: Decode,
    pub convert: Convert,
    pub quarantine: Quarantine,
    pub counters: Counters,
    /// What old files match of retention rules.
    pub matches: MatchMemory,
    /// For the memory budget.
    pub refusals: RefusalWatch,
    /// When the table's log was looked at for commits of others.
    pub looked_unix_ms: AtomicI64,
    /// Files that left the table and may still be in the cache.
    pub left: Mutex<Vec<ObjectPath>>,
    /// Held until the store is closed or all its threads are gone.
    pub lock: Mutex<Option<DirectoryLock>>,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub last_lsn: AtomicU64,
    pub sealed_lsn: AtomicU64,
    pub sealings: AtomicU64,
    pub sealed_rows: AtomicU64,
    pub retries: AtomicU64,
    pub refused_for_memory: AtomicU64,
    pub cut_torn_bytes: AtomicU64,
    pub compactions: AtomicU64,
    pub compacted_rows: AtomicU64,
    pub compaction_failures: AtomicU64,
    pub removed_files: AtomicU64,
    pub deleted_files: AtomicU64,
    pub expired_files: AtomicU64,
    pub expired_rows: AtomicU64,
    pub quarantined_requests: AtomicU64,
    pub quarantined_files: AtomicU64,
    pub replayed_bytes: AtomicU64,
    pub replay_ms: AtomicU64,
}

impl Shared {
    /// Puts a request into quarantine, so that it does not keep others from being stored.
    pub(crate) fn set_aside(&self, lsn: Lsn, payload: &[u8], why: &Error) -> Result<()> {
        let kept = self.quarantine.keep_request(lsn, payload, &why.message)?;
        tracing::error!(request = lsn.0, bytes = payload.len(), file = %kept.display(), error = %why,
            "an acknowledged request cannot be stored and is in quarantine");
        self.counters.quarantined_requests.fetch_add(1, Ordering::Relaxed);
        self.counters.quarantined_files.store(self.quarantine.files()?, Ordering::Relaxed);
        Ok(())
    }

    /// What has expired at a time of `state`, or of some of its files.
    pub(crate) async fn expiry(
        &self,
        of: (&State, Option<&[&DataFile]>),
        at_unix_ms: i64,
    ) -> Result<Option<Arc<Expiry>>> {
        expiry_of(&self.retention.load_full(), at_unix_ms, of, &self.object_store, &self.matches).await
    }

    /// Makes a version of the table visible, and frees the memory of the spans that it holds. The caller holds [`Self::table`].
    pub(crate) fn install(&self, table: &TableState) {
        self.note_left(&self.visible.load().files, table);
        let freed = self.visible.install(table);
        self.budget.add_permits(freed as usize);
    }

    /// Counts and logs a sealing that took `took`.
    pub(crate) fn sealed(&self, report: &SealReport, mark: Lsn, took: Duration) {
        self.counters.sealed_lsn.store(mark.0, Ordering::Relaxed);
        self.counters.sealings.fetch_add(1, Ordering::Relaxed);
        self.counters.sealed_rows.fetch_add(report.rows, Ordering::Relaxed);
        let SealReport { rows, files, bytes } = *report;
        tracing::info!(rows, files, bytes, ms = took.as_millis() as u64, "sealed fresh spans");
    }

    /// The units that a batch takes of the budget. A batch larger than the whole budget takes all of it.
    pub(crate) fn charge(&self, batch: &SpanBatch) -> u32 {
        let units = batch.memory_bytes().div_ceil(CHARGE_UNIT_BYTES);
        units.clamp(1, self.budget_units()) as u32
    }

    pub(crate) fn budget_units(&self) -> usize {
        (self.settings.fresh_budget_bytes / CHARGE_UNIT_BYTES).min(u32::MAX as usize).min(Semaphore::MAX_PERMITS)
    }
}

/// Where the log lies in a data directory.
pub(crate) fn log_dir(dir: &Path) -> PathBuf {
    dir.join("wal")
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
        let free_units = self.shared.budget.available_permits();
        (self.shared.budget_units().saturating_sub(free_units) * CHARGE_UNIT_BYTES) as u64
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
        let (state, counters) = (self.shared.visible.load(), &self.shared.counters);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let current_bytes = self.current_log_bytes();
        StoreStatus {
            last_lsn: count(&counters.last_lsn),
            sealed_lsn: count(&counters.sealed_lsn),
            fresh_rows: state.fresh_rows() as u64,
            fresh_batches: state.parts.len(),
            fresh_bytes: self.fresh_bytes(),
            log_bytes: self.shared.segments.bytes() + current_bytes,
            log_segments: self.shared.segments.count() + usize::from(current_bytes > 0),
            oldest_fresh_ms: state
                .oldest_unix_ms()
                .map(|at| self.shared.clock.unix_ms().saturating_sub(at).max(0) as u64),
            table_version: state.table_version,
            table_files: state.files.len(),
            table_rows: state.files.iter().map(|file| file.rows).sum(),
            table_bytes: state.files.iter().map(|file| file.size_bytes).sum(),
            sealings: count(&counters.sealings),
            sealed_rows: count(&counters.sealed_rows),
            retries: count(&counters.retries),
            refused_for_memory: count(&counters.refused_for_memory),
            cut_torn_bytes: count(&counters.cut_torn_bytes),
            trace_index_bytes: self.shared.indexes.resident_bytes(),
            trace_index_failures: self.shared.indexes.failures(),
            compactions: count(&counters.compactions),
            compacted_rows: count(&counters.compacted_rows),
            compaction_failures: count(&counters.compaction_failures),
            removed_files: count(&counters.removed_files),
            deleted_files: count(&counters.deleted_files),
            expired_files: count(&counters.expired_files),
            expired_rows: count(&counters.expired_rows),
            quarantined_requests: count(&counters.quarantined_requests),
            replayed_bytes: count(&counters.replayed_bytes),
            replay_ms: count(&counters.replay_ms),
            cache: self.shared.cache.as_ref().map(|cache| cache.figures()),
        }
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
