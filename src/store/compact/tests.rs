//! Compaction in the life of a store: the same spans in fewer files, whatever goes on beside it.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use datafusion::arrow::array::{BooleanArray, RecordBatch};

use super::PlanLimits;
use crate::error::{Kind, Result};
use crate::model::TraceId;
use crate::store::disk::Disk;
use crate::store::open::Components;
use crate::store::order::{BUCKET_NS, DAY_NS};
use crate::store::testing::{
    FaultyDisk, ManualClock, Op, START, TestSpan, components, decode, payload, quiet, span_ids,
};
use crate::store::{
    DataFile, Redaction, Retention, RetentionRule, Snapshot, SnapshotSource, SpanFilter, Store, StoreReader,
    StoreSettings, TraceFilter, open,
};

const LIMITS: PlanLimits =
    PlanLimits { target_rows: 1000, target_bytes: 64 << 20, quiet_after: Duration::from_secs(600) };

struct House {
    store: Arc<Store>,
    clock: Arc<ManualClock>,
}

/// A store that compacts only when asked to.
async fn house(dir: &Path, disk: Arc<dyn Disk>) -> House {
    house_with(dir, disk, None).await
}

async fn house_with(dir: &Path, disk: Arc<dyn Disk>, retention: Option<Duration>) -> House {
    let clock = Arc::new(ManualClock::default());
    clock.0.store(START / 1_000_000, Ordering::SeqCst);
    let settings = StoreSettings {
        compact: false,
        keep_removed: Duration::from_secs(60),
        retention: Retention { age: retention, rules: Vec::new() },
        ..quiet()
    };
    let parts = || Components { plan_limits: LIMITS, ..components(disk.clone(), clock.clone()) };
    for _ in 0..100 {
        match open::open(dir, settings.clone(), parts()).await {
            Err(error) if error.kind == Kind::Denied => tokio::time::sleep(Duration::from_millis(20)).await,
            store => return House { store: store.expect("a store"), clock },
        }
    }
    panic!("the directory is still locked");
}

impl House {
    async fn add(&self, spans: &[TestSpan]) {
        let payload = payload(spans);
        let batch = decode(&payload).expect("a batch");
        self.store.append(payload, batch).await.expect("kept");
        self.store.seal().await.expect("sealed");
    }

    async fn snapshot(&self) -> Snapshot {
        self.store.snapshot().await.expect("a snapshot")
    }

    async fn ids(&self) -> Vec<u64> {
        span_ids(&self.snapshot().await).await
    }
}

/// A day's start.
fn day_ns(day: u64) -> i64 {
    START + day as i64 * DAY_NS
}

/// Spans `ids`, each at its own time within `over_ns` of `start_ns`.
fn spread(ids: std::ops::Range<u64>, start_ns: i64, over_ns: i64) -> Vec<TestSpan> {
    let at = |span: u64| start_ns + (span.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 1) as i64 % over_ns;
    ids.map(|span| TestSpan { trace: span / 5, span, start_ns: at(span) }).collect()
}

fn expired_before_ns(snapshot: &Snapshot) -> Option<i64> {
    snapshot.expiry.as_ref().map(|expiry| expiry.all_from_ns())
}

fn data_files(dir: &Path) -> usize {
    let partitions = std::fs::read_dir(dir.join("table")).expect("table").map(|entry| entry.expect("entry").path());
    let partitions = partitions.filter(|path| path.to_string_lossy().contains("date="));
    partitions.map(|path| std::fs::read_dir(path).expect("a partition").count()).sum()
}

