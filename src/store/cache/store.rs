//! An object store that reads data files through the cache.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::DateTime;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    Attributes, CopyOptions, Error as StoreError, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult,
    Result as StoreResult,
};
use futures::future::{ready, try_join_all};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use tokio::sync::{Semaphore, watch};

use super::block::{BLOCK_BYTES, Block, BlockKey, FileKey};
use super::blocks::Blocks;
use crate::store::table::FileName;

/// Neighbouring blocks that are fetched with one request: a request's delay then counts little beside its transfer.
const RUN_BLOCKS: usize = 8;
/// Requests of all readers under way at a time. With [`RUN_BLOCKS`] this bounds what waits in memory to be written to the cache: 128 MiB.
const FETCHES_AT_ONCE: usize = 16;

/// A table's object store, read through the cache; what is written or listed goes past it. Clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct CachedStore {
    /// The table's place, for messages.
    place: Arc<str>,
    inner: Arc<dyn ObjectStore>,
    cache: Option<Arc<Cache>>,
    fills: bool,
}

#[derive(Debug)]
struct Cache {
    blocks: Arc<Blocks>,
    /// Blocks that are being fetched, for all who wait for them.
    under_way: Mutex<HashMap<BlockKey, watch::Receiver<Option<Fetched>>>>,
    fetches: Semaphore,
}

/// A fetched block, or why there is none.
type Fetched = Result<Block, Arc<StoreError>>;

/// Neighbouring blocks that are fetched together, and where they are awaited.
struct Run {
    first: u64,
    told: Vec<watch::Sender<Option<Fetched>>>,
}

impl CachedStore {
    /// `inner` seen through `blocks`, if there are any. A cache that another process keeps is read and not filled.
    pub(crate) fn new(place: &str, inner: Arc<dyn ObjectStore>, blocks: Option<Arc<Blocks>>) -> Self {
        let fills = blocks.as_ref().is_some_and(|blocks| blocks.keeps());
        let fetches = Semaphore::new(FETCHES_AT_ONCE);
        let cache = blocks.map(|blocks| Arc::new(Cache { blocks, under_way: Mutex::default(), fetches }));
        Self { place: place.into(), inner, cache, fills }
    }

    /// The same, for one who reads what nobody else will want: nothing is kept for it.
    pub(crate) fn without_filling(&self) -> Self {
        Self { fills: false, ..self.clone() }
    }

    /// Waits until what was fetched is kept.
    #[cfg(test)]
    pub(super) async fn settled(&self) {
        let is_settled = || self.cache.as_ref().is_none_or(|cache| cache.under_way.lock().expect("lock").is_empty());
        while !is_settled() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }

    /// Reads ranges of a data file; `None` when that is not for the cache to do.
    async fn read(&self, location: &Path, ranges: &[Range<u64>]) -> Option<StoreResult<Read>> {
        let cache = self.cache.as_ref()?;
        // Only what is never written again under the same name.
        location.filename().and_then(FileName::parse)?;
        let wanted: BTreeSet<u64> = ranges.iter().flat_map(blocks_of).collect();
        let file = FileKey::of(location);
        let (blocks, looked_for) = (cache.blocks.clone(), wanted.clone());
        let found = tokio::task::spawn_blocking(move || {
            let found = looked_for.into_iter().filter_map(|number| Some((number, blocks.get(&file.block(number))?)));
            found.collect::<BTreeMap<_, _>>()
        });
        let mut found = match found.await {
            Ok(found) => found,
            Err(error) => return Some(Err(generic(format!("looking into the cache ended badly: {error}")))),
        };
        let missing: Vec<u64> = wanted.into_iter().filter(|number| !found.contains_key(number)).collect();
        if !missing.is_empty() && !self.fills {
            return None;
        }
        match self.fetch(cache, location, file, missing).await {
            Ok(fetched) => found.extend(fetched),
            Err(error) => return Some(Err(error)),
        }
        Some(Ok(Read { blocks: found }))
    }

