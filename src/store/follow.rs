//! What other processes commit to the table becomes visible here, and what they take out of it leaves this process's cache.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{PoisonError, Weak};
use std::time::Duration;

use datafusion::object_store::path::Path;

use super::DataFile;
use super::missing::missing_file;
use super::shared::Shared;
use super::table::{DeltaLog, TableState};
use crate::error::{Error, Kind, Result};

/// How often the table's log is looked at for commits of others. What statements see of the table is no older, but for the time that a look
/// takes. A look asks for one object that is mostly not there: on an object store that costs some cents a month.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How old what a statement sees may be when it begins, where a look costs little: that of a directory takes less than the noise of a statement.
const NEAR_LOOK_EVERY: Duration = Duration::from_millis(100);
/// How often the clock is read for it.
const TICK: Duration = Duration::from_millis(250);

/// Looks for commits of others as long as the store is there.
pub(crate) async fn keep_following(shared: Weak<Shared>) {
    let mut failed = false;
    loop {
        tokio::time::sleep(TICK).await;
        let Some(shared) = shared.upgrade() else { return };
        if !shared.is_look_due(LOOK_EVERY) {
            continue;
        }
        match shared.follow().await {
            Ok(()) => failed = false,
            // Whoever waits for the end of the store is told by itself.
            Err(error) if error.kind == Kind::Closed => return,
            Err(error) => {
                if !failed {
                    tracing::warn!(%error, "cannot look for what others commit to the table; statements see what is known of it");
                }
                failed = true;
            }
        }
    }
}

impl Shared {
    /// Brings what statements see to the table's newest version.
    pub(crate) async fn follow(&self) -> Result<()> {
        self.look(&mut *self.table.lock().await).await
    }

    /// The same before a statement, where that costs little. Statements go on with what is known when it fails.
    pub(crate) async fn follow_if_near(&self) {
        if !self.table_dir.is_shared_nearby() || !self.is_look_due(NEAR_LOOK_EVERY) {
            return;
        }
        // Whoever holds the table is about to show its newest version.
        if let Ok(mut table) = self.table.try_lock()
            && let Err(error) = self.look(&mut table).await
        {
            tracing::debug!(%error, "cannot look for what others commit to the table");
        }
    }

    /// Whether `error` is about a file that is not in the table any more. What statements see is the newest version then.
    pub(crate) async fn has_left(&self, error: &Error) -> Result<bool> {
        let Some(missing) = missing_file(error) else { return Ok(false) };
        self.follow().await?;
        Ok(!self.visible.load().files.iter().any(|file| missing.is(file)))
    }

    async fn look(&self, table: &mut DeltaLog) -> Result<()> {
        // Before it, so that many statements do not look at once.
        self.looked_unix_ms.store(self.clock.unix_ms(), Ordering::Relaxed);
        if table.is_behind().await? {
            table.refresh().await?;
        }
        self.show(table.state());
        Ok(())
    }

    /// Makes a version of the table visible unless it is. The caller holds [`Self::table`].
    pub(crate) fn show(&self, table: &TableState) {
        if self.visible.load().table_version != table.version {
            self.install(table);
        }
    }

    fn is_look_due(&self, every: Duration) -> bool {
        let age_ms = self.clock.unix_ms() - self.looked_unix_ms.load(Ordering::Relaxed);
        // A clock that was set back must not end it.
        age_ms < 0 || age_ms as u128 >= every.as_millis()
    }

    /// Remembers the files that leave the table with its version `table`, for [`Self::forget_left`].
    pub(super) fn note_left(&self, before: &[DataFile], table: &TableState) {
        if self.cache.is_none() {
            return;
        }
        let live: HashSet<&Path> = table.files.iter().map(|file| &file.location).collect();
        let left = before.iter().map(|file| &file.location).filter(|location| !live.contains(location));
        self.left.lock().unwrap_or_else(PoisonError::into_inner).extend(left.cloned());
    }

    /// Lets go of what the cache has of files that left the table, whoever took them out, once no statement reads them. Blocks.
    pub(crate) fn forget_left(&self, held: &HashSet<Path>) {
        let Some(cache) = &self.cache else { return };
        let mut left = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        left.extract_if(.., |location| !held.contains(location)).for_each(|location| cache.forget(&location));
        self.left.lock().unwrap_or_else(PoisonError::into_inner).extend(left);
    }
}
