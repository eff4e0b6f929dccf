//! Opening a data directory: lock, table, replay, leftovers, threads.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use chrono::DateTime;
use datafusion::object_store::ObjectStore;
use datafusion::object_store::path::Path as ObjectPath;
use futures::{StreamExt, stream};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Notify, Semaphore};

use super::clock::{Clock, OsClock};
use super::compact::PlanLimits;
use super::disk::{Disk, OsDisk, write_whole};
use super::fence::Fence;
use super::follow::keep_following;
use super::fresh::Part;
use super::keeper::Keeper;
use super::lock::DirectoryLock;
use super::place::{CacheUse, TablePlace};
use super::publish::Publisher;
use super::quarantine::Quarantine;
use super::retention::MatchMemory;
use super::retries::Retries;
use super::seal::{Convert, write_sorted};
use super::sealer::Sealer;
use super::settings::StoreSettings;
use super::shared::{Counters, Shared, log_dir};
use super::state::Visible;
use super::store::Store;
use super::table::{DeltaLog, FileName, Leftovers, TableDir, TableState, Tombstone, remove_leftovers};
use super::trace_index::IndexMemory;
use super::wal::{Appender, LogEnd, Lsn, Record, ReplayStart, SegmentList, WriterSettings, replay};
use super::{DataFile, RefusalWatch, Retention, retention, table_url};
use crate::error::{Error, Kind, Result};
use crate::model::SpanBatch;

/// The file that holds the node's id: the id under which this directory's log commits to the table, made when the directory is.
const NODE_FILE: &str = "node";

/// Files whose index is read at a time while the store opens: two keep a disk busy and leave the cores to others.
const WARM_FILES: usize = 2;

/// How a logged payload becomes a batch.
pub(crate) type Decode = fn(&Bytes) -> Result<SpanBatch>;

/// What the store is built from; tests put others in.
#[derive(Debug, Clone)]
pub(crate) struct Components {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub decode: Decode,
    pub convert: Convert,
    pub plan_limits: PlanLimits,
    /// See [`Shared::upkeep`].
    pub upkeep: Arc<Semaphore>,
    /// The memory for trace indexes that the store shares with others; what it has by itself without one.
    pub indexes: Option<Arc<IndexMemory>>,
    /// In the place of the object store that the table's URL names.
    pub remote: Option<Arc<dyn ObjectStore>>,
}

impl Default for Components {
    fn default() -> Self {
        Self {
            disk: Arc::new(OsDisk),
            clock: Arc::new(OsClock),
            decode: decode_payload,
            convert: write_sorted,
            plan_limits: PlanLimits::default(),
            upkeep: Arc::new(Semaphore::new(1)),
            indexes: None,
            remote: None,
        }
    }
}

/// Decodes a logged payload as it was decoded when it came.
pub(crate) fn decode_payload(payload: &Bytes) -> Result<SpanBatch> {
    crate::otlp::decode_export(payload).map(|decoded| decoded.batch)
}

/// Opens the store of `dir`.
pub(crate) async fn open(dir: &Path, settings: StoreSettings, components: Components) -> Result<Arc<Store>> {
    settings.validate()?;
    let dir = dir.to_owned();
    tokio::task::spawn_blocking(move || open_blocking(&dir, settings, components))
        .await
        .map_err(|error| Error::internal(format!("opening the store ended badly: {error}")))?
}

