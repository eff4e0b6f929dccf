//! The blocks on local disk: a file each, within a budget, the least recently used ones out first.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path as FsPath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use datafusion::object_store::path::Path;
use lru::LruCache;

use super::block::{BLOCK_BYTES, Block, BlockKey, FileKey};
use crate::store::disk::Disk;

/// What a block's file is called until it is whole.
const PARTIAL_SUFFIX: &str = ".partial";

/// What the cache holds, and what it did since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheFigures {
    pub bytes: u64,
    /// Blocks that were there when they were asked for.
    pub hits: u64,
    /// Blocks that had to be fetched.
    pub misses: u64,
    /// Bytes fetched from the object store.
    pub fetched_bytes: u64,
    /// Blocks that were not what was written, and were fetched again.
    pub damaged: u64,
}

/// The blocks in a directory.
#[derive(Debug)]
pub(crate) struct Blocks {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    /// `None` when another process keeps the directory: then blocks are only looked at.
    index: Option<Mutex<Index>>,
    budget_bytes: u64,
    hits: AtomicU64,
    misses: AtomicU64,
    fetched_bytes: AtomicU64,
    damaged: AtomicU64,
}

#[derive(Debug)]
struct Index {
    /// What each block takes of the disk.
    stored: LruCache<BlockKey, u64>,
    bytes: u64,
}

impl Blocks {
    /// Takes over the blocks in `dir`, which this process alone may write.
    pub(crate) fn open(dir: PathBuf, disk: Arc<dyn Disk>, budget_bytes: u64) -> io::Result<Self> {
        disk.create_dir_all(&dir)?;
        let mut index = Index { stored: LruCache::unbounded(), bytes: 0 };
        for entry in disk.list(&dir)? {
            match BlockKey::parse(&entry.name) {
                Some(key) => index.insert(key, entry.len_bytes),
                None if entry.name.ends_with(PARTIAL_SUFFIX) => disk.remove_file(&dir.join(entry.name))?,
                None => {}
            }
        }
        let blocks = Self { index: Some(Mutex::new(index)), ..Self::look_at(dir, disk) };
        let blocks = Self { budget_bytes, ..blocks };
        blocks.evict();
        Ok(blocks)
    }

    /// The blocks in a directory that another process may be writing.
    pub(crate) fn look_at(dir: PathBuf, disk: Arc<dyn Disk>) -> Self {
        let zero = AtomicU64::default;
        let (hits, misses, fetched_bytes, damaged) = (zero(), zero(), zero(), zero());
        Self { dir, disk, index: None, budget_bytes: 0, hits, misses, fetched_bytes, damaged }
    }

    /// Whether blocks may be kept.
    pub(super) fn keeps(&self) -> bool {
        self.index.is_some()
    }

    /// The block, when it is here and whole. Blocks.
    pub(super) fn get(&self, key: &BlockKey) -> Option<Block> {
        if let Some(mut index) = self.lock() {
            index.stored.get(key)?;
        }
        let found = self.disk.read_from(&self.dir.join(key.file_name()), 0);
        let was_there = found.is_ok();
        let block = found.ok().and_then(|file| Block::parse(key, file));
        if block.is_none() && self.keeps() {
            self.damaged.fetch_add(u64::from(was_there), Ordering::Relaxed);
            self.remove([*key]);
        }
        self.hits.fetch_add(u64::from(block.is_some()), Ordering::Relaxed);
        block
    }

    /// Keeps a block. The cache does without one that cannot be written. Blocks.
    pub(super) fn put(&self, key: BlockKey, block: &Block) {
        let Some(index) = &self.index else { return };
        if let Err(error) = self.write(&key, block) {
            tracing::debug!(dir = %self.dir.display(), %error, "cannot keep a block of a data file");
            return;
        }
        index.lock().unwrap_or_else(PoisonError::into_inner).insert(key, block.stored_bytes());
        self.evict();
    }

