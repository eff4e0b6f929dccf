//! A store's numbers: what one sealing did, and where all of it stands at a moment.

use std::sync::atomic::{AtomicU64, Ordering};

use super::cache::CacheFigures;
use super::shared::Shared;

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

impl Shared {
    /// The store's numbers, with what the segment under way has of the log.
    pub(super) fn status(&self, current_log_bytes: u64) -> StoreStatus {
        let (state, counters) = (self.visible.load(), &self.counters);
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        StoreStatus {
            last_lsn: count(&counters.last_lsn),
            sealed_lsn: count(&counters.sealed_lsn),
            fresh_rows: state.fresh_rows() as u64,
            fresh_batches: state.parts.len(),
            fresh_bytes: self.fresh_bytes(),
            log_bytes: self.segments.bytes() + current_log_bytes,
            log_segments: self.segments.count() + usize::from(current_log_bytes > 0),
            oldest_fresh_ms: state.oldest_unix_ms().map(|at| self.clock.unix_ms().saturating_sub(at).max(0) as u64),
            table_version: state.table_version,
            table_files: state.files.len(),
            table_rows: state.files.iter().map(|file| file.rows).sum(),
            table_bytes: state.files.iter().map(|file| file.size_bytes).sum(),
            sealings: count(&counters.sealings),
            sealed_rows: count(&counters.sealed_rows),
            retries: count(&counters.retries),
            refused_for_memory: count(&counters.refused_for_memory),
            cut_torn_bytes: count(&counters.cut_torn_bytes),
            trace_index_bytes: self.indexes.resident_bytes(),
            trace_index_failures: self.indexes.failures(),
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
            cache: self.cache.as_ref().map(|cache| cache.figures()),
        }
    }
}
