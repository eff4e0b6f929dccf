//! Deleting the files that left the table, once nobody can be reading them.

use std::collections::HashSet;
use std::time::Duration;

use datafusion::object_store::path::Path;

use super::table::{TableDir, Tombstone, YOUNG_MS};
use crate::error::Result;

/// The files that left the table and are not deleted yet.
#[derive(Debug, Default)]
pub(crate) struct Vacuum {
    gone: Vec<Tombstone>,
    /// Nothing is deleted before, since deleting has failed.
    paused_until_unix_ms: i64,
}

/// How long nothing is deleted after a failure: an object store that is away would take a minute of waiting for each file.
const PAUSE_MS: i64 = 60_000;

impl Vacuum {
    pub(crate) fn new(gone: Vec<Tombstone>) -> Self {
        Self { gone, paused_until_unix_ms: i64::MIN }
    }

    pub(crate) fn add(&mut self, gone: impl IntoIterator<Item = Tombstone>) {
        self.gone.extend(gone);
    }

    /// The files that wait to be deleted.
    pub(crate) fn waiting(&self) -> usize {
        self.gone.len()
    }

    /// Deletes what is due; gives the number of files that are no longer there. What cannot be deleted is tried again the next time.
    pub(crate) fn run(&mut self, table: &TableDir, now_unix_ms: i64, grace: Duration, held: &HashSet<Path>) -> u64 {
        if now_unix_ms < self.paused_until_unix_ms {
            return 0;
        }
        let is_due = |file: &mut Tombstone| is_due(file, now_unix_ms, grace, held.contains(&file.location));
        let mut deleted = 0;
        let mut failed = None;
        let mut due = self.gone.extract_if(.., is_due).collect::<Vec<_>>().into_iter();
        for file in due.by_ref() {
            match table.delete(&file.location) {
                Ok(was_there) => deleted += u64::from(was_there),
                Err(error) => {
                    tracing::warn!(file = %file.location, %error, "cannot delete a file that left the table");
                    failed = Some(file);
                    self.paused_until_unix_ms = now_unix_ms.saturating_add(PAUSE_MS);
                    break;
                }
            }
        }
        self.gone.extend(due);
        // The last to be tried again, so that others are not kept waiting.
        self.gone.extend(failed);
        deleted
    }
}

/// Data files that no commit named when the store was opened and that were too young to be removed: a commit that names them may have been on
/// its way when the process before this one ended.
#[derive(Debug)]
pub(crate) struct YoungOrphans {
    files: Vec<Path>,
    due_unix_ms: i64,
}

impl YoungOrphans {
    pub(crate) fn new(files: Vec<Path>, now_unix_ms: i64) -> Self {
        Self { files, due_unix_ms: now_unix_ms.saturating_add(YOUNG_MS) }
    }

    /// Tells once, and again a minute later as long as they are there.
    pub(crate) fn are_due(&mut self, now_unix_ms: i64) -> bool {
        let due = !self.files.is_empty() && now_unix_ms >= self.due_unix_ms;
        if due {
            self.due_unix_ms = now_unix_ms.saturating_add(PAUSE_MS);
        }
        due
    }

    /// Deletes those that still nobody names; gives the number of files that are no longer there.
    pub(crate) fn remove(&mut self, table: &TableDir, named: &HashSet<&Path>) -> Result<u64> {
        let mut removed = 0;
        while let Some(file) = self.files.last() {
            if !named.contains(file) {
                removed += u64::from(table.delete(file)?);
            }
            self.files.pop();
        }
        Ok(removed)
    }
}

/// Whether a file may be deleted: no snapshot of this process holds it, and those of other processes have had their time.
fn is_due(file: &Tombstone, now_unix_ms: i64, grace: Duration, is_held: bool) -> bool {
    let age_ms = i128::from(now_unix_ms) - i128::from(file.removed_unix_ms);
    !is_held && age_ms >= grace.as_millis() as i128
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_deleted_after_its_grace_and_when_nobody_holds_it() {
        let file = Tombstone { location: Path::from("a"), removed_unix_ms: 1_000 };
        for (now, held, due) in [
            (1_000, false, false),
            (10_999, false, false),
            (11_000, false, true),
            (11_000, true, false),
            (0, false, false),
        ] {
            assert_eq!(is_due(&file, now, Duration::from_secs(10), held), due, "{now} {held}");
        }
        assert!(is_due(&file, 1_000, Duration::ZERO, false));
    }
}
