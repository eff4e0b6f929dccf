//! Segments: the files of the log, each named by its first LSN and opened by a fixed head.
//!
//! ```text
//!  0                8        12       16               24               32       36       40
//!  ┌────────────────┬────────┬────────┬────────────────┬────────────────┬────────┬────────┬───────────
//!  │ magic          │ format │ zero   │ segment id     │ first lsn      │ crc    │ zero   │ records …
//!  │ "spanwal\n"    │ u32    │ u32    │ u64, random    │ u64            │ u32    │ u32    │
//!  └────────────────┴────────┴────────┴────────────────┴────────────────┴────────┴────────┴───────────
//! ```

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::record::{Lsn, u32_at, u64_at};
use crate::error::{Error, Kind, Result};
use crate::store::disk::Disk;

const MAGIC: &[u8; 8] = b"spanwal\n";
const FORMAT: u32 = 1;
pub(crate) const SEGMENT_HEAD_BYTES: usize = 40;
const SUFFIX: &str = ".wal";

/// The head of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHead {
    pub segment_id: u64,
    pub first_lsn: Lsn,
}

impl SegmentHead {
    pub(crate) fn encode(self) -> [u8; SEGMENT_HEAD_BYTES] {
        let mut bytes = [0; SEGMENT_HEAD_BYTES];
        bytes[0..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.segment_id.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_lsn.0.to_le_bytes());
        sum_head(&mut bytes);
        bytes
    }

    /// Reads the head of the segment at `path`; `None` when the bytes are not a whole and valid head.
    ///
    /// # Errors
    /// [`Kind::BadInput`] when a newer program wrote the segment.
    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Option<Self>> {
        if bytes.len() < SEGMENT_HEAD_BYTES
            || !bytes.starts_with(MAGIC)
            || u32_at(bytes, 32) != crc32c::crc32c(&bytes[..32])
        {
            return Ok(None);
        }
        let format = u32_at(bytes, 8);
        if format != FORMAT {
            let text =
                format!("log segment {} has format {format}, and this program reads format {FORMAT}", path.display());
            return Err(Error::new(Kind::BadInput, text)
                .with_hint("use the version of spanhouse that wrote it, or a newer one"));
        }
        let head = Self { segment_id: u64_at(bytes, 16), first_lsn: Lsn(u64_at(bytes, 24)) };
        Ok(Some(head).filter(|head| head.first_lsn.is_sound()))
    }
}

/// Writes the checksum of a head into it.
pub(super) fn sum_head(head: &mut [u8; SEGMENT_HEAD_BYTES]) {
    let crc = crc32c::crc32c(&head[..32]);
    head[32..36].copy_from_slice(&crc.to_le_bytes());
}

/// The path of the segment that begins with `first_lsn`.
pub(crate) fn segment_path(dir: &Path, first_lsn: Lsn) -> PathBuf {
    dir.join(format!("{:020}{SUFFIX}", first_lsn.0))
}

/// The segments of `dir` in order, by the first LSN of their names, with their lengths in bytes.
pub(crate) fn list_segments(disk: &dyn Disk, dir: &Path) -> Result<Vec<(Lsn, u64)>> {
    let entries = disk.list(dir).map_err(|error| Error::io(dir.display(), error))?;
    let first_lsn = |name: &str| name.strip_suffix(SUFFIX)?.parse().ok().map(Lsn).filter(|lsn| lsn.is_sound());
    Ok(entries.iter().filter_map(|entry| Some((first_lsn(&entry.name)?, entry.len_bytes))).collect())
}

/// A segment that takes no more records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClosedSegment {
    pub path: PathBuf,
    pub last_lsn: Lsn,
    pub bytes: u64,
}

/// The segments that still wait to be cut, shared by the writer, which adds them, and the sealer, which cuts them.
#[derive(Debug, Default)]
pub(crate) struct SegmentList {
    closed: Mutex<Vec<ClosedSegment>>,
}

impl SegmentList {
    pub(crate) fn push(&self, segment: ClosedSegment) {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).push(segment);
    }

    /// The bytes of all closed segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|segment| segment.bytes).sum()
    }

    /// How many closed segments there are.
    pub(crate) fn count(&self) -> usize {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Removes the segments whose records are all at or below `mark`, oldest first. Only one thread may call this.
    pub(crate) fn cut(&self, disk: &dyn Disk, mark: Lsn) -> Result<()> {
        // A disk may take its time to remove a file, for which neither exports nor statements wait.
        while let Some(segment) = self.first().filter(|segment| segment.last_lsn <= mark) {
            disk.remove_file(&segment.path).map_err(|error| Error::io(segment.path.display(), error))?;
            self.closed.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| *other != segment);
        }
        Ok(())
    }

    fn first(&self) -> Option<ClosedSegment> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).first().cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_lies_as_drawn_and_flips_are_refused() {
        let head = SegmentHead { segment_id: 9, first_lsn: Lsn(3) };
        let bytes = head.encode();
        assert_eq!(bytes[0..8], *b"spanwal\n");
        assert_eq!(bytes[8..16], [1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[16..32], [9, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[32..36], crc32c::crc32c(&bytes[..32]).to_le_bytes());
        assert_eq!(bytes[36..40], [0; 4]);
        let path = Path::new("x.wal");
        assert_eq!(SegmentHead::decode(path, &bytes).expect("readable"), Some(head));
        let mut flipped = bytes;
        flipped[20] ^= 1;
        assert_eq!(SegmentHead::decode(path, &flipped).expect("readable"), None);
    }

    #[test]
    fn a_newer_format_is_refused_with_advice() {
        let mut bytes = SegmentHead { segment_id: 9, first_lsn: Lsn(3) }.encode();
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..32]);
        bytes[32..36].copy_from_slice(&crc.to_le_bytes());
        let error = SegmentHead::decode(Path::new("x.wal"), &bytes).expect_err("newer");
        assert!(error.message.contains("x.wal has format 2"), "{error}");
    }
}