fn open_blocking(dir: &Path, settings: StoreSettings, components: Components) -> Result<Arc<Store>> {
    let begun = Instant::now();
    let Components { disk, clock, decode, convert, plan_limits, upkeep, indexes, remote } = components;
    let log_dir = log_dir(dir);
    disk.create_dir_all(&log_dir).map_err(|error| Error::io(log_dir.display(), error))?;
    let lock = DirectoryLock::take(dir)?;
    let runtime = table_runtime("spanhouse-table")?;
    let (place, node, mut table) = open_table(dir, &settings, &disk, runtime.handle(), remote)?;
    if let Some(indexes) = &indexes {
        table.indexes().share(indexes.clone());
    }
    let is_shared = place.is_shared();
    let fence = Arc::<Fence>::default();
    let table_dir = TableDir { is_shared, home: place.home, disk: disk.clone(), clock: clock.clone() };
    runtime.block_on(table.write_behind(fence.clone(), table_dir.clone()))?;
    let tombstones = runtime.block_on(table.tombstones())?;
    let state = table.state().clone();
    let shared = Shared {
        dir: dir.to_owned(),
        node,
        budget: Arc::new(Semaphore::new(0)),
        waiting: Default::default(),
        retries: Retries::new(settings.retry_window),
        retention: ArcSwap::from_pointee(settings.retention.clone()),
        upkeep,
        indexes_beside: indexes.unwrap_or_default(),
        settings,
        clock: clock.clone(),
        disk: disk.clone(),
        visible: Visible::default(),
        segments: Arc::new(SegmentList::default()),
        seal_wanted: Notify::new(),
        object_store: place.reads,
        rewrites: place.rewrites,
        cache: place.cache,
        table_dir,
        indexes: table.indexes().clone(),
        table: tokio::sync::Mutex::new(table),
        fence,
        plan_limits,
        decode,
        convert,
        quarantine: Quarantine::of(disk.clone(), dir),
        counters: Counters::default(),
        matches: MatchMemory::default(),
        refusals: RefusalWatch::new("the memory for fresh spans"),
        looked_unix_ms: AtomicI64::new(clock.unix_ms()),
        left: Mutex::default(),
        lock: Mutex::new(Some(lock)),
    };
    shared.budget.add_permits(shared.budget_units());
    retention::announce(shared.disk.as_ref(), dir, &shared.settings.retention)?;
    shared.install(&state);
    let end = replay_log(&shared, state.mark)?;
    // Only now: a directory whose log is damaged is left as it is.
    let orphans = runtime.block_on(tidy_table(&shared, &state, &tombstones))?;
    log_opening(&shared, &end, begun);
    log_others(&state.files, &shared.node, &shared.settings.retention);
    runtime.spawn(warm_indexes(state.files.clone(), shared.object_store.clone()));
    let shared = Arc::new(shared);
    runtime.spawn(keep_following(Arc::downgrade(&shared)));
    let (merge, merge_wanted) = mpsc::sync_channel(1);
    start_merger(shared.clone(), merge_wanted)?;
    let log = WriterSettings {
        disk,
        dir: log_dir,
        next_lsn: end.next_lsn,
        segments: shared.segments.clone(),
        budget_bytes: shared.settings.log_budget_bytes,
    };
    let (appender, log_thread) = Appender::start(log, Publisher { shared: shared.clone(), merge })?;
    let sealer = Sealer::start(shared.clone(), runtime)?;
    let keeper = Keeper::start(shared.clone(), table_runtime("spanhouse-keep")?, tombstones, orphans)?;
    Ok(Arc::new(Store::new(shared, appender, (sealer, keeper), log_thread)))
}

/// Reads the table's log where the directory has its table; a new directory then has it there for good.
fn open_table(
    dir: &Path,
    settings: &StoreSettings,
    disk: &Arc<dyn Disk>,
    runtime: &Handle,
    remote: Option<Arc<dyn ObjectStore>>,
) -> Result<(TablePlace, String, DeltaLog)> {
    let known = read_node_id(dir)?;
    let url = table_url::choose(dir, settings.table_url.as_ref(), known.is_none())?;
    // A directory elsewhere that is gone, such as one that is not mounted, is not a new table.
    if known.is_none() || url.is_none() {
        TablePlace::create(dir, url.as_ref(), disk.as_ref())?;
    }
    let place =
        TablePlace::open(dir, url.clone(), disk, runtime, remote, CacheUse::Keep { bytes: settings.cache_bytes })?;
    let node = known.clone().unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
    let table = runtime.block_on(async {
        let mut table = place.load(&node).await?;
        table.ensure_newest().await.map(|()| table)
    })?;
    if known.is_none() {
        table_url::record(disk.as_ref(), dir, url.as_ref())?;
        write_whole(disk.as_ref(), dir, NODE_FILE, &node).map_err(|error| Error::io(dir.display(), error))?;
    }
    Ok((place, node, table))
}

/// Makes what the log holds above the mark fresh again, and remembers requests against retries.
fn replay_log(shared: &Shared, mark: Lsn) -> Result<LogEnd> {
    let (begun, mut read_bytes) = (Instant::now(), 0);
    let dir = log_dir(&shared.dir);
    let end = replay(&shared.disk, &dir, ReplayStart { mark }, |record| {
        read_bytes += record.encoded_len() as u64;
        shared.retries.stored(record.hash, record.received_unix_ms);
        if record.lsn > mark {
            match part_of(shared, &record) {
                Ok(part) => shared.visible.publish([part]),
                Err(error) => shared.set_aside(record.lsn, &record.payload, &error)?,
            }
            while shared.visible.merge_once()? {}
        }
        Ok(())
    })?;
    shared.counters.replayed_bytes.store(read_bytes, Ordering::Relaxed);
    shared.counters.replay_ms.store(begun.elapsed().as_millis() as u64, Ordering::Relaxed);
    shared.counters.quarantined_files.store(shared.quarantine.files()?, Ordering::Relaxed);
    for segment in &end.segments {
        shared.segments.push(segment.clone());
    }
    shared.segments.cut(shared.disk.as_ref(), mark)?;
    shared.counters.last_lsn.store(end.next_lsn.0 - 1, Ordering::Relaxed);
    shared.counters.sealed_lsn.store(mark.0, Ordering::Relaxed);
    if let Some(torn) = &end.torn {
        tracing::warn!(segment = %torn.path.display(), bytes = torn.bytes, "cut an unfinished write off the log");
        shared.counters.cut_torn_bytes.store(torn.bytes, Ordering::Relaxed);
    }
    Ok(end)
}

