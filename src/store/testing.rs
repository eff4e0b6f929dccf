//! What the store's own tests share: tiny spans, a disk that fails on demand, a clock that is set by hand.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, Int32Array, Int64Array, RecordBatch, StringViewArray,
    new_null_array,
};
use datafusion::arrow::datatypes::DataType;

use super::clock::Clock;
use super::disk::{Disk, DiskFile, Entry, OsDisk};
use super::open::Components;
use super::{Snapshot, StoreSettings};
use crate::error::Result;
use crate::model::SpanBatch;
use crate::model::schema::{SPAN_ID, START_NS, TRACE_ID, physical_schema};

/// A span of a test: all else about it follows from these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TestSpan {
    pub trace: u64,
    pub span: u64,
    pub start_ns: i64,
}

const ENCODED_BYTES: usize = 24;
pub(crate) const START: i64 = 1_767_225_600_000_000_000;

/// Spans `ids`, spread over a few traces and minutes.
pub(crate) fn spans(ids: std::ops::Range<u64>) -> Vec<TestSpan> {
    ids.map(|span| TestSpan { trace: 1 + span % 7, span, start_ns: START + (span as i64 * 37 % 600) * 1_000_000_000 })
        .collect()
}

/// Appends an OTLP export as a listener does.
pub(crate) async fn append_export(store: &super::Store, payload: Bytes) -> Result<()> {
    let batch = crate::otlp::decode_export(&payload)?.batch;
    store.append(payload, batch).await
}

/// The payload that stands for `spans` in the log.
pub(crate) fn payload(spans: &[TestSpan]) -> Bytes {
    let mut bytes = Vec::new();
    for span in spans {
        bytes.extend_from_slice(&span.trace.to_le_bytes());
        bytes.extend_from_slice(&span.span.to_le_bytes());
        bytes.extend_from_slice(&span.start_ns.to_le_bytes());
    }
    bytes.into()
}

/// The batch of a payload.
pub(crate) fn decode(payload: &Bytes) -> Result<SpanBatch> {
    let word = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let spans: Vec<TestSpan> = payload
        .chunks_exact(ENCODED_BYTES)
        .map(|bytes| TestSpan { trace: word(bytes, 0), span: word(bytes, 8), start_ns: word(bytes, 16) as i64 })
        .collect();
    let columns =
        physical_schema().fields().iter().map(|field| column(field.name(), field.data_type(), &spans)).collect();
    SpanBatch::try_from(&RecordBatch::try_new(physical_schema(), columns).expect("a batch"))
}

fn column(name: &str, data_type: &DataType, spans: &[TestSpan]) -> ArrayRef {
    let ids = |len: i32, id: &dyn Fn(&TestSpan) -> Vec<u8>| -> ArrayRef {
        let mut builder = FixedSizeBinaryBuilder::new(len);
        spans.iter().for_each(|span| builder.append_value(id(span)).expect("an id"));
        Arc::new(builder.finish())
    };
    match (name, data_type) {
        (START_NS, _) => Arc::new(Int64Array::from_iter_values(spans.iter().map(|span| span.start_ns))),
        (TRACE_ID, _) => ids(16, &|span| [span.trace.to_be_bytes(), span.trace.to_be_bytes()].concat()),
        (SPAN_ID, _) => ids(8, &|span| span.span.to_be_bytes().to_vec()),
        (_, DataType::Int64) => {
            Arc::new(Int64Array::from_iter_values(spans.iter().map(|span| (span.span as i64).wrapping_mul(1000))))
        }
        (_, DataType::Int32) => Arc::new(Int32Array::from(vec![0; spans.len()])),
        (_, DataType::Utf8View) => {
            Arc::new(StringViewArray::from_iter_values(spans.iter().map(|span| format!("{name} {}", span.trace))))
        }
        (_, DataType::FixedSizeBinary(_)) => new_null_array(data_type, spans.len()),
        (_, DataType::List(_) | DataType::Map(..)) => empty_lists(data_type, spans.len()),
        other => panic!("no test data for {other:?}"),
    }
}

/// Lists or maps without elements, none of them NULL.
fn empty_lists(data_type: &DataType, len: usize) -> ArrayRef {
    let nulls = new_null_array(data_type, len).to_data();
    datafusion::arrow::array::make_array(nulls.into_builder().nulls(None).null_count(0).build().expect("empty lists"))
}

