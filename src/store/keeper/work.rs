//! What the keeper's thread does, and what its pieces of work share.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use datafusion::object_store::path::Path;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::handle::Command;
use crate::error::{Error, Kind, Result};
use crate::store::compact::{InFile, Rewriter, is_ours};
use crate::store::replace::{NotReplaced, try_replace};
use crate::store::shared::Shared;
use crate::store::table::{Replacement, Tombstone, WrittenFile};
use crate::store::vacuum::{Vacuum, YoungOrphans};
use crate::store::{DataFile, Retention, failpoint};

/// How often the keeper looks for work.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a keeper that waits for its turn looks whether its store is to close.
const LOOK_WHETHER_TO_STOP: Duration = Duration::from_millis(100);
/// How long files are left alone after merging them failed.
pub(super) const AVOID_FOR: Duration = Duration::from_secs(600);

pub(super) struct Work {
    pub shared: Arc<Shared>,
    pub rewriter: Rewriter,
    pub vacuum: Vacuum,
    pub orphans: YoungOrphans,
    /// Files that could not be merged, and when that was.
    pub avoided: HashMap<Path, Instant>,
    /// Before how many of retention's cutoffs the spans of files lay when they were looked at.
    pub looked_at: HashMap<Path, usize>,
    /// The retention that they were looked at for.
    pub looked_for: Arc<Retention>,
}

impl Work {
    /// `gone` are the files that left the table before, and `orphans` those that no commit names yet.
    pub fn new(shared: Arc<Shared>, rewriter: Rewriter, gone: Vec<Tombstone>, orphans: Vec<Path>) -> Self {
        Self {
            orphans: YoungOrphans::new(orphans, shared.clock.unix_ms()),
            looked_for: shared.retention.load_full(),
            shared,
            rewriter,
            vacuum: Vacuum::new(gone),
            avoided: HashMap::new(),
            looked_at: HashMap::new(),
        }
    }

    pub fn run(mut self, runtime: &Runtime, mut queue: mpsc::Receiver<Command>) {
        let mut pause = LOOK_EVERY;
        loop {
            let asked = runtime.block_on(async { tokio::time::timeout(pause, queue.recv()).await });
            if matches!(asked, Ok(None)) {
                return;
            }
            let Some(_turn) = runtime.block_on(self.turn()) else { return };
            match asked {
                Ok(Some(Command::Compact(answer))) => {
                    // The asker may have gone away; the work is done all the same.
                    let _ = answer.send(self.unless_it_panics(Self::compact_all));
                }
                Ok(Some(Command::Redact(redaction, answer))) => {
                    let _ = answer.send(self.unless_it_panics(|work| work.redact(&redaction)));
                }
                Ok(None) | Err(_) => {}
            }
            if self.rewriter.stop.check().is_err() {
                return;
            }
            pause = if self.do_what_is_due() { Duration::ZERO } else { LOOK_EVERY };
        }
    }

    /// Waits until no other store of the process does such work; `None` when the store is to close.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        let mut turn = pin!(self.shared.upkeep.clone().acquire_owned());
        loop {
            tokio::select! {
                permit = &mut turn => return permit.ok(),
                () = tokio::time::sleep(LOOK_WHETHER_TO_STOP) => self.rewriter.stop.check().ok()?,
            }
        }
    }

    /// One round of all that the keeper does by itself; tells whether there may be more to do at once.
    fn do_what_is_due(&mut self) -> bool {
        if let Err(error) = self.unless_it_panics(Self::expire) {
            tracing::error!(%error, "cannot drop files whose spans have expired");
        }
        let looked = self.unless_it_panics(Self::expire_by_rule).unwrap_or_else(|error| {
            tracing::error!(%error, retry_in = ?LOOK_EVERY, "cannot take spans that have expired out of files");
            false
        });
        let compacted = match self.shared.settings.compact {
            true => self.unless_it_panics(|work| work.compact_once(false)),
            false => Ok(None),
        };
        if let Some(error) = compacted.as_ref().err().filter(|error| error.kind != Kind::Closed) {
            tracing::error!(%error, retry_in = ?LOOK_EVERY, "cannot compact the table");
        }
        let tidied = self.unless_it_panics(|work| {
            work.tidy(work.shared.settings.keep_removed);
            work.remove_orphans()
        });
        if let Err(error) = tidied {
            tracing::warn!(%error, "cannot remove files that are not in the table");
        }
        looked || matches!(compacted, Ok(Some(_)))
    }

    /// Does some of the work, and counts a defect that it brings to light.
    pub(super) fn unless_it_panics<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        caught(|| work(&mut *self)).unwrap_or_else(|| {
            self.shared.counters.compaction_failures.fetch_add(1, Ordering::Relaxed);
            ended_badly()
        })
    }

    /// The files that may be merged: ours, whose rows are in order.
    pub(super) fn candidates(&mut self) -> Vec<DataFile> {
        self.avoided.retain(|_, since| since.elapsed() < AVOID_FOR);
        let state = self.shared.visible.load();
        let files = state.files.iter().filter(|file| is_ours(file) && !self.avoided.contains_key(&file.location));
        files.cloned().collect()
    }

    /// Leaves files alone for a while: the one that is damaged, if it is that, and otherwise all.
    pub(super) fn avoid(&mut self, error: &Error, files: impl IntoIterator<Item = Path>) {
        let damaged = InFile::of(error).filter(|_| error.kind == Kind::Corrupt).cloned();
        let now = Instant::now();
        match damaged {
            Some(file) => _ = self.avoided.insert(file, now),
            None => self.avoided.extend(files.into_iter().map(|file| (file, now))),
        }
    }

    /// Whether an error is about a file that another process has taken out of the table.
    pub(super) fn has_left(&self, error: &Error) -> bool {
        self.rewriter.runtime.block_on(self.shared.has_left(error)).unwrap_or(false)
    }

    /// Commits a replacement and makes it visible.
    pub(super) fn replace(&self, removed: &[Path], added: &[WrittenFile], why: &Replacement) -> Result<Vec<Tombstone>> {
        let shared = &self.shared;
        self.rewriter.runtime.block_on(async {
            let mut table = shared.table.lock().await;
            let replaced = try_replace(&shared.table_dir, &mut table, removed, added, why).await;
            // After an error too: what others have done may be the reason, and is not to be planned over again.
            shared.show(table.state());
            match &replaced {
                Ok(_) => failpoint("after_replace"),
                Err(NotReplaced { for_good: true, .. }) => shared.table_dir.remove(added),
                // The next start removes the files if they did not get into the table.
                Err(NotReplaced { for_good: false, .. }) => {}
            }
            replaced.map_err(|failed| failed.error)
        })
    }
}

/// Does work that files may bring a defect of to light; `None` when it panics. The thread may not end: nothing would be merged or deleted any more.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}

pub(super) fn ended_badly<T>() -> Result<T> {
    Err(Error::internal("keeping the table's files in order ended badly"))
}
