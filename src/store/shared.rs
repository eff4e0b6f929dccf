//! What the threads of one store share: its settings and seams, what is visible, the budget, the counters.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use datafusion::object_store::ObjectStore;
use datafusion::object_store::path::Path as ObjectPath;
use tokio::sync::{Notify, Semaphore};

use super::cache::Blocks;
use super::clock::Clock;
use super::compact::PlanLimits;
use super::disk::Disk;
use super::fence::Fence;
use super::lock::DirectoryLock;
use super::open::Decode;
use super::quarantine::Quarantine;
use super::retention::{Expiry, MatchMemory, expiry_of};
use super::retries::Retries;
use super::seal::Convert;
use super::settings::StoreSettings;
use super::state::{State, Visible};
use super::status::SealReport;
use super::table::{DeltaLog, TableDir, TableState};
use super::trace_index::IndexMemory;
use super::wal::{Lsn, SegmentList};
use super::{DataFile, RefusalWatch, Retention};
use crate::error::{Error, Result};
use crate::model::SpanBatch;

/// The unit in which memory is charged to the budget: large enough that the budget's count fits a semaphore.
pub(crate) const CHARGE_UNIT_BYTES: usize = 1024;

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

    /// Memory that fresh spans, and requests under way, take.
    pub(crate) fn fresh_bytes(&self) -> u64 {
        let free_units = self.budget.available_permits();
        (self.budget_units().saturating_sub(free_units) * CHARGE_UNIT_BYTES) as u64
    }

    pub(crate) fn budget_units(&self) -> usize {
        (self.settings.fresh_budget_bytes / CHARGE_UNIT_BYTES).min(u32::MAX as usize).min(Semaphore::MAX_PERMITS)
    }
}

/// Where the log lies in a data directory.
pub(crate) fn log_dir(dir: &Path) -> PathBuf {
    dir.join("wal")
}