/// The ids of the spans of a snapshot, sorted, repeated ones repeated; stored files are read back.
pub(crate) async fn span_ids(snapshot: &Snapshot) -> Vec<u64> {
    let mut ids = Vec::new();
    for batch in snapshot.fresh.iter() {
        collect_ids(&batch.to_record_batch().expect("expanded"), &mut ids);
    }
    for file in snapshot.files.iter() {
        let bytes =
            snapshot.object_store.get_opts(&file.location, Default::default()).await.expect("the file").bytes().await;
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes.expect("its bytes"), 4096);
        let mut rows = 0;
        for batch in reader.expect("parquet") {
            let batch = batch.expect("rows");
            rows += batch.num_rows() as u64;
            collect_ids(&batch, &mut ids);
        }
        assert_eq!(rows, file.rows, "{}", file.location);
    }
    ids.sort_unstable();
    ids
}

fn collect_ids(batch: &RecordBatch, ids: &mut Vec<u64>) {
    let column = batch.column_by_name(SPAN_ID).expect("span ids").as_fixed_size_binary();
    ids.extend((0..column.len()).map(|row| u64::from_be_bytes(column.value(row).try_into().expect("eight bytes"))));
}

/// Settings under which nothing is sealed unless asked.
pub(crate) fn quiet() -> StoreSettings {
    StoreSettings { seal_after: std::time::Duration::from_secs(3600), ..StoreSettings::default() }
}

