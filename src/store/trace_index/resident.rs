//! The indexes of the table's files, as lookups use them: heads in memory, blocks read from the object store.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use datafusion::object_store::{ObjectStore, ObjectStoreExt, path::Path};
use tokio::sync::OnceCell;

use super::blocks::KnownBlocks;
use super::layout::{self, BlockRange, Head, TraceHash};
use super::place::Place;
use crate::error::{Error, Kind, Result};

/// The memory that heads may take together: enough for 180 million traces. When it is full, the head of a new file takes the place of those that
/// have been there longest, which are read for each lookup from then on.
const BUDGET_BYTES: u64 = 256 << 20;

/// Traces to look for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceSet(Vec<TraceHash>);

impl TraceSet {
    /// The traces of these ids.
    pub fn new<'a>(ids: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut hashes: Vec<TraceHash> = ids.into_iter().map(TraceHash::of).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self(hashes)
    }
}

/// A run as the index has it: the upper half of the trace id's xxh3-64, and the rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRun {
    pub hash: u32,
    pub rows: Range<u32>,
}

/// What an index has and takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexFigures {
    /// Distinct trace hashes.
    pub traces: u64,
    pub runs: u64,
    /// Traces of more than one run in the file.
    pub split_traces: u64,
    /// What the index takes of the file.
    pub file_bytes: u64,
    /// What of it is in memory.
    pub memory_bytes: u64,
}

/// What the indexes of one table share.
#[derive(Debug)]
pub(crate) struct IndexMemory {
    budget_bytes: u64,
    /// What several tables of a process have together.
    within: OnceLock<Arc<IndexMemory>>,
    resident_bytes: AtomicU64,
    /// The indexes whose heads have been kept, oldest first.
    resident: Mutex<VecDeque<Weak<Inner>>>,
    /// Lookups that had to leave a file's index aside because it was damaged or could not be read.
    failures: AtomicU64,
    blocks: KnownBlocks,
}

impl Default for IndexMemory {
    fn default() -> Self {
        Self::of(BUDGET_BYTES)
    }
}

impl IndexMemory {
    /// Memory for heads of so many bytes.
    pub(super) fn of(budget_bytes: u64) -> Self {
        Self {
            budget_bytes,
            within: OnceLock::new(),
            resident_bytes: AtomicU64::new(0),
            resident: Mutex::default(),
            failures: AtomicU64::new(0),
            blocks: KnownBlocks::default(),
        }
    }

    /// Takes memory, if there is so much.
    fn take(&self, bytes: u64) -> bool {
        let has_room = self.resident_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.budget_bytes;
        let taken = has_room && self.within.get().is_none_or(|within| within.take(bytes));
        if !taken {
            self.resident_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
        taken
    }

    fn give_back(&self, bytes: u64) {
        self.resident_bytes.fetch_sub(bytes, Ordering::Relaxed);
        if let Some(within) = self.within.get() {
            within.give_back(bytes);
        }
    }

    /// Takes its memory out of what several have from now on. No head may have been kept yet.
    pub(crate) fn share(&self, within: Arc<Self>) {
        let _ = self.within.set(within);
    }

    /// Lets go of the head that has been there longest; `false` when there is none.
    fn drop_oldest(&self) -> bool {
        let oldest = self.resident.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        oldest.inspect(|oldest| _ = oldest.upgrade().map(|oldest| oldest.drop_head())).is_some()
    }

    pub(crate) fn resident_bytes(&self) -> u64 {
        self.resident_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }
}

/// The trace index of one data file. Clones share what is known of it.
#[derive(Clone)]
pub struct FileIndex(Arc<Inner>);

struct Inner {
    memory: Arc<IndexMemory>,
    /// Where the index lies, and the rows of its file; `None` when the file has no index that this program reads.
    place: OnceCell<Option<(Place, i64)>>,
    /// The head, while there is memory for it.
    head: ArcSwapOption<Head>,
    /// Once found to be damaged, an index is not asked again.
    damaged: AtomicBool,
}

impl Inner {
    /// Keeps the head, if there is memory for it.
    fn keep(self: &Arc<Self>, head: &Arc<Head>) -> bool {
        let taken = self.memory.take(head.size_bytes() as u64);
        if taken {
            self.replace_head(Some(head.clone()));
            let mut resident = self.memory.resident.lock().unwrap_or_else(PoisonError::into_inner);
            resident.retain(|index| index.strong_count() > 0);
            resident.push_back(Arc::downgrade(self));
        }
        taken
    }

    fn drop_head(&self) {
        self.replace_head(None);
    }

