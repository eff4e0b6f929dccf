//! What a user may set about storage.

use std::time::Duration;

use super::TableUrl;
use super::retention::{MOST_RULES, Retention};
use crate::error::{Error, Result};

/// What a user may set about storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// Memory for spans that are not in the table yet, in bytes of Arrow data. At the budget, exports wait and are then asked to come again.
    pub fresh_budget_bytes: usize,
    /// Disk for the log, in bytes. At the budget, exports are asked to come again.
    pub log_budget_bytes: u64,
    /// How long an export waits for memory before it is asked to come again.
    pub append_wait: Duration,
    /// The oldest that a fresh span gets before it is sealed.
    pub seal_after: Duration,
    /// The number of fresh spans that starts a sealing.
    pub seal_rows: usize,
    /// An identical export within this time is acknowledged and stored once.
    pub retry_window: Duration,
    /// Whether small files are made into large ones in the background.
    pub compact: bool,
    /// How long a file that left the table stays on disk, for readers in other processes that began before.
    pub keep_removed: Duration,
    /// Where the table lies; in the data directory without one, or where the directory had it before.
    pub table_url: Option<TableUrl>,
    /// How long spans are kept.
    pub retention: Retention,
    /// Disk for parts of a table on an object store that were read before, in bytes; 0 keeps none.
    pub cache_bytes: u64,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            fresh_budget_bytes: 256 << 20,
            log_budget_bytes: 4 << 30,
            append_wait: Duration::from_secs(5),
            seal_after: Duration::from_secs(60),
            seal_rows: 500_000,
            retry_window: Duration::from_secs(600),
            compact: true,
            keep_removed: Duration::from_secs(600),
            table_url: None,
            retention: Retention::default(),
            cache_bytes: 10 << 30,
        }
    }
}

impl StoreSettings {
    /// The smallest memory budget, in bytes: below this, a single large export could not enter.
    pub const LEAST_FRESH_BUDGET_BYTES: u64 = 16 << 20;
    /// The smallest cache but none, in bytes: below this, a few readers would take each other's blocks away before they are used.
    pub const LEAST_CACHE_BYTES: u64 = 64 << 20;
    /// The smallest log budget, in bytes: two segments.
    pub const LEAST_LOG_BUDGET_BYTES: u64 = 128 << 20;

    /// Checks each value.
    ///
    /// # Errors
    /// [`crate::error::Kind::BadInput`] that names the first setting that is out of range, and the range.
    pub fn validate(&self) -> Result<()> {
        let wrong = |name: &str, least: u64| Err(Error::bad_input(format!("{name} must be at least {least}")));
        if (self.fresh_budget_bytes as u64) < Self::LEAST_FRESH_BUDGET_BYTES {
            return wrong("fresh_budget_bytes", Self::LEAST_FRESH_BUDGET_BYTES);
        }
        if self.log_budget_bytes < Self::LEAST_LOG_BUDGET_BYTES {
            return wrong("log_budget_bytes", Self::LEAST_LOG_BUDGET_BYTES);
        }
        if self.retention.rules.len() > MOST_RULES {
            return Err(Error::bad_input(format!("retention may have {MOST_RULES} rules at most")));
        }
        if (1..Self::LEAST_CACHE_BYTES).contains(&self.cache_bytes) {
            return wrong("cache_bytes", Self::LEAST_CACHE_BYTES);
        }
        if self.seal_rows == 0 {
            return wrong("seal_rows", 1);
        }
        Ok(())
    }

    /// The bytes of fresh spans that start a sealing: early enough that ingest goes on in the rest of the budget meanwhile.
    pub(crate) fn seal_bytes(&self) -> usize {
        self.fresh_budget_bytes * 2 / 5
    }
}