pub(crate) fn components(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Components {
    Components { disk, clock, decode, ..Components::default() }
}

/// A clock that stands until it is set.
#[derive(Debug, Default)]
pub(crate) struct ManualClock(pub AtomicI64);

impl Clock for ManualClock {
    fn unix_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// The operations that can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    Create,
    Write,
    Sync,
    SyncDir,
    Link,
}

/// The real disk, on which chosen operations fail, and which counts all.
#[derive(Debug, Default, Clone)]
pub(crate) struct FaultyDisk {
    plan: Arc<Mutex<Plan>>,
}

#[derive(Debug, Default)]
struct Plan {
    counts: BTreeMap<Op, usize>,
    /// Fail every operation of this kind whose path contains the text, while set.
    failing: Vec<(Op, &'static str, io::ErrorKind)>,
    /// Fail one.
    failing_once: Vec<(Op, &'static str, io::ErrorKind)>,
    /// Panics there, while set.
    panicking: Vec<(Op, &'static str)>,
}

impl FaultyDisk {
    /// Makes every `op` on a path that contains `path` fail, until [`Self::heal`].
    pub(crate) fn fail(&self, op: Op, path: &'static str, kind: io::ErrorKind) {
        self.plan.lock().expect("plan").failing.push((op, path, kind));
    }

    /// Makes the next `op` on a path that contains `path` fail.
    pub(crate) fn fail_once(&self, op: Op, path: &'static str, kind: io::ErrorKind) {
        self.plan.lock().expect("plan").failing_once.push((op, path, kind));
    }

    /// Has the thread panic that does `op` on a path that contains `path`, until [`Self::heal`].
    pub(crate) fn panic(&self, op: Op, path: &'static str) {
        self.plan.lock().expect("plan").panicking.push((op, path));
    }

    pub(crate) fn heal(&self) {
        let mut plan = self.plan.lock().expect("plan");
        plan.failing.clear();
        plan.panicking.clear();
    }

    pub(crate) fn count(&self, op: Op) -> usize {
        self.plan.lock().expect("plan").counts.get(&op).copied().unwrap_or(0)
    }

    fn pass(&self, op: Op, path: &Path) -> io::Result<()> {
        let mut plan = self.plan.lock().expect("plan");
        *plan.counts.entry(op).or_default() += 1;
        let path = path.to_string_lossy();
        if plan.panicking.iter().any(|(panicking, part)| *panicking == op && path.contains(part)) {
            drop(plan);
            panic!("the disk panics in this test");
        }
        let is_meant = |(failing, part, _): &(Op, &'static str, io::ErrorKind)| *failing == op && path.contains(part);
        if let Some(once) = plan.failing_once.iter().position(is_meant) {
            return Err(io::Error::from(plan.failing_once.remove(once).2));
        }
        match plan.failing.iter().find(|(failing, part, _)| *failing == op && path.contains(part)) {
            Some((_, _, kind)) => Err(io::Error::from(*kind)),
            None => Ok(()),
        }
    }
}

impl Disk for FaultyDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsDisk.create_dir_all(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.pass(Op::Create, path)?;
        Ok(Box::new(FaultyFile {
            disk: self.clone(),
            path: path.to_string_lossy().into(),
            inner: OsDisk.create_new(path)?,
        }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        OsDisk.open_write(path)
    }

    fn read_from(&self, path: &Path, offset: u64) -> io::Result<Vec<u8>> {
        OsDisk.read_from(path, offset)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        OsDisk.list(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.remove_dir(dir)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(Op::Link, to)?;
        OsDisk.hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass(Op::SyncDir, dir)?;
        OsDisk.sync_dir(dir)
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    path: String,
    inner: Box<dyn DiskFile>,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.disk.pass(Op::Write, Path::new(&self.path)) {
            // A failing write may have written some: half of it, here.
            self.inner.write_all(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl DiskFile for FaultyFile {
    fn sync_data(&mut self) -> io::Result<()> {
        self.disk.pass(Op::Sync, Path::new(&self.path))?;
        self.inner.sync_data()
    }

    fn set_len(&mut self, len_bytes: u64) -> io::Result<()> {
        self.inner.set_len(len_bytes)
    }
}

/// The real disk, as a power cut leaves it: what was not synced is gone.
#[derive(Debug, Default, Clone)]
pub(crate) struct PowerDisk {
    unsynced: Arc<Mutex<Unsynced>>,
    /// Which directories cannot be synced, and how often still.
    failing: Arc<Mutex<Option<(&'static str, usize)>>>,
}

#[derive(Debug, Default)]
struct Unsynced {
    /// Files with the length that is durable, where it is less than what was written.
    short: BTreeMap<std::path::PathBuf, u64>,
    /// Names that their directory does not hold durably yet.
    names: std::collections::BTreeSet<std::path::PathBuf>,
}

impl PowerDisk {
    /// Takes from the disk what was not synced. Nothing may write meanwhile.
    pub(crate) fn lose_power(&self) {
        let unsynced = std::mem::take(&mut *self.unsynced.lock().expect("unsynced"));
        for (path, len) in &unsynced.short {
            if let Ok(file) = std::fs::OpenOptions::new().write(true).open(path) {
                file.set_len(*len).expect("cut");
            }
        }
        for path in &unsynced.names {
            // The name may have been taken away again already.
            let _ = std::fs::remove_file(path);
        }
    }

    /// Makes so many syncs of directories fail whose path contains `part`.
    pub(crate) fn fail_dir_syncs(&self, part: &'static str, times: usize) {
        *self.failing.lock().expect("failing") = Some((part, times));
    }

    fn pass_dir_sync(&self, dir: &Path) -> io::Result<()> {
        match self.failing.lock().expect("failing").as_mut() {
            Some((part, times)) if *times > 0 && dir.to_string_lossy().contains(*part) => {
                *times -= 1;
                Err(io::Error::other("the directory cannot be synced in this test"))
            }
            _ => Ok(()),
        }
    }

    fn named(&self, path: &Path) {
        self.unsynced.lock().expect("unsynced").names.insert(path.to_owned());
    }
}

impl Disk for PowerDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        OsDisk.create_dir_all(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inner = OsDisk.create_new(path)?;
        self.named(path);
        self.unsynced.lock().expect("unsynced").short.insert(path.to_owned(), 0);
        Ok(Box::new(PowerFile { disk: self.clone(), path: path.to_owned(), inner }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(PowerFile { disk: self.clone(), path: path.to_owned(), inner: OsDisk.open_write(path)? }))
    }

    fn read_from(&self, path: &Path, offset: u64) -> io::Result<Vec<u8>> {
        OsDisk.read_from(path, offset)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        OsDisk.list(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.remove_dir(dir)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.hard_link(from, to)?;
        self.renamed(from, to);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)?;
        self.renamed(from, to);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass_dir_sync(dir)?;
        OsDisk.sync_dir(dir)?;
        self.unsynced.lock().expect("unsynced").names.retain(|path| path.parent() != Some(dir));
        Ok(())
    }
}

impl PowerDisk {
    fn renamed(&self, from: &Path, to: &Path) {
        self.named(to);
        let mut unsynced = self.unsynced.lock().expect("unsynced");
        if let Some(len) = unsynced.short.get(from).copied() {
            unsynced.short.insert(to.to_owned(), len);
        }
    }
}

#[derive(Debug)]
struct PowerFile {
    disk: PowerDisk,
    path: std::path::PathBuf,
    inner: Box<dyn DiskFile>,
}

impl Write for PowerFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let before = std::fs::metadata(&self.path)?.len();
        self.disk.unsynced.lock().expect("unsynced").short.entry(self.path.clone()).or_insert(before);
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl DiskFile for PowerFile {
    fn sync_data(&mut self) -> io::Result<()> {
        self.inner.sync_data()?;
        self.disk.unsynced.lock().expect("unsynced").short.remove(&self.path);
        Ok(())
    }

    fn set_len(&mut self, len_bytes: u64) -> io::Result<()> {
        self.inner.set_len(len_bytes)
    }
}
