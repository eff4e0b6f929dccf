//! Committing files that take the place of others, until it is known whether they do.

use datafusion::object_store::path::Path;

use super::table::{DeltaLog, Replacement, TableDir, Tombstone, WrittenFile};
use crate::error::{Error, Kind};

/// How often a replacement is committed to an object store until it is known whether it is there.
const COMMIT_TRIES: usize = 3;
/// How often others may have committed first: each of them seals about once a minute.
const MOST_RACES: usize = 20;

/// Why files did not get into the table.
pub(crate) struct NotReplaced {
    pub error: Error,
    /// Whether they cannot get there any more.
    pub for_good: bool,
}

/// Commits a replacement, and finds out what became of a commit that failed.
pub(crate) async fn try_replace(
    dir: &TableDir,
    table: &mut DeltaLog,
    removed: &[Path],
    added: &[WrittenFile],
    why: &Replacement,
) -> Result<Vec<Tombstone>, NotReplaced> {
    let comes_late = dir.commits_may_come_late();
    let (mut tries, mut races) = (1, 0);
    let (first, id) = (table.state().version, uuid::Uuid::new_v4().simple().to_string());
    loop {
        let before = table.state().version;
        let error = match table.replace(removed, added, (why, &id), dir.clock.as_ref()).await {
            Ok(gone) => return Ok(gone),
            Err(error) if error.kind == Kind::NotFound && tries == 1 => {
                return Err(NotReplaced { error, for_good: true });
            }
            Err(error) => error,
        };
        // The commit may be in the table all the same. Its files do not tell: others may have taken out the same, and its own again.
        let is_done = match table.refresh().await {
            Ok(()) => table.has_commit(&id, first).await,
            Err(error) => Err(error),
        };
        if is_done.map_err(|error| NotReplaced { error, for_good: false })? {
            return Ok(tombstones_of(removed, dir));
        }
        // The same commit again, of which the table takes one at most, so that it does not matter which comes.
        match table.state().version == before {
            true if comes_late && tries < COMMIT_TRIES => tries += 1,
            false if races < MOST_RACES => races += 1,
            _ => return Err(NotReplaced { error, for_good: !comes_late }),
        }
    }
}

fn tombstones_of(removed: &[Path], dir: &TableDir) -> Vec<Tombstone> {
    let removed_unix_ms = dir.clock.unix_ms();
    removed.iter().map(|location| Tombstone { location: location.clone(), removed_unix_ms }).collect()
}
