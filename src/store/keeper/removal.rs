//! Deleting files that are not in the table, or not any more.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use datafusion::object_store::path::Path;

use super::work::Work;
use crate::error::Result;

impl Work {
    /// Deletes what left the table `grace` ago and can be read by nobody in this process any more; gives their number.
    pub(super) fn tidy(&mut self, grace: Duration) -> u64 {
        let shared = &self.shared;
        let held = shared.visible.held_files();
        shared.forget_left(&held);
        let now_unix_ms = shared.clock.unix_ms();
        let deleted = self.vacuum.run(&shared.table_dir, now_unix_ms, grace, &held);
        shared.counters.deleted_files.fetch_add(deleted, Ordering::Relaxed);
        shared.counters.removed_files.store(self.vacuum.waiting() as u64, Ordering::Relaxed);
        deleted
    }

    /// Removes what the start left, once no commit that names it can be on its way any more.
    pub(super) fn remove_orphans(&mut self) -> Result<()> {
        let shared = self.shared.clone();
        if !self.orphans.are_due(shared.clock.unix_ms()) {
            return Ok(());
        }
        let gone = self.rewriter.runtime.block_on(async {
            let mut table = shared.table.lock().await;
            table.refresh().await?;
            shared.show(table.state());
            table.tombstones().await
        })?;
        let files = shared.visible.load().files.clone();
        let named: HashSet<&Path> =
            files.iter().map(|file| &file.location).chain(gone.iter().map(|gone| &gone.location)).collect();
        let removed = self.orphans.remove(&shared.table_dir, &named)?;
        if removed > 0 {
            tracing::info!(orphans = removed, "removed files that a crash had left out of the table");
        }
        Ok(())
    }
}