    /// Keeps all blocks of a data file that was just written as `path`. Blocks.
    pub(crate) fn admit(&self, location: &Path, path: &FsPath, file_bytes: u64, written_unix_ms: i64) {
        if !self.keeps() || file_bytes > self.budget_bytes {
            return;
        }
        let file = FileKey::of(location);
        let read = File::open(path).and_then(|mut opened| {
            for number in 0..file_bytes.div_ceil(BLOCK_BYTES) {
                let mut bytes = Vec::with_capacity(BLOCK_BYTES as usize);
                opened.by_ref().take(BLOCK_BYTES).read_to_end(&mut bytes)?;
                self.put(file.block(number), &Block { bytes: Bytes::from(bytes), file_bytes, written_unix_ms });
            }
            Ok(())
        });
        if let Err(error) = read {
            tracing::debug!(%location, %error, "cannot keep a new data file");
        }
    }

    /// Removes what is kept of a file. Blocks.
    pub(crate) fn forget(&self, location: &Path) {
        let file = FileKey::of(location);
        self.remove_where(|key| key.file == file);
    }

    /// Removes what is kept of other files than these. Blocks.
    pub(crate) fn keep_only<'a>(&self, locations: impl IntoIterator<Item = &'a Path>) {
        let kept: HashSet<FileKey> = locations.into_iter().map(FileKey::of).collect();
        self.remove_where(|key| !kept.contains(&key.file));
    }

    pub(super) fn count_fetched(&self, blocks: u64, bytes: u64) {
        self.misses.fetch_add(blocks, Ordering::Relaxed);
        self.fetched_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn figures(&self) -> CacheFigures {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheFigures {
            bytes: self.lock().map_or(0, |index| index.bytes),
            hits: count(&self.hits),
            misses: count(&self.misses),
            fetched_bytes: count(&self.fetched_bytes),
            damaged: count(&self.damaged),
        }
    }

    /// Nothing is synced: what a power cut leaves of a block does not pass its checksum.
    fn write(&self, key: &BlockKey, block: &Block) -> io::Result<()> {
        let partial = self.dir.join(format!("{}{PARTIAL_SUFFIX}", uuid::Uuid::new_v4().simple()));
        let written = self.disk.create_new(&partial).and_then(|mut file| {
            file.write_all(&block.head(key))?;
            file.write_all(&block.bytes)
        });
        let named = written.and_then(|()| self.disk.rename(&partial, &self.dir.join(key.file_name())));
        named.inspect_err(|_| {
            // What stays is removed when the cache is opened again.
            let _ = self.disk.remove_file(&partial);
        })
    }

    fn evict(&self) {
        let mut evicted = Vec::new();
        if let Some(mut index) = self.lock() {
            while index.bytes > self.budget_bytes
                && let Some((key, bytes)) = index.stored.pop_lru()
            {
                index.bytes -= bytes;
                evicted.push(key);
            }
        }
        self.remove(evicted);
    }

    fn remove_where(&self, is_gone: impl Fn(&BlockKey) -> bool) {
        let gone: Vec<BlockKey> = match self.lock() {
            Some(index) => index.stored.iter().map(|(key, _)| *key).filter(is_gone).collect(),
            None => return,
        };
        self.remove(gone);
    }

    fn remove(&self, gone: impl IntoIterator<Item = BlockKey>) {
        for key in gone {
            if let Some(mut index) = self.lock()
                && let Some(bytes) = index.stored.pop(&key)
            {
                index.bytes -= bytes;
            }
            // A block that is not there is a block that is gone.
            let _ = self.disk.remove_file(&self.dir.join(key.file_name()));
        }
    }

    fn lock(&self) -> Option<MutexGuard<'_, Index>> {
        self.index.as_ref().map(|index| index.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Index {
    fn insert(&mut self, key: BlockKey, bytes: u64) {
        self.bytes += bytes;
        self.bytes -= self.stored.put(key, bytes).unwrap_or(0);
    }
}
