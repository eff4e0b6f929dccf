//! The life of spans against a plain model in memory: whatever happens in whatever order, statements see what the model says, and so does
//! whoever opens what a crash left.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::object_store::ObjectStoreExt;
use futures::{StreamExt, stream};
use proptest::prelude::*;

use super::compact::PlanLimits;
use super::disk::{Disk, DiskFile, Entry, OsDisk};
use super::open::Components;
use super::order::DAY_NS;
use super::testing::{ManualClock, START, TestSpan, components, decode, payload, quiet};
use super::{Redaction, Retention, RetentionRule, SnapshotSource, Store, StoreSettings, TraceFilter, open};
use crate::error::Kind;
use crate::model::TraceId;
use crate::model::schema::{SPAN_ID, START_NS, TRACE_ID};

const HOUR_MS: i64 = 3_600_000;
/// Most of an image's time is waiting for threads.
const IMAGES_AT_A_TIME: usize = 6;
const TRACES: u64 = 6;
/// Files are merged and cut at a few dozen rows.
const LIMITS: PlanLimits =
    PlanLimits { target_rows: 40, target_bytes: 64 << 20, quiet_after: Duration::from_secs(600) };

/// Traces 1 and 2 are kept longer and shorter than others, and slow ones longest. A test's span takes as many microseconds as its id says, and its
/// trace names its service.
fn retention() -> Retention {
    let hours = |hours: u64| Duration::from_secs(hours * 3600);
    let service = |trace: u64, keep| RetentionRule {
        service: Some(format!("service_name {trace}")),
        errors: false,
        slower_than: None,
        keep,
    };
    let slow = Some(Duration::from_nanos(SLOW_SPAN * 1000));
    let rules = vec![
        service(1, hours(80)),
        service(2, hours(10)),
        RetentionRule { service: None, errors: false, slower_than: slow, keep: hours(120) },
    ];
    Retention { age: Some(hours(30)), rules }
}

/// Spans with larger ids are slow.
const SLOW_SPAN: u64 = 1 << 20;

/// What the model knows: every span that was acknowledged and not redacted.
#[derive(Debug, Default, Clone)]
struct Model {
    spans: Vec<TestSpan>,
}

impl Model {
    /// The ids of the spans that a statement sees at a time.
    fn seen(&self, now_ms: i64) -> Vec<u64> {
        let mut seen: Vec<u64> =
            self.spans.iter().filter(|span| self.is_seen(span, now_ms)).map(|span| span.span).collect();
        seen.sort_unstable();
        seen
    }

    fn is_seen(&self, span: &TestSpan, now_ms: i64) -> bool {
        let day = |span: &TestSpan| span.start_ns.div_euclid(DAY_NS);
        let deciding =
            self.spans.iter().filter(|other| other.trace == span.trace && (day(other) - day(span)).abs() <= 1);
        let keeps = deciding.flat_map(|other| {
            let slow = (other.span > SLOW_SPAN).then_some(120);
            [(other.trace == 1).then_some(80), (other.trace == 2).then_some(10), slow]
        });
        let keep_hours = keeps.flatten().max().unwrap_or(30);
        span.start_ns >= (now_ms - keep_hours * HOUR_MS) * 1_000_000
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// Spans as (trace, how many minutes ago it started, whether it is slow).
    Append(Vec<(u64, i64, bool)>),
    Seal,
    Compact,
    Redact(u64),
    /// Hours go by.
    Wait(i64),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let span = (1..=TRACES, 0..30 * 60_i64, prop::bool::weighted(0.04));
    prop_oneof![
        6 => prop::collection::vec(span, 1..15).prop_map(Step::Append),
        4 => Just(Step::Seal),
        2 => Just(Step::Compact),
        1 => (1..=TRACES).prop_map(Step::Redact),
        3 => (1..30_i64).prop_map(Step::Wait),
        1 => Just(Step::Reopen),
    ]
}

/// A store with its clock, and how to open it again.
struct House {
    store: Arc<Store>,
    clock: Arc<ManualClock>,
}

async fn open_on(dir: &Path, disk: Arc<dyn Disk>, clock: Arc<ManualClock>) -> Result<House, crate::error::Error> {
    let settings = StoreSettings { compact: false, keep_removed: Duration::ZERO, retention: retention(), ..quiet() };
    for _ in 0..250 {
        let parts = Components { plan_limits: LIMITS, ..components(disk.clone(), clock.clone()) };
        match open::open(dir, settings.clone(), parts).await {
            // The threads of a store that was dropped, as a crash drops it, let go of the directory a moment later.
            Err(error) if error.kind == Kind::Denied => tokio::time::sleep(Duration::from_millis(10)).await,
            store => return store.map(|store| House { store, clock }),
        }
    }
    panic!("the directory is still locked");
}

impl House {
    fn now_ms(&self) -> i64 {
        self.clock.0.load(Ordering::SeqCst)
    }

