//! Whether there is room for the log: judged from figures, for those who ask before anything fails.

use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Kind, Result};

/// A disk with less free than this is full: a segment of the log and what a sealing writes meanwhile would not fit.
const LEAST_FREE_BYTES: u64 = 64 << 20;
/// When it is worth to ask again: sealing frees the log within seconds, a person the disk within minutes.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How much room a disk has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskRoom {
    pub free_bytes: u64,
    pub total_bytes: u64,
}

impl DiskRoom {
    /// The disk that `dir` lies on, as far as this user may fill it.
    pub fn of(dir: &Path) -> Result<Self> {
        let disk = rustix::fs::statvfs(dir).map_err(|error| Error::io(dir.display(), error.into()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok(Self { free_bytes: bytes(disk.f_bavail), total_bytes: bytes(disk.f_blocks) })
    }

    /// Whether the log may soon find no room on it.
    pub fn is_full(self) -> bool {
        self.free_bytes < LEAST_FREE_BYTES
    }
}

pub(super) fn full_log(log_bytes: u64, budget_bytes: u64) -> Option<Error> {
    (log_bytes >= budget_bytes).then(|| {
        overloaded(format!("the log holds {log_bytes} bytes of at most {budget_bytes}; spans do not reach the table"))
    })
}

pub(super) fn full_disk(room: DiskRoom) -> Option<Error> {
    room.is_full().then(|| overloaded(format!("the disk of the data directory has {} MiB free", room.free_bytes >> 20)))
}

fn overloaded(message: String) -> Error {
    Error::new(Kind::Overloaded { retry_after: RETRY_AFTER }, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_and_a_disk_are_full_at_their_bounds() {
        assert!(full_log(9, 10).is_none() && full_log(10, 10).is_some());
        let room = |free_bytes| DiskRoom { free_bytes, total_bytes: u64::MAX };
        assert!(full_disk(room(LEAST_FREE_BYTES)).is_none());
        assert!(full_disk(room(LEAST_FREE_BYTES - 1)).is_some_and(|error| error.message.contains("63 MiB free")));
    }

    #[test]
    fn a_disk_has_no_more_free_than_it_has() {
        let dir = tempfile::tempdir().expect("a directory");
        let room = DiskRoom::of(dir.path()).expect("a disk");
        assert!(room.free_bytes <= room.total_bytes && room.total_bytes > 0);
        assert!(DiskRoom::of(&dir.path().join("missing")).is_err());
    }
}