#[tokio::test]
async fn compaction_keeps_every_span_cuts_by_time_and_old_files_stay_while_they_are_read() {
    let dir = tempfile::tempdir().expect("directory");
    let disk = FaultyDisk::default();
    let house = house(dir.path(), Arc::new(disk.clone())).await;
    for n in 0..30 {
        house.add(&spread(n * 100..n * 100 + 100, START, DAY_NS)).await;
    }
    let expected: Vec<u64> = (0..3000).collect();
    let (before, reader) =
        (house.snapshot().await, StoreReader::open_with(dir.path(), decode).await.expect("a reader"));
    let read_before = reader.snapshot().await.expect("a snapshot");
    assert_eq!(before.files.len(), 30);

    let report = house.store.compact().await.expect("compacted");
    let after = house.snapshot().await;
    assert_eq!(report.rows % 3000, 0, "{report:?}");
    assert_eq!(after.files.iter().map(|file| file.rows).sum::<u64>(), 3000);
    assert!(after.files.len() <= 5, "{:?}", after.files);
    let mut spans: Vec<_> = after.files.iter().map(|file| (file.min_start_ns, file.max_start_ns)).collect();
    spans.sort_unstable();
    let disjoint = spans.windows(2).all(|pair| pair[0].1.div_euclid(BUCKET_NS) <= pair[1].0.div_euclid(BUCKET_NS));
    assert!(disjoint, "{spans:?}");
    for snapshot in [&after, &before, &read_before, &reader.snapshot().await.expect("a snapshot")] {
        assert_eq!(span_ids(snapshot).await, expected);
    }
    assert_eq!(house.store.compact().await.expect("nothing to do").files_before, 0);

    // The grace is over for other processes, and `before` still reads.
    house.clock.0.fetch_add(61_000, Ordering::SeqCst);
    house.store.compact().await.expect("nothing to do");
    assert_eq!(span_ids(&before).await, expected);
    assert!(house.store.status().removed_files >= 30);
    drop(before);
    house.store.compact().await.expect("nothing to do");
    assert_eq!(house.store.status().removed_files, 0);
    assert_eq!(data_files(dir.path()), after.files.len());
    assert_eq!(house.ids().await, expected);
}

#[tokio::test]
async fn files_that_left_the_table_are_deleted_after_a_restart_and_orphans_at_it() {
    let dir = tempfile::tempdir().expect("directory");
    let disk: Arc<dyn Disk> = Arc::new(FaultyDisk::default());
    let now_ms = chrono::Utc::now().timestamp_millis();
    let first = house(dir.path(), disk.clone()).await;
    first.clock.0.store(now_ms, Ordering::SeqCst);
    for n in 0..6 {
        first.add(&spread(n * 10..n * 10 + 10, START, BUCKET_NS)).await;
    }
    first.store.compact().await.expect("compacted");
    let live = first.snapshot().await.files[0].location.to_string();
    assert_eq!(data_files(dir.path()), 7);
    drop(first);
    let rewritten = dir.path().join("table").join(&live);
    let orphan = rewritten.with_file_name(live.rsplit('/').next().expect("name").replace("-0000-", "-0001-"));
    std::fs::copy(&rewritten, &orphan).expect("copied");
    let second = house(dir.path(), disk).await;
    assert!(!orphan.exists() && rewritten.exists());
    assert_eq!(data_files(dir.path()), 7, "readers of other processes have their time");
    second.clock.0.store(now_ms + 61_000, Ordering::SeqCst);
    second.store.compact().await.expect("nothing to do");
    assert_eq!(data_files(dir.path()), 1);
    assert_eq!(second.ids().await, (0..60).collect::<Vec<_>>());
}