/// Reads the heads of the trace indexes, so that the first lookup does not have to.
async fn warm_indexes(files: Arc<[DataFile]>, store: Arc<dyn ObjectStore>) {
    let store = &store;
    stream::iter(files.iter()).for_each_concurrent(WARM_FILES, |file| file.warm_index(store)).await;
}

/// Removes from the table's place what a crash left there; gives the data files that may only be removed later.
async fn tidy_table(shared: &Shared, table: &TableState, tombstones: &[Tombstone]) -> Result<Vec<ObjectPath>> {
    let live = table.files.iter().map(|file| &file.location);
    if let Some(cache) = &shared.cache {
        cache.keep_only(live.clone());
    }
    let named = live.chain(tombstones.iter().map(|gone| &gone.location));
    let named = table.version.map(|_| named.cloned().collect());
    let removed = remove_leftovers(&shared.table_dir, shared.object_store.as_ref(), &shared.node, named.as_ref());
    let Leftovers { orphans, temporary, young } = removed.await?;
    if orphans + temporary > 0 {
        tracing::info!(orphans, temporary, "removed files that a crash had left out of the table");
    }
    Ok(young)
}

fn log_opening(shared: &Shared, end: &LogEnd, begun: Instant) {
    let state = shared.visible.load();
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let (replayed_bytes, replay_ms) = (count(&shared.counters.replayed_bytes), count(&shared.counters.replay_ms));
    tracing::info!(
        table_rows = state.files.iter().map(|file| file.rows).sum::<u64>(),
        replayed_rows = state.fresh_rows(),
        cut_bytes = end.torn.as_ref().map_or(0, |torn| torn.bytes),
        replayed_bytes,
        replay_ms,
        replay_s_per_gb = (replayed_bytes > 0).then(|| replay_ms as f64 * 1e6 / replayed_bytes as f64),
        ms = begun.elapsed().as_millis() as u64,
        "opened the store"
    );
}

/// Says who else has committed to the table, and until when: what they acknowledged after that lies in their own logs only.
fn log_others(files: &[DataFile], node: &str, retention: &Retention) {
    for (node, Written { files, until_unix_ms }) in writers(files).into_iter().filter(|(writer, _)| *writer != node) {
        let until = DateTime::from_timestamp_millis(until_unix_ms).map(|until| until.to_rfc3339());
        tracing::info!(
            node,
            files,
            until,
            "the table has files of another node; spans that it acknowledged later are in its data directory only"
        );
        if !retention.is_off() {
            tracing::warn!(
                node,
                "this server's retention also deletes spans of that node: all servers of a table need the same"
            );
        }
    }
}

/// What a node has in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Written {
    files: usize,
    until_unix_ms: i64,
}

/// The nodes that wrote the table's files.
fn writers(files: &[DataFile]) -> BTreeMap<String, Written> {
    let mut writers = BTreeMap::new();
    for file in files {
        let Some(name) = file.location.filename().and_then(FileName::parse) else { continue };
        let written = writers.entry(name.node).or_insert(Written { files: 0, until_unix_ms: i64::MIN });
        written.files += 1;
        written.until_unix_ms = written.until_unix_ms.max(file.written_unix_ms);
    }
    writers
}

fn part_of(shared: &Shared, record: &Record) -> Result<Part> {
    let batch = (shared.decode)(&record.payload).map_err(|error| {
        Error::corrupt(format!("request {} of the log cannot be read again: {error}", record.lsn.0))
    })?;
    // The spans were admitted once and are kept now, even if the budget has been made smaller since.
    let wanted = shared.charge(&batch).min(shared.budget.available_permits().min(u32::MAX as usize) as u32);
    if let Ok(charge) = shared.budget.try_acquire_many(wanted) {
        charge.forget();
    }
    Part::new(record.lsn, batch, wanted, record.received_unix_ms)
}

/// The id of a directory's node; `None` when the directory has never been opened.
pub(crate) fn read_node_id(dir: &Path) -> Result<Option<String>> {
    let path = dir.join(NODE_FILE);
    match fs::read_to_string(&path) {
        Ok(text) if text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) => Ok(Some(text)),
        Ok(_) => Err(Error::corrupt(format!("{} is no node id", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(path.display(), error)),
    }
}

/// A small runtime for one thread of the store: the table's library needs one, and its work must not wait for queries or listeners.
fn table_runtime(name: &'static str) -> Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(name)
        .enable_all()
        .build()
        .map_err(|error| Error::new(Kind::Io, format!("the runtime {name}: {error}")))
}

fn start_merger(shared: Arc<Shared>, wanted: mpsc::Receiver<()>) -> Result<()> {
    thread::Builder::new()
        .name("spanhouse-merge".into())
        .spawn(move || {
            while wanted.recv().is_ok() {
                loop {
                    match shared.visible.merge_once() {
                        Ok(true) => {}
                        Ok(false) => break,
                        Err(error) => {
                            tracing::error!(%error, "cannot merge fresh spans");
                            break;
                        }
                    }
                }
            }
        })
        .map(|_| ())
        .map_err(|error| Error::io("the merging thread", error))
}