    /// Fetches blocks, each once however many ask for it. Goes on when the asker stops waiting: the next one will want them too.
    async fn fetch(
        &self,
        cache: &Arc<Cache>,
        location: &Path,
        file: FileKey,
        missing: Vec<u64>,
    ) -> StoreResult<Vec<(u64, Block)>> {
        let mut awaited = Vec::with_capacity(missing.len());
        let mut runs: Vec<Run> = Vec::new();
        {
            let mut under_way = cache.under_way.lock().unwrap_or_else(PoisonError::into_inner);
            for number in missing {
                if let Some(fetching) = under_way.get(&file.block(number)) {
                    awaited.push((number, fetching.clone()));
                    continue;
                }
                let (tell, told) = watch::channel(None);
                under_way.insert(file.block(number), told.clone());
                awaited.push((number, told));
                match runs.last_mut().filter(|run| run.end() == number && run.told.len() < RUN_BLOCKS) {
                    Some(run) => run.told.push(tell),
                    None => runs.push(Run { first: number, told: vec![tell] }),
                }
            }
        }
        for run in runs {
            let (inner, location) = (self.inner.clone(), location.clone());
            let keys = (run.first..run.end()).map(|number| file.block(number)).collect();
            let under_way = UnderWay { cache: cache.clone(), keys };
            tokio::spawn(async move { under_way.fetch(inner.as_ref(), &location, run).await });
        }
        try_join_all(awaited.into_iter().map(|(number, mut told)| async move {
            let fetched = told.wait_for(Option::is_some).await.ok().and_then(|fetched| fetched.clone());
            match fetched {
                Some(Ok(block)) => Ok((number, block)),
                Some(Err(error)) => Err(self.shared(&error)),
                None => Err(self.named(generic(format!("reading {location} was given up")))),
            }
        }))
        .await
    }

    /// The error of a request that several wait for.
    fn shared(&self, error: &StoreError) -> StoreError {
        match error {
            StoreError::NotFound { path, source } => {
                StoreError::NotFound { path: path.clone(), source: source.to_string().into() }
            }
            error => generic(format!("{}: {error}", self.place)),
        }
    }

    /// Names the table's place in errors that are about the store and not about an object.
    fn named(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Generic { source, .. } => generic(format!("{}: {source}", self.place)),
            error @ (StoreError::NotFound { .. }
            | StoreError::AlreadyExists { .. }
            | StoreError::Precondition { .. }) => error,
            error => generic(format!("{}: {error}", self.place)),
        }
    }

    /// The same for an answer that may break off.
    fn named_in_answer(&self, got: GetResult) -> GetResult {
        let payload = match got.payload {
            GetResultPayload::Stream(bytes) => {
                let store = self.clone();
                GetResultPayload::Stream(bytes.map_err(move |error| store.named(error)).boxed())
            }
            file => file,
        };
        GetResult { payload, ..got }
    }
}

/// Blocks that are being fetched. However that ends, and should it panic or be dropped half-way, whoever asks next fetches anew.
struct UnderWay {
    cache: Arc<Cache>,
    keys: Vec<BlockKey>,
}

impl UnderWay {
    /// Fetches a run, tells those who wait, and keeps it.
    async fn fetch(self, inner: &dyn ObjectStore, location: &Path, run: Run) {
        let Run { first, told } = run;
        let fetched = {
            // The semaphore is never closed.
            let _turn = self.cache.fetches.acquire().await;
            if let Some(kept) = self.kept_meanwhile().await {
                told.iter().zip(kept).for_each(|(tell, block)| {
                    tell.send_replace(Some(Ok(block)));
                });
                return;
            }
            fetch_blocks(inner, location, first, told.len() as u64).await.map_err(Arc::new)
        };
        match fetched {
            Ok(fetched) => {
                let bytes = fetched.iter().map(|block| block.bytes.len() as u64).sum();
                self.cache.blocks.count_fetched(fetched.len() as u64, bytes);
                for (tell, block) in told.iter().zip(&fetched) {
                    tell.send_replace(Some(Ok(block.clone())));
                }
                let (blocks, keyed) = (self.cache.blocks.clone(), self.keys.clone());
                let kept = tokio::task::spawn_blocking(move || {
                    keyed.into_iter().zip(&fetched).for_each(|(key, block)| blocks.put(key, block));
                });
                // A block that could not be kept is fetched again.
                let _ = kept.await;
            }
            Err(error) => {
                told.iter().for_each(|tell| {
                    tell.send_replace(Some(Err(error.clone())));
                });
            }
        }
    }
}

impl UnderWay {
    /// The blocks, if all of them came between the asker's look at the disk and its turn.
    async fn kept_meanwhile(&self) -> Option<Vec<Block>> {
        let (blocks, keys) = (self.cache.blocks.clone(), self.keys.clone());
        let kept = tokio::task::spawn_blocking(move || keys.iter().map(|key| blocks.get(key)).collect());
        kept.await.ok().flatten()
    }
}

impl Drop for UnderWay {
    /// Only now: who asks from here on finds the blocks on disk.
    fn drop(&mut self) {
        let mut under_way = self.cache.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        self.keys.iter().for_each(|key| {
            under_way.remove(key);
        });
    }
}

impl Run {
    fn end(&self) -> u64 {
        self.first + self.told.len() as u64
    }
}