    fn replace_head(&self, head: Option<Arc<Head>>) {
        if let Some(former) = self.head.swap(head) {
            self.memory.give_back(former.size_bytes() as u64);
        }
    }
}

impl FileIndex {
    /// The index of a file that is not looked at before it is needed.
    pub(crate) fn unread(memory: Arc<IndexMemory>) -> Self {
        Self::of(memory, OnceCell::new())
    }

    /// The index of a file that was just written: what is new is looked at most, and its head is kept before those of others.
    pub(crate) fn written(memory: Arc<IndexMemory>, place: Place, head: Arc<Head>) -> Self {
        let index = Self::of(memory, OnceCell::new_with(Some(Some((place, head.rows.into())))));
        while !index.0.keep(&head) && index.0.memory.drop_oldest() {}
        index
    }

    fn of(memory: Arc<IndexMemory>, place: OnceCell<Option<(Place, i64)>>) -> Self {
        Self(Arc::new(Inner { memory, place, head: ArcSwapOption::empty(), damaged: AtomicBool::new(false) }))
    }

    /// Reads the head, unless that has been done. A failure is left to the first lookup.
    pub(crate) async fn warm(&self, store: &Arc<dyn ObjectStore>, location: &Path, size_bytes: u64) {
        let _ = self.head(store, location, size_bytes).await;
    }

    /// Whether the file may have spans of `traces`, as far as can be told without reading.
    pub(crate) fn may_have(&self, traces: &TraceSet) -> bool {
        let head = self.0.head.load();
        head.as_ref().is_none_or(|head| traces.0.iter().any(|hash| head.may_have(*hash)))
    }

    /// The rows in which the file may have spans of `traces`, in order and without overlap; `None` when the index cannot tell.
    ///
    /// Rows of another trace are among them when two ids have the same hash.
    pub(crate) async fn find(
        &self,
        store: &Arc<dyn ObjectStore>,
        location: &Path,
        size_bytes: u64,
        traces: &TraceSet,
    ) -> Option<Vec<Range<u32>>> {
        let found = self.try_find(store, location, size_bytes, traces).await;
        self.or_none(location, found)
    }

    /// All runs of the file, in order of their rows; `None` when the index cannot tell.
    pub(crate) async fn runs(
        &self,
        store: &Arc<dyn ObjectStore>,
        location: &Path,
        size_bytes: u64,
    ) -> Option<Vec<FileRun>> {
        let runs = self.try_runs(store, location, size_bytes).await;
        self.or_none(location, runs)
    }

    /// The index's figures, as far as they are in memory.
    pub fn figures(&self) -> Option<IndexFigures> {
        let (head, (place, _)) = (self.0.head.load_full()?, self.0.place.get()?.as_ref()?);
        Some(IndexFigures {
            traces: head.traces.into(),
            runs: head.runs.into(),
            split_traces: head.split_traces.into(),
            file_bytes: place.size_bytes(),
            memory_bytes: head.size_bytes() as u64,
        })
    }

    async fn try_find(
        &self,
        store: &Arc<dyn ObjectStore>,
        location: &Path,
        size_bytes: u64,
        traces: &TraceSet,
    ) -> Result<Option<Vec<Range<u32>>>> {
        let Some((place, head)) = self.head(store, location, size_bytes).await? else { return Ok(None) };
        let wanted: Vec<TraceHash> = traces.0.iter().copied().filter(|hash| head.may_have(*hash)).collect();
        let ranges = joined(wanted.iter().map(|hash| head.blocks_of(*hash)));
        if ranges.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let wanted: HashSet<u32> = wanted.into_iter().map(TraceHash::upper).collect();
        let mut rows = Vec::new();
        for (range, bytes) in ranges.iter().zip(self.blocks(store, location, &place, &ranges).await?) {
            layout::decode_blocks(&head, range, &bytes, |hash, run| {
                if wanted.contains(&hash) {
                    rows.push(run);
                }
            })?;
        }
        rows.sort_unstable_by_key(|run| run.start);
        Ok(Some(rows))
    }

    /// Blocks out of memory, and with one request those that are not there.
    async fn blocks(
        &self,
        store: &Arc<dyn ObjectStore>,
        location: &Path,
        place: &Place,
        ranges: &[BlockRange],
    ) -> Result<Vec<Bytes>> {
        let known = self.0.memory.blocks.get(location, ranges);
        let missing = ranges.iter().zip(&known).filter(|(_, known)| known.is_none());
        let missing: Vec<BlockRange> = missing.map(|(range, _)| range.clone()).collect();
        if missing.is_empty() {
            return Ok(known.into_iter().flatten().collect());
        }
        let read = read_blocks(store, location, place, &missing).await?;
        missing.iter().zip(&read).for_each(|(range, bytes)| self.0.memory.blocks.keep(location, range, bytes));
        let mut read = read.into_iter();
        Ok(known.into_iter().filter_map(|known| known.or_else(|| read.next())).collect())
    }