#[tokio::test]
async fn late_spans_end_in_few_files_for_each_date() {
    const DAYS: u64 = 12;
    let dir = tempfile::tempdir().expect("directory");
    let house = house(dir.path(), Arc::new(FaultyDisk::default())).await;
    for n in 0..20 {
        house.add(&spread(n * 60..n * 60 + 60, START, DAYS as i64 * DAY_NS)).await;
    }
    assert!(house.snapshot().await.files.len() > 200);
    house.store.compact().await.expect("compacted");
    let files = house.snapshot().await.files;
    assert_eq!(files.len() as u64, DAYS, "{files:?}");
    assert_eq!(house.ids().await, (0..1200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_year_of_late_spans_ends_in_a_file_for_each_date() {
    const DAYS: u64 = 366;
    let dir = tempfile::tempdir().expect("directory");
    let house = house(dir.path(), Arc::new(FaultyDisk::default())).await;
    for sealing in 0..3 {
        let on_day = |day: u64| {
            let start_ns = START + day as i64 * DAY_NS + (day as i64 * 997 + sealing * 3600) * 1_000_000_000 % DAY_NS;
            TestSpan { trace: 1 + day % 50, span: sealing as u64 * DAYS + day, start_ns }
        };
        house.add(&(0..DAYS).map(on_day).collect::<Vec<_>>()).await;
    }
    assert_eq!(house.snapshot().await.files.len() as u64, 3 * DAYS);
    house.store.compact().await.expect("compacted");
    let dates: BTreeSet<String> = house.snapshot().await.files.iter().map(|file| file.date.clone()).collect();
    assert_eq!((house.snapshot().await.files.len() as u64, dates.len() as u64), (DAYS, DAYS));
    assert_eq!(house.ids().await, (0..3 * DAYS).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn sealing_and_compacting_at_the_same_time_both_succeed() {
    let dir = tempfile::tempdir().expect("directory");
    let house = house(dir.path(), Arc::new(FaultyDisk::default())).await;
    let mut sealing = std::pin::pin!(async {
        for n in 0..40 {
            house.add(&spread(n * 20..n * 20 + 20, START, DAY_NS)).await;
        }
    });
    loop {
        tokio::select! {
            biased;
            () = &mut sealing => break,
            compacted = house.store.compact() => {
                compacted.expect("compacted");
            }
        }
        let seen = house.ids().await;
        assert_eq!(seen, (0..seen.len() as u64).collect::<Vec<_>>());
    }
    assert_eq!(house.ids().await, (0..800).collect::<Vec<_>>());
    assert!(house.store.status().compactions > 1);
}

#[tokio::test]
async fn a_compaction_that_fails_changes_nothing_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("directory");
    let disk = FaultyDisk::default();
    let faults = [
        (Op::Create, "-rewritten-"),
        (Op::Write, "-rewritten-"),
        (Op::Sync, "-rewritten-"),
        (Op::SyncDir, "date="),
        (Op::Write, "_delta_log"),
        (Op::Link, "_delta_log"),
    ];
    for (number, (op, path)) in faults.into_iter().enumerate() {
        let dir = dir.path().join(number.to_string());
        std::fs::create_dir(&dir).expect("created");
        let house = house(&dir, Arc::new(disk.clone())).await;
        for n in 0..6 {
            house.add(&spread(n * 10..n * 10 + 10, START, BUCKET_NS)).await;
        }
        disk.fail(op, path, ErrorKind::Other);
        // A merge that fails leaves its files alone for a while; a commit that fails is told.
        let done = house.store.compact().await;
        assert!(done.is_err() || done.is_ok_and(|report| report.files_before == 0), "{op:?} {path}");
        assert_eq!((house.snapshot().await.files.len(), data_files(&dir)), (6, 6), "{op:?} {path}");
        disk.heal();
        assert_eq!(house.ids().await, (0..60).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_commit_that_fails_but_is_in_the_table_is_found() {
    let dir = tempfile::tempdir().expect("directory");
    let disk = FaultyDisk::default();
    let house = house(dir.path(), Arc::new(disk.clone())).await;
    for n in 0..6 {
        house.add(&spread(n * 10..n * 10 + 10, START, BUCKET_NS)).await;
    }
    // The commit's entry has its name when the directory's sync fails.
    disk.fail_once(Op::SyncDir, "_delta_log", ErrorKind::Other);
    assert_eq!(house.store.compact().await.expect("found in the table").files_after, 1);
    assert_eq!(house.ids().await, (0..60).collect::<Vec<_>>());
    assert_eq!(house.snapshot().await.files.len(), 1);
}

#[tokio::test]
async fn no_bytes_that_have_changed_get_into_another_file() {
    let dir = tempfile::tempdir().expect("directory");
    // From the first byte to the last: pages, the page index, the trace index, the footer.
    for number in 0..=12 {
        let dir = dir.path().join(number.to_string());
        std::fs::create_dir(&dir).expect("created");
        let house = house(&dir, Arc::new(FaultyDisk::default())).await;
        for n in 0..6 {
            house.add(&spread(n * 10..n * 10 + 10, START, BUCKET_NS)).await;
        }
        let damaged = house.snapshot().await.files[2].location.clone();
        let path = dir.join("table").join(damaged.as_ref());
        let whole = std::fs::read(&path).expect("the file");
        let at = (whole.len() - 1) * number / 12;
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        std::fs::write(&path, &bytes).expect("damaged");
        let report = house.store.compact().await.expect("the others are merged");
        assert_eq!((report.files_before, report.files_after), (5, 1), "byte {at} of {}", whole.len());
        let files = house.snapshot().await.files;
        assert!(files.len() == 2 && files.iter().any(|file| file.location == damaged), "{files:?}");
        assert_eq!((house.store.status().compaction_failures, data_files(&dir)), (1, 7), "nothing is left over");

        // Some spans of every file.
        let traces = (1..12_u64).map(|trace| [trace.to_be_bytes(), trace.to_be_bytes()].concat());
        let filter = TraceFilter::new(traces.map(|id| TraceId::from_bytes(&id).expect("an id")));
        let redaction = Redaction { filter: Arc::new(filter), receipt: "a test".into(), delete_now: false };
        let error = house.store.redact(redaction).await.expect_err("a file is damaged");
        assert!(error.message.contains(damaged.as_ref()), "byte {at}: {error}");

        std::fs::write(&path, &whole).expect("as it was");
        assert_eq!(house.ids().await, (0..60).collect::<Vec<_>>(), "byte {at}");
    }
}

#[derive(Debug)]
struct Panics;

impl SpanFilter for Panics {
    fn columns(&self) -> Vec<String> {
        Vec::new()
    }

    fn may_match(&self, files: &[DataFile]) -> Vec<bool> {
        vec![true; files.len()]
    }

    fn matches(&self, _: &RecordBatch) -> Result<BooleanArray> {
        panic!("a defect");
    }
}

#[tokio::test]
async fn a_defect_ends_the_work_at_which_it_shows_and_not_the_keeper() {
    let dir = tempfile::tempdir().expect("directory");
    let disk = FaultyDisk::default();
    let house = house(dir.path(), Arc::new(disk.clone())).await;
    for n in 0..6 {
        house.add(&spread(n * 10..n * 10 + 10, START, BUCKET_NS)).await;
    }
    let redaction = Redaction { filter: Arc::new(Panics), receipt: "a test".into(), delete_now: false };
    let error = house.store.redact(redaction).await.expect_err("a defect");
    assert_eq!(error.kind, Kind::Internal, "{error}");
    disk.panic(Op::Create, "-rewritten-");
    assert_eq!(house.store.compact().await.expect("nothing was merged").files_before, 0);
    assert_eq!(house.store.status().compaction_failures, 2);
    disk.heal();
    // What the defect showed at is left alone for a while; all else goes on.
    for n in 6..12 {
        house.add(&spread(n * 10..n * 10 + 10, START, BUCKET_NS)).await;
    }
    let report = house.store.compact().await.expect("compacted");
    assert_eq!((report.files_before, report.files_after), (6, 1));
    assert_eq!(house.ids().await, (0..120).collect::<Vec<_>>());
}

#[tokio::test]
async fn expired_spans_are_named_by_every_snapshot_and_their_files_dropped_when_none_is_left() {
    let dir = tempfile::tempdir().expect("directory");
    let hour = Duration::from_secs(3600);
    let house = house_with(dir.path(), Arc::new(FaultyDisk::default()), Some(24 * hour)).await;
    house.add(&spread(0..100, START, DAY_NS)).await;
    house.add(&spread(100..200, START + DAY_NS, DAY_NS)).await;
    let at = |hours: i64| house.clock.0.store(START / 1_000_000 + hours * 3_600_000, Ordering::SeqCst);
    at(24);
    let oldest = house.snapshot().await.files.iter().map(|file| file.min_start_ns).min().expect("files");
    assert_eq!(expired_before_ns(&house.snapshot().await), (oldest < START).then_some(START), "all start later");
    at(36);
    assert_eq!(expired_before_ns(&house.snapshot().await), Some(START + DAY_NS / 2));
    house.store.compact().await.expect("compacted");
    assert_eq!(house.ids().await.len(), 200, "the first day is not over for half of its spans");
    at(48);
    house.store.compact().await.expect("compacted");
    assert_eq!(house.ids().await, (100..200).collect::<Vec<_>>());
    assert_eq!(expired_before_ns(&house.snapshot().await), None, "nothing that has expired is left");
    assert_eq!(house.store.status().expired_files, 1);
    at(49);
    house.store.compact().await.expect("compacted");
    assert_eq!(data_files(dir.path()), 1);
    let reader = StoreReader::open_with(dir.path(), decode).await.expect("a reader");
    let seen = reader.snapshot().await.expect("a snapshot");
    assert!(expired_before_ns(&seen).is_some_and(|before_ns| before_ns > START + DAY_NS), "readers know it too");
}

#[tokio::test]
async fn what_expires_by_rule_leaves_many_files_in_few_commits() {
    const DAYS: u64 = 100;
    let (dir, clock) = (tempfile::tempdir().expect("directory"), Arc::<ManualClock>::default());
    let keep = Duration::from_secs(86_400);
    let rule = RetentionRule { service: Some("service_name 1".into()), errors: false, slower_than: None, keep };
    let retention = Retention { age: None, rules: vec![rule] };
    let settings = StoreSettings { compact: false, retention, ..quiet() };
    let at_ms = |days: u64| START / 1_000_000 + days as i64 * 86_400_000;
    clock.0.store(at_ms(0), Ordering::SeqCst);
    let parts = components(Arc::new(FaultyDisk::default()), clock.clone());
    let store = open::open(dir.path(), settings, parts).await.expect("a store");
    // Each day has a span that expires and one that is kept for ever.
    let of_day = |day: u64| {
        let start_ns = at_ms(day) * 1_000_000;
        [1, 2].map(|trace| TestSpan { trace, span: 2 * day + trace, start_ns })
    };
    let payload = payload(&(0..DAYS).flat_map(of_day).collect::<Vec<_>>());
    let batch = decode(&payload).expect("a batch");
    store.append(payload, batch).await.expect("kept");
    store.seal().await.expect("sealed");
    let before = store.status();
    assert_eq!(before.table_files as u64, DAYS);
    clock.0.store(at_ms(DAYS + 10), Ordering::SeqCst);
    store.compact().await.expect("nothing to merge");
    let after = store.status();
    assert_eq!((after.table_files as u64, after.expired_rows), (DAYS, DAYS));
    let commits = after.table_version.zip(before.table_version).map(|(after, before)| after - before);
    assert_eq!(commits, Some(2), "a commit takes 64 files");
    let left = span_ids(&store.snapshot().await.expect("a snapshot")).await;
    assert_eq!(left, (1..=DAYS).map(|day| 2 * day).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_file_that_cannot_be_read_fails_only_who_asks_what_it_decides() {
    const DAYS: u64 = 10;
    for is_gone in [false, true] {
        let (dir, clock) = (tempfile::tempdir().expect("directory"), Arc::<ManualClock>::default());
        let days = |days: u64| Duration::from_secs(days * 86_400);
        let rule =
            RetentionRule { service: Some("service_name 1".into()), errors: false, slower_than: None, keep: days(100) };
        let retention = Retention { age: Some(days(1)), rules: vec![rule] };
        let settings = StoreSettings { compact: false, retention, ..quiet() };
        clock.0.store(START / 1_000_000, Ordering::SeqCst);
        let parts = components(Arc::new(FaultyDisk::default()), clock.clone());
        let store = open::open(dir.path(), settings, parts).await.expect("a store");
        let of_day =
            |day: u64| [1, 2].map(|trace| TestSpan { trace, span: 2 * day + trace, start_ns: day_ns(day) + 1 });
        let payload = payload(&(0..DAYS).flat_map(of_day).collect::<Vec<_>>());
        let batch = decode(&payload).expect("a batch");
        store.append(payload, batch).await.expect("kept");
        store.seal().await.expect("sealed");
        let files = store.snapshot().await.expect("a snapshot").files;
        let damaged = files.iter().find(|file| file.min_start_ns == day_ns(5) + 1).expect("a file").location.clone();
        let path = dir.path().join("table").join(damaged.as_ref());
        match is_gone {
            true => std::fs::remove_file(path).expect("removed"),
            false => std::fs::write(&path, std::fs::read(&path).expect("a file").split_off(1)).expect("damaged"),
        }
        clock.0.store(day_ns(20) / 1_000_000, Ordering::SeqCst);
        let snapshot = store.snapshot().await.expect("whoever does not ask about old spans is not held up");
        let expiry = snapshot.expiry.as_ref().expect("something may have expired");
        for (day, trace) in (0..DAYS).flat_map(|day| [(day, 1_u64), (day, 2)]) {
            let id = [trace.to_be_bytes(), trace.to_be_bytes()].concat();
            let seen = expiry.decide().is_seen(&id, day_ns(day) + 1);
            match (4..=6).contains(&day) {
                true => assert!(seen.expect_err("it decides").message.contains(damaged.as_ref()), "day {day}"),
                false => assert_eq!(seen.expect("known"), trace == 1, "day {day}, trace {trace}"),
            }
        }
        if !is_gone {
            store.compact().await.expect("the others are written anew");
            assert_eq!(store.status().expired_rows, DAYS - 3);
        }
    }
}
