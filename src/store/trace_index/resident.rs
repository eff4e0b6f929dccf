//! The indexes of the table's files, as lookups use them: heads in memory, blocks read from the object store.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::object_store::{ObjectStore, ObjectStoreExt, path::Path};
use tokio::sync::OnceCell;

use super::blocks::KnownBlocks;
use super::layout::{self, BlockRange, Head, TraceHash};
use super::place::Place;
use crate::error::{Error, Kind, Result};

/// The memory that heads may take together: enough for 180 million traces. The heads of further files are read for each lookup.
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
#[derive(Debug, Default)]
pub(crate) struct IndexMemory {
    resident_bytes: AtomicU64,
    /// Lookups that had to leave a file's index aside because it was damaged or could not be read.
    failures: AtomicU64,
    blocks: KnownBlocks,
}

impl IndexMemory {
    /// One in which there is no room.
    #[cfg(test)]
    pub(super) fn full() -> Self {
        Self { resident_bytes: BUDGET_BYTES.into(), ..Self::default() }
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
    known: OnceCell<Known>,
    /// Once found to be damaged, an index is not asked again.
    damaged: AtomicBool,
}

enum Known {
    /// The file has no index that this program reads.
    Absent,
    /// There was no memory left for the head.
    OnDisk(Place),
    InMemory(Place, Arc<Head>),
}

impl FileIndex {
    /// The index of a file that is not looked at before it is needed.
    pub(crate) fn unread(memory: Arc<IndexMemory>) -> Self {
        Self(Arc::new(Inner { memory, known: OnceCell::new(), damaged: AtomicBool::new(false) }))
    }

    /// The index of a file that was just written.
    pub(crate) fn written(memory: Arc<IndexMemory>, place: Place, head: Arc<Head>) -> Self {
        let known = keep(&memory, place, head);
        Self(Arc::new(Inner { memory, known: OnceCell::new_with(Some(known)), damaged: AtomicBool::new(false) }))
    }

    /// Reads the head, unless that has been done. A failure is left to the first lookup.
    pub(crate) async fn warm(&self, store: &Arc<dyn ObjectStore>, location: &Path, size_bytes: u64) {
        let _ = self.known(store, location, size_bytes).await;
    }

    /// Whether the file may have spans of `traces`, as far as can be told without reading.
    pub(crate) fn may_have(&self, traces: &TraceSet) -> bool {
        match self.0.known.get() {
            Some(Known::InMemory(_, head)) => traces.0.iter().any(|hash| head.may_have(*hash)),
            _ => true,
        }
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
        let Known::InMemory(place, head) = self.0.known.get()? else { return None };
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

    async fn try_runs(
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
        Ok(match self.known(store, location, size_bytes).await? {
            Known::Absent => None,
            Known::InMemory(place, head) => Some((place.clone(), head.clone())),
            Known::OnDisk(place) => Some((place.clone(), Arc::new(read_head(store, location, place).await?))),
        })
    }

    async fn known(&self, store: &Arc<dyn ObjectStore>, location: &Path, size_bytes: u64) -> Result<&Known> {
        self.0.known.get_or_try_init(|| read(&self.0.memory, store, location, size_bytes)).await
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
        if let Some(Known::InMemory(_, head)) = self.known.get() {
            self.memory.resident_bytes.fetch_sub(head.size_bytes() as u64, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for FileIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileIndex").field(&self.figures()).finish()
    }
}

/// Keeps a head in memory, if the budget allows it.
fn keep(memory: &IndexMemory, place: Place, head: Arc<Head>) -> Known {
    let size_bytes = head.size_bytes() as u64;
    let before = memory.resident_bytes.fetch_add(size_bytes, Ordering::Relaxed);
    if before + size_bytes <= BUDGET_BYTES {
        return Known::InMemory(place, head);
    }
    memory.resident_bytes.fetch_sub(size_bytes, Ordering::Relaxed);
    Known::OnDisk(place)
}

async fn read(memory: &IndexMemory, store: &Arc<dyn ObjectStore>, location: &Path, size_bytes: u64) -> Result<Known> {
    let Some((place, rows)) = Place::of_file(store.as_ref(), location, size_bytes).await? else {
        return Ok(Known::Absent);
    };
    let head = read_head(store, location, &place).await?;
    if i64::from(head.rows) != rows {
        return Err(Error::corrupt("the trace index is that of another file"));
    }
    Ok(keep(memory, place, Arc::new(head)))
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