    /// The same, where it matters why the index cannot tell; `None` when there is none.
    pub(crate) async fn try_runs(
        &self,
        store: &Arc<dyn ObjectStore>,
        location: &Path,
        size_bytes: u64,
    ) -> Result<Option<Vec<FileRun>>> {
        let Some((place, head)) = self.head(store, location, size_bytes).await? else { return Ok(None) };
        let all = joined([head.all_blocks()].into_iter());
        let mut runs = Vec::with_capacity(head.runs as usize);
        for (range, bytes) in all.iter().zip(read_blocks(store, location, &place, &all).await?) {
            layout::decode_blocks(&head, range, &bytes, |hash, rows| runs.push(FileRun { hash, rows }))?;
        }
        runs.sort_unstable_by_key(|run| run.rows.start);
        Ok(Some(runs))
    }

    async fn head(
        &self,
        store: &Arc<dyn ObjectStore>,
        location: &Path,
        size_bytes: u64,
    ) -> Result<Option<(Place, Arc<Head>)>> {
        if self.0.damaged.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let read = || Place::of_file(store.as_ref(), location, size_bytes);
        let Some((place, rows)) = self.0.place.get_or_try_init(read).await? else { return Ok(None) };
        if let Some(head) = self.0.head.load_full() {
            return Ok(Some((place.clone(), head)));
        }
        let head = Arc::new(read_head(store, location, place).await?);
        if i64::from(head.rows) != *rows {
            return Err(Error::corrupt("the trace index is that of another file"));
        }
        self.0.keep(&head);
        Ok(Some((place.clone(), head)))
    }

    /// A lookup must not fail because of its index: the file is read without it.
    fn or_none<T>(&self, location: &Path, found: Result<Option<T>>) -> Option<T> {
        found.unwrap_or_else(|error| {
            self.0.memory.failures.fetch_add(1, Ordering::Relaxed);
            if error.kind == Kind::Corrupt {
                self.0.damaged.store(true, Ordering::Relaxed);
            }
            tracing::warn!(file = %location, %error, "cannot use the trace index of a data file, which is read without it");
            None
        })
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.drop_head();
    }
}

impl fmt::Debug for FileIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileIndex").field(&self.figures()).finish()
    }
}

async fn read_head(store: &Arc<dyn ObjectStore>, location: &Path, place: &Place) -> Result<Head> {
    let bytes = store.get_range(location, place.head.clone()).await.map_err(|error| failed(location, error))?;
    let head = Head::parse(&bytes)?;
    match head.blocks_bytes() == place.blocks.end - place.blocks.start {
        true => Ok(head),
        false => Err(Error::corrupt("the head of the trace index does not fit its blocks")),
    }
}

async fn read_blocks(
    store: &Arc<dyn ObjectStore>,
    location: &Path,
    place: &Place,
    ranges: &[BlockRange],
) -> Result<Vec<Bytes>> {
    let at = place.blocks.start;
    let ranges: Vec<_> = ranges.iter().map(|range| at + range.bytes.start..at + range.bytes.end).collect();
    store.get_ranges(location, &ranges).await.map_err(|error| failed(location, error))
}

fn failed(location: &Path, error: datafusion::object_store::Error) -> Error {
    Error::new(Kind::Io, format!("cannot read the trace index of {location}: {error}")).with_source(error)
}

/// Ranges in order of their blocks, each block once; empty ones are left out.
fn joined(ranges: impl Iterator<Item = BlockRange>) -> Vec<BlockRange> {
    let mut ranges: Vec<BlockRange> = ranges.filter(|range| !range.blocks.is_empty()).collect();
    ranges.sort_unstable_by_key(|range| (range.blocks.start, range.blocks.end));
    ranges.dedup_by(|next, before| {
        let overlap = next.blocks.start < before.blocks.end;
        if overlap && next.blocks.end > before.blocks.end {
            before.blocks.end = next.blocks.end;
            before.bytes.end = next.bytes.end;
        }
        overlap
    });
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_that_share_memory_for_heads_have_so_much_together() {
        let all = Arc::new(IndexMemory::of(100));
        let [one, other] = [(); 2].map(|()| IndexMemory::of(80));
        one.share(all.clone());
        other.share(all.clone());
        assert!(!one.take(81), "more than it may have itself");
        assert!(one.take(80) && !other.take(30));
        assert_eq!((other.resident_bytes(), all.resident_bytes()), (0, 80), "what is refused is not held");
        assert!(other.take(20));
        one.give_back(80);
        assert!(other.take(60));
        assert_eq!((one.resident_bytes(), other.resident_bytes(), all.resident_bytes()), (0, 80, 80));
    }
}