    /// The ids of the spans that a statement sees.
    async fn seen(&self) -> Vec<u64> {
        let snapshot = self.store.snapshot().await.expect("a snapshot");
        let mut ids = Vec::new();
        for batch in snapshot.fresh.iter() {
            ids.extend(seen_of(&snapshot, &batch.to_record_batch().expect("expanded")));
        }
        for file in snapshot.files.iter() {
            let bytes =
                snapshot.object_store.get(&file.location).await.expect("the file").bytes().await.expect("bytes");
            let rows = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 1024).expect("parquet");
            rows.for_each(|batch| ids.extend(seen_of(&snapshot, &batch.expect("rows"))));
        }
        ids.sort_unstable();
        ids
    }
}

fn seen_of(snapshot: &super::Snapshot, batch: &RecordBatch) -> Vec<u64> {
    let ids = |name| batch.column_by_name(name).expect("ids").as_fixed_size_binary();
    let starts = batch.column_by_name(START_NS).expect("starts").as_primitive::<Int64Type>();
    let mut decide = snapshot.expiry.as_ref().map(|expiry| expiry.decide());
    let mut is_seen =
        |row: usize| decide.as_mut().is_none_or(|decide| decide.is_seen(ids(TRACE_ID).value(row), starts.value(row)));
    let rows = (0..batch.num_rows()).filter(|row| is_seen(*row));
    rows.map(|row| u64::from_be_bytes(ids(SPAN_ID).value(row).try_into().expect("eight bytes"))).collect()
}

fn trace_id(trace: u64) -> TraceId {
    TraceId::from_bytes(&[trace.to_be_bytes(), trace.to_be_bytes()].concat()).expect("an id")
}

/// Runs steps until one fails, and tells what the model is to know then: what must be there, and what may be.
struct Run {
    house: House,
    model: Model,
    next_span: u64,
}

impl Run {
    async fn take(&mut self, step: &Step, dir: &Path, disk: &Arc<dyn Disk>) -> Result<(), crate::error::Error> {
        match step {
            Step::Append(spans) => {
                let spans = self.spans_of(spans);
                let payload = payload(&spans);
                let batch = decode(&payload).expect("a batch");
                self.house.store.append(payload, batch).await?;
                self.model.spans.extend(spans);
            }
            Step::Seal => _ = self.house.store.seal().await?,
            Step::Compact => _ = self.house.store.compact().await?,
            Step::Redact(trace) => {
                let filter = Arc::new(TraceFilter::new([trace_id(*trace)]));
                let redaction = Redaction { filter, receipt: "a test".into(), delete_now: true };
                let report = self.house.store.redact(redaction).await?;
                let before = self.model.spans.len();
                self.model.spans.retain(|span| span.trace != *trace);
                // Spans that have expired may be gone already.
                assert!(report.spans <= (before - self.model.spans.len()) as u64);
            }
            Step::Wait(hours) => _ = self.house.clock.0.fetch_add(hours * HOUR_MS, Ordering::SeqCst),
            Step::Reopen => {
                let clock = self.house.clock.clone();
                self.house.store.close().await?;
                self.house = open_on(dir, disk.clone(), clock).await?;
            }
        }
        Ok(())
    }

    fn spans_of(&mut self, spans: &[(u64, i64, bool)]) -> Vec<TestSpan> {
        let now_ns = self.house.now_ms() * 1_000_000;
        let first = self.next_span;
        self.next_span += spans.len() as u64;
        let span = |(number, (trace, minutes, slow)): (u64, &(u64, i64, bool))| TestSpan {
            trace: *trace,
            span: first + number + if *slow { SLOW_SPAN } else { 0 },
            start_ns: now_ns - minutes * 60_000_000_000,
        };
        (0..).zip(spans).map(span).collect()
    }
}

fn clock() -> Arc<ManualClock> {
    let clock = Arc::new(ManualClock::default());
    clock.0.store(START / 1_000_000, Ordering::SeqCst);
    clock
}