/// Fetches up to `count` blocks with one request, the last of a file being shorter.
async fn fetch_blocks(inner: &dyn ObjectStore, location: &Path, first: u64, count: u64) -> StoreResult<Vec<Block>> {
    let range = first * BLOCK_BYTES..(first + count) * BLOCK_BYTES;
    let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
    let got = inner.get_opts(location, options).await?;
    let (file_bytes, written_unix_ms) = (got.meta.size, got.meta.last_modified.timestamp_millis());
    let bytes = got.bytes().await?;
    let expected = range.end.min(file_bytes).saturating_sub(range.start);
    if bytes.len() as u64 != expected {
        return Err(generic(format!("{location}: {} bytes came instead of {expected}", bytes.len())));
    }
    let blocks = (0..count).map(|number| {
        let at = |number: u64| (number * BLOCK_BYTES).min(expected) as usize;
        Block { bytes: bytes.slice(at(number)..at(number + 1)), file_bytes, written_unix_ms }
    });
    Ok(blocks.collect())
}

fn generic(text: String) -> StoreError {
    StoreError::Generic { store: "object store", source: text.into() }
}

/// The numbers of the blocks in which a range lies.
fn blocks_of(range: &Range<u64>) -> Range<u64> {
    range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES).max(range.start / BLOCK_BYTES)
}

/// The blocks of a file that a read needs.
struct Read {
    blocks: BTreeMap<u64, Block>,
}

impl Read {
    /// Copies a range out of its blocks, so that a few bytes do not hold a whole block in memory; cut at the end of the file.
    fn bytes(&self, location: &Path, range: &Range<u64>) -> StoreResult<Bytes> {
        let mut bytes = BytesMut::with_capacity(range.end.saturating_sub(range.start) as usize);
        for number in blocks_of(range) {
            let block = self.blocks.get(&number).map_or(&[][..], |block| &block.bytes);
            let start = number * BLOCK_BYTES;
            let from = range.start.saturating_sub(start) as usize;
            let to = ((range.end - start) as usize).min(block.len());
            bytes.extend_from_slice(block.get(from..to).unwrap_or_default());
        }
        match bytes.is_empty() && range.start < range.end {
            true => Err(generic(format!("{location}: a range begins behind the end of the file"))),
            false => Ok(bytes.freeze()),
        }
    }

    fn result(&self, location: &Path, range: &Range<u64>) -> StoreResult<GetResult> {
        let bytes = self.bytes(location, range)?;
        let any = self.blocks.values().next().ok_or_else(|| generic(format!("{location}: an empty range")))?;
        let last_modified = DateTime::from_timestamp_millis(any.written_unix_ms).unwrap_or_default();
        let meta =
            ObjectMeta { location: location.clone(), last_modified, size: any.file_bytes, e_tag: None, version: None };
        Ok(GetResult {
            range: range.start..range.start + bytes.len() as u64,
            payload: GetResultPayload::Stream(futures::stream::once(ready(Ok(bytes))).boxed()),
            meta,
            attributes: Attributes::new(),
        })
    }
}

/// The range that a request asks for, if it asks for nothing else.
fn plain_range(options: &GetOptions) -> Option<Range<u64>> {
    let GetOptions { if_match, if_none_match, if_modified_since, if_unmodified_since, range, version, head, .. } =
        options;
    let has_condition = if_match.is_some()
        || if_none_match.is_some()
        || if_modified_since.is_some()
        || if_unmodified_since.is_some()
        || version.is_some();
    match range {
        Some(GetRange::Bounded(range)) if !has_condition && !head && range.start < range.end => Some(range.clone()),
        _ => None,
    }
}

impl fmt::Display for CachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

#[async_trait]
impl ObjectStore for CachedStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        self.inner.put_opts(location, payload, options).await.map_err(|error| self.named(error))
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await.map_err(|error| self.named(error))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        if let Some(range) = plain_range(&options)
            && let Some(read) = self.read(location, std::slice::from_ref(&range)).await
        {
            return read?.result(location, &range);
        }
        let got = self.inner.get_opts(location, options).await.map_err(|error| self.named(error))?;
        Ok(self.named_in_answer(got))
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> StoreResult<Vec<Bytes>> {
        match self.read(location, ranges).await {
            Some(read) => {
                let read = read?;
                ranges.iter().map(|range| read.bytes(location, range)).collect()
            }
            None => self.inner.get_ranges(location, ranges).await.map_err(|error| self.named(error)),
        }
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let store = self.clone();
        self.inner.list(prefix).map_err(move |error| store.named(error)).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await.map_err(|error| self.named(error))
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await.map_err(|error| self.named(error))
    }
}
