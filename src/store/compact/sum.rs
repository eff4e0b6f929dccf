//! Whether a file that is read as a whole has the bytes that were written: their checksum, of pieces that come in any order.
//!
//! Nothing may take the place of a file whose bytes changed after it was written: the rewritten file would give the change a checksum of its own.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::object_store::{ObjectStore, ObjectStoreExt};
use tokio::runtime::Handle;

use super::input::InFile;
use crate::error::{Error, Kind, Result};
use crate::store::DataFile;

/// What is read at a time of what the rows' reader leaves out: the page index, the trace index.
const STEP_BYTES: u64 = 4 << 20;

/// The checksums of the pieces of a file that have been read. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces(Arc<Mutex<BTreeMap<u64, Piece>>>);

#[derive(Debug, Clone, Copy)]
struct Piece {
    end: u64,
    crc: u32,
}

impl Pieces {
    /// Takes what was read from `start` on. What was read before counts as it was then.
    pub fn add(&self, start: u64, bytes: &[u8]) {
        let mut pieces = self.lock();
        for gap in gaps(&pieces, start..start + bytes.len() as u64) {
            let crc = crc32c::crc32c(&bytes[(gap.start - start) as usize..(gap.end - start) as usize]);
            pieces.insert(gap.start, Piece { end: gap.end, crc });
        }
    }

    /// What of the first bytes has not been read.
    fn gaps(&self, size_bytes: u64) -> Vec<Range<u64>> {
        gaps(&self.lock(), 0..size_bytes)
    }

    /// The checksum of all pieces one behind the other.
    fn crc(&self) -> u32 {
        let pieces = self.lock();
        pieces
            .iter()
            .fold(0, |crc, (start, piece)| crc32c::crc32c_combine(crc, piece.crc, (piece.end - start) as usize))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Piece>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What of `within` no piece has. Pieces do not overlap.
fn gaps(pieces: &BTreeMap<u64, Piece>, within: Range<u64>) -> Vec<Range<u64>> {
    let before = pieces.range(..within.start).next_back();
    let mut at = before.map_or(within.start, |(_, piece)| piece.end.max(within.start));
    let mut gaps = Vec::new();
    for (start, piece) in pieces.range(within.clone()) {
        if *start > at {
            gaps.push(at..*start);
        }
        at = piece.end;
    }
    if at < within.end {
        gaps.push(at..within.end);
    }
    gaps
}

/// The checksum of a file that is being read as a whole.
#[derive(Debug)]
pub(super) struct FileSum {
    pub runtime: Handle,
    pub store: Arc<dyn ObjectStore>,
    pub file: DataFile,
    pub pieces: Pieces,
}

impl FileSum {
    /// Reads what its reader left out, and compares all with the checksum that was noted when the file was written. Blocks.
    ///
    /// # Errors
    /// [`Kind::Corrupt`], caused by an [`InFile`], when the file has other bytes.
    pub fn verify(&self) -> Result<()> {
        let Some(noted) = self.file.crc else { return Ok(()) };
        for gap in self.pieces.gaps(self.file.size_bytes) {
            for start in gap.clone().step_by(STEP_BYTES as usize) {
                self.read(start..gap.end.min(start + STEP_BYTES))?;
            }
        }
        let crc = self.pieces.crc();
        if crc == noted {
            return Ok(());
        }
        let text = format!(
            "{} is damaged: the checksum of its bytes is {crc:08x}, and the table's log says {noted:08x}",
            self.file.location
        );
        let error = Error::corrupt(text).with_hint("`spanhouse check` tells what is damaged");
        Err(error.with_source(InFile::new(&self.file.location)))
    }

    fn read(&self, range: Range<u64>) -> Result<()> {
        let location = &self.file.location;
        let read = self.runtime.block_on(self.store.get_range(location, range.clone()));
        let bytes = read.map_err(|error| {
            Error::new(Kind::Io, format!("cannot read {location}: {error}"))
                .with_source(InFile::new(location).because(error))
        })?;
        self.pieces.add(range.start, &bytes);
        Ok(())
    }
}

/// Whether a file has the bytes that were written, where `bytes` take the place of those from `start` on. Blocks; may not run on a thread of the
/// runtime.
pub(crate) fn is_whole_with(
    runtime: &Handle,
    store: &Arc<dyn ObjectStore>,
    file: &DataFile,
    (start, bytes): (u64, &[u8]),
) -> Result<bool> {
    let pieces = Pieces::default();
    // What comes first counts.
    pieces.add(start, bytes);
    match (FileSum { runtime: runtime.clone(), store: store.clone(), file: file.clone(), pieces }.verify()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind == Kind::Corrupt => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_sum_of_pieces_in_any_order_is_that_of_all_bytes_as_they_were_read_first() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for size in [0, 1, 2, 10, 1000] {
            let bytes: Vec<u8> = (0..size).map(|_| random.random()).collect();
            for reads in [0, 1, 5, 40] {
                let pieces = Pieces::default();
                let mut read = vec![false; size];
                for _ in 0..reads {
                    let start = random.random_range(0..=size);
                    let end = random.random_range(start..=size);
                    let mut piece = bytes[start..end].to_vec();
                    // What comes again comes with other bytes.
                    (start..end).filter(|at| read[*at]).for_each(|at| piece[at - start] ^= 1);
                    pieces.add(start as u64, &piece);
                    read[start..end].fill(true);
                }
                let gaps = pieces.gaps(size as u64);
                let left: Vec<usize> = gaps.iter().flat_map(|gap| gap.start as usize..gap.end as usize).collect();
                assert_eq!(left, (0..size).filter(|at| !read[*at]).collect::<Vec<_>>());
                gaps.iter().for_each(|gap| pieces.add(gap.start, &bytes[gap.start as usize..gap.end as usize]));
                assert_eq!(pieces.crc(), crc32c::crc32c(&bytes));
                if size > 0 {
                    let other = Pieces::default();
                    let at = random.random_range(0..size);
                    other.add(at as u64, &[bytes[at] ^ 1]);
                    other.add(0, &bytes);
                    assert_ne!(other.crc(), crc32c::crc32c(&bytes));
                }
            }
        }
    }
}