async fn run(dir: &Path, disk: Arc<dyn Disk>) -> Run {
    let house = open_on(dir, disk, clock()).await.expect("a store");
    Run { house, model: Model::default(), next_span: 1 }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

proptest! {
    // Stores of two dozen steps each: some seconds. PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 60, ..Default::default() })]

    #[test]
    fn whatever_happens_in_whatever_order_statements_see_what_the_model_says(steps in prop::collection::vec(step(), 1..30)) {
        runtime().block_on(async {
            let dir = tempfile::tempdir().expect("directory");
            let disk: Arc<dyn Disk> = Arc::new(FailingDisk::default());
            let mut run = run(dir.path(), disk.clone()).await;
            for (number, step) in steps.iter().enumerate() {
                run.take(step, dir.path(), &disk).await.expect("a step");
                let expected = run.model.seen(run.house.now_ms());
                prop_assert_eq!(run.house.seen().await, expected, "after step {}: {:?}", number, step);
            }
            Ok(())
        })?;
    }
}

/// The real disk, on which from one call on, or at one call only, everything fails that changes something. Nothing is synced: no power is lost here.
#[derive(Debug, Clone, Default)]
struct FailingDisk(Arc<Failing>);

#[derive(Debug, Default)]
struct Failing {
    calls: AtomicUsize,
    /// The call that fails, from 1; 0 for none.
    at: AtomicUsize,
    /// How many calls fail from there.
    for_calls: AtomicUsize,
    failed: AtomicU64,
}

impl FailingDisk {
    fn fail(&self, at: usize, for_calls: usize) {
        self.0.calls.store(0, Ordering::SeqCst);
        self.0.for_calls.store(for_calls, Ordering::SeqCst);
        self.0.at.store(at, Ordering::SeqCst);
    }

    fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    fn pass(&self) -> io::Result<()> {
        let call = self.0.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let at = self.0.at.load(Ordering::SeqCst);
        if at > 0 && call >= at && call - at < self.0.for_calls.load(Ordering::SeqCst) {
            self.0.failed.fetch_add(1, Ordering::SeqCst);
            return Err(io::Error::other("the disk fails in this test"));
        }
        Ok(())
    }
}

impl Disk for FailingDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.pass().and_then(|()| OsDisk.create_dir_all(dir))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.pass()?;
        Ok(Box::new(FailingFile { disk: self.clone(), inner: OsDisk.create_new(path)? }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.pass()?;
        Ok(Box::new(FailingFile { disk: self.clone(), inner: OsDisk.open_write(path)? }))
    }

    fn read_from(&self, path: &Path, offset: u64) -> io::Result<Vec<u8>> {
        OsDisk.read_from(path, offset)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        OsDisk.list(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.pass().and_then(|()| OsDisk.remove_file(path))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass().and_then(|()| OsDisk.remove_dir(dir))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass().and_then(|()| OsDisk.hard_link(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass().and_then(|()| OsDisk.rename(from, to))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let _ = dir;
        self.pass()
    }
}

#[derive(Debug)]
struct FailingFile {
    disk: FailingDisk,
    inner: Box<dyn DiskFile>,
}

impl io::Write for FailingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.disk.pass() {
            // A failing write may have written some.
            self.inner.write_all(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl DiskFile for FailingFile {
    fn sync_data(&mut self) -> io::Result<()> {
        self.disk.pass()
    }

    fn set_len(&mut self, len_bytes: u64) -> io::Result<()> {
        self.disk.pass().and_then(|()| self.inner.set_len(len_bytes))
    }
}

/// What is done before anything fails: spans of three days in files that are due for all that follows.
fn before() -> Vec<Step> {
    let append = |minutes: i64| Step::Append((0..12).map(|n| (1 + n % TRACES, minutes + n as i64, n == 7)).collect());
    let day = [append(0), Step::Seal, append(600), Step::Seal, append(1200), Step::Seal];
    [day.to_vec(), vec![Step::Wait(24)], day.to_vec(), vec![Step::Wait(24)], day.to_vec()].concat()
}

/// What fails: each of the ways in which files leave the table.
fn failing() -> Vec<(&'static str, Vec<Step>)> {
    let more = Step::Append(vec![(1, 0, false), (3, 5, false), (4, 700, true)]);
    vec![
        ("compaction", vec![more.clone(), Step::Compact]),
        ("redaction", vec![more.clone(), Step::Redact(3)]),
        // By rule and whole files, and the files that left the table are deleted.
        ("expiry", vec![Step::Wait(24 * 6), more.clone(), Step::Compact, Step::Seal]),
        ("closing", vec![more, Step::Reopen]),
    ]
}

/// The span ids that a model with any of the redactions under way done or not done would show.
fn acceptable(run: &Run, failed: Option<&Step>, appended: &[TestSpan]) -> Vec<Vec<u64>> {
    let mut models = vec![run.model.clone()];
    match failed {
        Some(Step::Redact(trace)) => {
            let mut done = run.model.clone();
            done.spans.retain(|span| span.trace != *trace);
            models.push(done);
        }
        Some(Step::Append(_)) => {
            let mut kept = run.model.clone();
            kept.spans.extend(appended);
            models.push(kept);
        }
        _ => {}
    }
    models.iter().map(|model| model.seen(run.house.now_ms())).collect()
}

/// A directory in which [`before`] has been done, and what the model knows of it.
struct Image {
    dir: tempfile::TempDir,
    model: Model,
    next_span: u64,
    now_ms: i64,
}

async fn image() -> Image {
    let dir = tempfile::tempdir().expect("directory");
    let disk: Arc<dyn Disk> = Arc::new(FailingDisk::default());
    let mut run = run(dir.path(), disk.clone()).await;
    for step in before() {
        run.take(&step, dir.path(), &disk).await.expect("a step before");
    }
    run.house.store.close().await.expect("closed");
    Image { dir, now_ms: run.house.now_ms(), model: run.model, next_span: run.next_span }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").map(|entry| entry.expect("an entry")) {
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => _ = std::fs::copy(entry.path(), to).expect("a copy"),
        }
    }
}

/// Makes the disk fail at the n-th call for each n, or every few, for one call or for good, and looks at what is there then; gives the number of images.
async fn fail_everywhere(what: &'static str, steps: Vec<Step>, for_calls: usize, every: usize) -> usize {
    let (image, steps) = (Arc::new(image().await), Arc::new(steps));
    let one = |at| {
        let (image, steps) = (image.clone(), steps.clone());
        tokio::spawn(async move { fail_at(what, &image, &steps, at, for_calls).await })
    };
    let mut images = 0;
    let mut running = stream::iter((1..).step_by(every)).map(one).buffered(IMAGES_AT_A_TIME);
    while let Some(passed) = running.next().await {
        if !passed.expect("no panic") {
            break;
        }
        images += 1;
    }
    images
}

/// Tells whether there was an n-th call.
async fn fail_at(what: &str, image: &Image, steps: &[Step], at: usize, for_calls: usize) -> bool {
    let dir = tempfile::tempdir().expect("directory");
    copy(image.dir.path(), dir.path());
    let failing = FailingDisk::default();
    let disk: Arc<dyn Disk> = Arc::new(failing.clone());
    let clock = Arc::new(ManualClock(image.now_ms.into()));
    let house = open_on(dir.path(), disk.clone(), clock.clone()).await.expect("a store");
    let mut run = Run { house, model: image.model.clone(), next_span: image.next_span };
    failing.fail(at, for_calls);
    let mut failed = None;
    let mut appended = Vec::new();
    for step in steps {
        if let Step::Append(spans) = step {
            let next = run.next_span;
            appended = run.spans_of(spans);
            run.next_span = next;
        }
        if run.take(step, dir.path(), &disk).await.is_err() {
            failed = Some(step);
            break;
        }
    }
    let passed = failing.calls() >= at;
    let expected = acceptable(&run, failed, &appended);
    if failed.is_none() {
        let seen = run.house.seen().await;
        assert!(expected.contains(&seen), "{what}, call {at}: {seen:?}");
    }
    // As a crash leaves it.
    drop(run);
    failing.fail(0, 0);
    let again = open_on(dir.path(), disk, clock).await.unwrap_or_else(|error| panic!("{what}, call {at}: {error}"));
    let seen = again.seen().await;
    assert!(expected.contains(&seen), "{what}, call {at}, opened again: {seen:?} and not {expected:?}");
    again.store.compact().await.expect("compacted");
    assert_eq!(again.seen().await, seen, "{what}, call {at}, compacted");
    again.store.close().await.expect("closed");
    passed
}

#[test]
fn a_disk_that_fails_once_anywhere_loses_and_repeats_nothing() {
    runtime().block_on(async {
        for (what, steps) in failing() {
            let images = fail_everywhere(what, steps, 1, 1).await;
            assert!(images > 20, "{what}: only {images} images");
        }
    });
}

#[test]
fn a_disk_that_fails_for_good_from_anywhere_loses_and_repeats_nothing() {
    runtime().block_on(async {
        for (what, steps) in failing() {
            // What a call leaves that fails for good is mostly what it leaves when it fails once.
            fail_everywhere(what, steps, usize::MAX, 3).await;
        }
    });
}
