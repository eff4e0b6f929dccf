//! Blocks of trace indexes that lookups have read before: who looks at a trace looks at it again, and reading a block from a disk's memory
//! takes longer than all else about it.

use std::num::NonZeroUsize;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use datafusion::object_store::path::Path;
use lru::LruCache;

use super::layout::BlockRange;

/// The most blocks, of some 1.5 KiB each: 12 MiB.
const MOST_BLOCKS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(8 * 1024 - 1);

/// Blocks as they lie in files, least recently used first out. Files never change, so that a name stands for its content.
#[derive(Debug)]
pub(super) struct KnownBlocks(Mutex<LruCache<(Path, usize), Bytes>>);

impl Default for KnownBlocks {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MOST_BLOCKS)))
    }
}

impl KnownBlocks {
    /// The bytes of those ranges that are known.
    pub(super) fn get(&self, file: &Path, ranges: &[BlockRange]) -> Vec<Option<Bytes>> {
        let mut known = self.lock();
        let one = |range: &BlockRange| match only_block(range) {
            Some(block) => known.get(&(file.clone(), block)).cloned(),
            None => None,
        };
        ranges.iter().map(one).collect()
    }

    /// Keeps the bytes of a range, if it is one block: hardly any trace is in more.
    pub(super) fn keep(&self, file: &Path, range: &BlockRange, bytes: &[u8]) {
        if let Some(block) = only_block(range) {
            // A copy: what was read may be a part of much more.
            self.lock().put((file.clone(), block), Bytes::copy_from_slice(bytes));
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<(Path, usize), Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn only_block(range: &BlockRange) -> Option<usize> {
    (range.blocks.len() == 1).then_some(range.blocks.start)
}
