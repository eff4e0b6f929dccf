//! The life of spans against a plain model in memory: whatever happens in whatever order, statements see what the model says, and so does
//! whoever opens what a crash left.

mod failing_disk;
mod faults;
mod freezes;
mod images;
mod recorder;
mod together;
mod unlucky;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use datafusion::object_store::ObjectStoreExt;
use proptest::prelude::*;

pub(crate) use self::failing_disk::FailingDisk;
pub(crate) use self::together::{live, lives};
use crate::error::Kind;
use crate::model::TraceId;
use crate::model::schema::{SPAN_ID, START_NS, TRACE_ID};
use crate::store::compact::PlanLimits;
use crate::store::disk::Disk;
use crate::store::faulty_store::FaultyStore;
use crate::store::open::Components;
use crate::store::order::DAY_NS;
use crate::store::testing::{ManualClock, START, TestSpan, components, decode, payload, quiet};
use crate::store::{
    RedactReport, Redaction, Retention, RetentionRule, Snapshot, SnapshotSource, Store, StoreSettings, TableUrl,
    TraceFilter, open,
};

const HOUR_MS: i64 = 3_600_000;
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
        let mut seen: Vec<u64> = self.spans_seen(now_ms).iter().map(|span| span.span).collect();
        seen.sort_unstable();
        seen
    }

    fn spans_seen(&self, now_ms: i64) -> Vec<TestSpan> {
        self.spans.iter().filter(|span| self.is_seen(span, now_ms)).copied().collect()
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
pub(crate) enum Step {
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
    let late = (1..=TRACES, 0..30 * 60_i64, prop::bool::weighted(0.04));
    // What comes days late, to whatever has become of its trace: it says nothing of spans that may be off the disk by now.
    let very_late = (1..=TRACES, 30 * 60..6 * 24 * 60_i64, Just(false));
    let span = prop_oneof![12 => late, 1 => very_late];
    prop_oneof![
        6 => prop::collection::vec(span, 1..15).prop_map(Step::Append),
        4 => Just(Step::Seal),
        2 => Just(Step::Compact),
        1 => (1..=TRACES).prop_map(Step::Redact),
        3 => (1..30_i64).prop_map(Step::Wait),
        1 => Just(Step::Reopen),
    ]
}

/// What a store lies on: a disk, and an object store if the table lies there.
#[derive(Debug, Clone)]
struct Ground {
    disk: Arc<dyn Disk>,
    bucket: Option<FaultyStore>,
}

impl Ground {
    fn local(disk: impl Disk + 'static) -> Self {
        Self { disk: Arc::new(disk), bucket: None }
    }
}

/// A store with its clock.
struct House {
    store: Arc<Store>,
    clock: Arc<ManualClock>,
}

async fn open_on(dir: &Path, ground: &Ground, clock: Arc<ManualClock>) -> Result<House, crate::error::Error> {
    let table_url = ground.bucket.as_ref().map(|_| TableUrl::parse("s3://bucket/table").expect("a URL"));
    let settings =
        StoreSettings { table_url, compact: false, keep_removed: Duration::ZERO, retention: retention(), ..quiet() };
    for _ in 0..250 {
        let remote = ground.bucket.clone().map(|bucket| Arc::new(bucket) as _);
        let parts = Components { plan_limits: LIMITS, remote, ..components(ground.disk.clone(), clock.clone()) };
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

    async fn seen(&self) -> Vec<u64> {
        seen(&self.store).await
    }
}

/// The ids of the spans that a statement sees.
async fn seen(store: &Store) -> Vec<u64> {
    ids_of(&store.snapshot().await.expect("a snapshot")).await
}

/// The ids of the spans of a snapshot that have not expired.
async fn ids_of(snapshot: &Snapshot) -> Vec<u64> {
    let mut ids = Vec::new();
    for batch in snapshot.fresh.iter() {
        ids.extend(seen_of(snapshot, &batch.to_record_batch().expect("expanded")));
    }
    for file in snapshot.files.iter() {
        let bytes = snapshot.object_store.get(&file.location).await.expect("the file").bytes().await.expect("bytes");
        let rows = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 1024).expect("parquet");
        rows.for_each(|batch| ids.extend(seen_of(snapshot, &batch.expect("rows"))));
    }
    ids.sort_unstable();
    ids
}

fn seen_of(snapshot: &Snapshot, batch: &RecordBatch) -> Vec<u64> {
    let ids = |name| batch.column_by_name(name).expect("ids").as_fixed_size_binary();
    let starts = batch.column_by_name(START_NS).expect("starts").as_primitive::<Int64Type>();
    let mut decide = snapshot.expiry.as_ref().map(|expiry| expiry.decide());
    let mut is_seen = |row: usize| {
        decide.as_mut().is_none_or(|decide| decide.is_seen(ids(TRACE_ID).value(row), starts.value(row)).expect("known"))
    };
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
    async fn take(&mut self, step: &Step, dir: &Path, ground: &Ground) -> Result<(), crate::error::Error> {
        match step {
            Step::Append(spans) => {
                let spans = self.spans_of(spans);
                let payload = payload(&spans);
                let batch = decode(&payload).expect("a batch");
                self.house.store.append(payload, batch).await?;
                self.model.spans.extend(spans);
            }
            Step::Seal | Step::Compact | Step::Redact(_) => {
                let done = work(self.house.store.clone(), step.clone()).await?;
                self.settle(step, &done);
            }
            Step::Wait(hours) => _ = self.house.clock.0.fetch_add(hours * HOUR_MS, Ordering::SeqCst),
            Step::Reopen => {
                let clock = self.house.clock.clone();
                self.house.store.close().await?;
                self.house = open_on(dir, ground, clock).await?;
            }
        }
        Ok(())
    }

    /// Lets the model know that work is done.
    fn settle(&mut self, step: &Step, done: &Done) {
        if let (Step::Redact(trace), Some(report)) = (step, &done.redacted) {
            let before = self.model.spans.len();
            self.model.spans.retain(|span| span.trace != *trace);
            // Spans that have expired may be gone already.
            assert!(report.spans <= (before - self.model.spans.len()) as u64, "{report:?}");
        }
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

/// What a step reports that is work of the store.
#[derive(Debug, Default)]
struct Done {
    redacted: Option<RedactReport>,
}

/// Does the work of a step, if it is any.
async fn work(store: Arc<Store>, step: Step) -> Result<Done, crate::error::Error> {
    let mut done = Done::default();
    match step {
        Step::Seal => _ = store.seal().await?,
        Step::Compact => _ = store.compact().await?,
        Step::Redact(trace) => {
            let filter = Arc::new(TraceFilter::new([trace_id(trace)]));
            let redaction = Redaction { filter, receipt: "a test".into(), delete_now: true };
            done.redacted = Some(store.redact(redaction).await?);
        }
        Step::Append(_) | Step::Wait(_) | Step::Reopen => {}
    }
    Ok(done)
}

fn clock() -> Arc<ManualClock> {
    let clock = Arc::new(ManualClock::default());
    clock.0.store(START / 1_000_000, Ordering::SeqCst);
    clock
}

async fn run(dir: &Path, ground: &Ground) -> Run {
    let house = open_on(dir, ground, clock()).await.expect("a store");
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
            let ground = Ground::local(FailingDisk::default());
            let mut run = run(dir.path(), &ground).await;
            for (number, step) in steps.iter().enumerate() {
                run.take(step, dir.path(), &ground).await.expect("a step");
                let expected = run.model.seen(run.house.now_ms());
                prop_assert_eq!(run.house.seen().await, expected, "after step {}: {:?}", number, step);
            }
            Ok(())
        })?;
    }
}
