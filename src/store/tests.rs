//! The store as a whole: what was acknowledged is there once, whatever happens in between.

mod power;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::disk::Disk;
use super::model_tests::FailingDisk;
use super::testing::{FaultyDisk, ManualClock, Op, PowerDisk, components, decode, payload, quiet, span_ids, spans};
use super::{SnapshotSource, Store, StoreReader, StoreSettings, open};
use crate::error::{Error, Kind};

async fn open_with(dir: &Path, settings: StoreSettings, disk: &FaultyDisk) -> Arc<Store> {
    open_fully(dir, settings, Arc::new(disk.clone())).await
}

async fn open_on(dir: &Path, disk: Arc<dyn Disk>) -> Arc<Store> {
    open_fully(dir, quiet(), disk).await
}

async fn open_fully(dir: &Path, settings: StoreSettings, disk: Arc<dyn Disk>) -> Arc<Store> {
    let clock = Arc::new(ManualClock::default());
    // The threads of a store that was dropped, as a crash drops it, let go of the directory a moment later.
    for _ in 0..100 {
        match open::open(dir, settings.clone(), components(disk.clone(), clock.clone())).await {
            Err(error) if error.kind == Kind::Denied => tokio::time::sleep(Duration::from_millis(20)).await,
            other => return other.expect("a store"),
        }
    }
    panic!("the directory is still locked");
}

async fn open_quiet(dir: &Path) -> Arc<Store> {
    open_with(dir, quiet(), &FaultyDisk::default()).await
}

async fn append(store: &Store, ids: std::ops::Range<u64>) -> Result<(), Error> {
    let payload = payload(&spans(ids));
    let batch = decode(&payload).expect("a batch");
    store.append(payload, batch).await
}

async fn ids(store: &Store) -> Vec<u64> {
    span_ids(&store.snapshot().await.expect("a snapshot")).await
}

#[tokio::test]
async fn spans_are_seen_once_fresh_sealed_and_reopened() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open_quiet(dir.path()).await;
    append(&store, 1..101).await.expect("kept");
    assert_eq!(ids(&store).await, (1..101).collect::<Vec<_>>());
    let report = store.seal().await.expect("sealed");
    assert_eq!((report.rows, report.files), (100, 1));
    assert_eq!(ids(&store).await, (1..101).collect::<Vec<_>>());
    append(&store, 101..151).await.expect("kept");
    assert_eq!(ids(&store).await, (1..151).collect::<Vec<_>>());
    let snapshot = store.snapshot().await.expect("a snapshot");
    assert_eq!((snapshot.files.len(), snapshot.fresh.len()), (1, 1));

    drop((store, snapshot));
    let store = open_quiet(dir.path()).await;
    assert_eq!(ids(&store).await, (1..151).collect::<Vec<_>>());
    assert_eq!(store.status().fresh_rows, 50);
    store.close().await.expect("closed");
    assert_eq!(append(&store, 200..201).await.expect_err("closed").kind, Kind::Closed);
    drop(store);
    let store = open_quiet(dir.path()).await;
    let status = store.status();
    assert_eq!((status.fresh_rows, status.table_rows, status.log_bytes), (0, 150, 0));
    append(&store, 151..161).await.expect("kept");
    assert_eq!(ids(&store).await, (1..161).collect::<Vec<_>>());
}

#[tokio::test]
async fn row_16_an_identical_retry_is_stored_once_also_after_a_crash_and_at_the_same_time() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open_quiet(dir.path()).await;
    let (a, b) = tokio::join!(append(&store, 1..11), append(&store, 1..11));
    a.and(b).expect("both acknowledged");
    append(&store, 1..11).await.expect("acknowledged");
    assert_eq!(ids(&store).await, (1..11).collect::<Vec<_>>());
    assert_eq!(store.status().retries, 2);
    drop(store);
    let store = open_quiet(dir.path()).await;
    append(&store, 1..11).await.expect("acknowledged");
    assert_eq!(ids(&store).await, (1..11).collect::<Vec<_>>());
}

#[tokio::test]
async fn row_21_after_a_failed_sync_nothing_is_acknowledged_and_the_process_is_told() {
    let dir = tempfile::tempdir().expect("directory");
    let disk = FaultyDisk::default();
    let store = open_with(dir.path(), quiet(), &disk).await;
    append(&store, 1..11).await.expect("kept");
    disk.fail(Op::Sync, "/wal/", ErrorKind::Other);
    let error = append(&store, 11..21).await.expect_err("not durable");
    assert!(error.retryable() && error.message.contains("cannot sync log segment"), "{error}");
    let told = tokio::time::timeout(Duration::from_secs(5), store.poisoned()).await.expect("told");
    assert!(told.message.contains("cannot sync"), "{told}");
    disk.heal();
    let syncs = disk.count(Op::Sync);
    assert_eq!(append(&store, 21..31).await.expect_err("poisoned").kind, Kind::Closed);
    assert_eq!(disk.count(Op::Sync), syncs, "a failed sync is not tried again");
    assert_eq!(ids(&store).await, (1..11).collect::<Vec<_>>());
    drop(store);
    let store = open_quiet(dir.path()).await;
    let seen = ids(&store).await;
    assert!(seen == (1..11).collect::<Vec<_>>() || seen == (1..21).collect::<Vec<_>>(), "{seen:?}");
}

#[tokio::test]
async fn row_22_a_full_disk_refuses_retryably_and_heals_by_itself() {
    let dir = tempfile::tempdir().expect("directory");
    let disk = FaultyDisk::default();
    let store = open_with(dir.path(), quiet(), &disk).await;
    for (at, op) in [(100, Op::Create), (200, Op::Write)] {
        disk.fail(op, "/wal/", ErrorKind::StorageFull);
        let error = append(&store, at..at + 10).await.expect_err("no space");
        assert!(matches!(error.kind, Kind::Overloaded { .. }), "{error}");
        assert!(store.snapshot().await.is_ok());
        disk.heal();
        append(&store, at..at + 10).await.expect("space again");
    }
    let expected: Vec<u64> = (100..110).chain(200..210).collect();
    assert_eq!(ids(&store).await, expected);
    drop(store);
    let store = open_quiet(dir.path()).await;
    assert_eq!(store.status().cut_torn_bytes, 0, "the half-written record was taken back");
    assert_eq!(ids(&store).await, expected);
}

#[tokio::test]
async fn row_24_a_file_without_a_commit_is_invisible_and_later_removed() {
    let dir = tempfile::tempdir().expect("directory");
    let disk = FaultyDisk::default();
    let store = open_with(dir.path(), quiet(), &disk).await;
    append(&store, 1..11).await.expect("kept");
    store.seal().await.expect("sealed");
    let partition =
        std::fs::read_dir(dir.path().join("table")).expect("table").map(|entry| entry.expect("entry").path());
    let mut partition = partition;
    let partition = partition.find(|path| path.to_string_lossy().contains("date=")).expect("a partition");
    let file = std::fs::read_dir(&partition).expect("partition").next().expect("a file").expect("entry").path();
    let name = file.file_name().expect("name").to_string_lossy().into_owned();
    let orphan = partition.join(name.replacen("00000000000000000001", "00000000000000000002", 1));
    let foreign = partition.join("part-of-another-writer.parquet");
    let temporary = dir.path().join("table/_delta_log/.0f8fad5b-d9cb-469f-a165-70867728950e.tmp");
    let not_ours = dir.path().join("table/_delta_log/.unfinished.tmp");
    std::fs::write(&temporary, "half a commit").expect("written");
    std::fs::write(&not_ours, "of another program").expect("written");
    std::fs::copy(&file, &orphan).expect("copied");
    std::fs::copy(&file, &foreign).expect("copied");
    assert_ne!(file, orphan);
    drop(store);
    let store = open_with(dir.path(), quiet(), &disk).await;
    assert_eq!(ids(&store).await, (1..11).collect::<Vec<_>>());
    assert!(!orphan.exists() && file.exists() && foreign.exists());
    assert!(!temporary.exists() && not_ours.exists());
}

#[tokio::test]
async fn an_opening_that_finds_the_log_damaged_changes_nothing() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open_quiet(dir.path()).await;
    append(&store, 1..11).await.expect("kept");
    store.seal().await.expect("sealed");
    append(&store, 11..21).await.expect("kept");
    append(&store, 21..31).await.expect("kept");
    drop(store);
    drop(open_quiet(dir.path()).await);
    let log = std::fs::read_dir(dir.path().join("wal")).expect("log").map(|entry| entry.expect("entry").path());
    let log = log.max().expect("a segment");
    let mut bytes = std::fs::read(&log).expect("bytes");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&log, bytes).expect("damaged");
    let node = std::fs::read_to_string(dir.path().join("node")).expect("node");
    let orphan = dir.path().join(format!("table/date=2023-11-14/spans-{node}-{:020}-0000-x.parquet", 99));
    std::fs::create_dir_all(orphan.parent().expect("a partition")).expect("created");
    std::fs::write(&orphan, "").expect("written");
    let before = files_below(dir.path());
    let parts = || components(Arc::new(super::disk::OsDisk), Arc::new(ManualClock::default()));
    let mut opened = open::open(dir.path(), quiet(), parts()).await;
    for _ in 0..100 {
        if !opened.as_ref().is_err_and(|error| error.kind == Kind::Denied) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        opened = open::open(dir.path(), quiet(), parts()).await;
    }
    assert_eq!(opened.expect_err("damaged").kind, Kind::Corrupt);
    assert_eq!(files_below(dir.path()), before);
}

/// Path and length of every file below `dir`, but for the lock, which says who had it last.
fn files_below(dir: &Path) -> std::collections::BTreeMap<std::path::PathBuf, u64> {
    let mut files = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(dir).expect("directory") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.file_name().is_some_and(|name| name != "lock") {
            files.insert(path.clone(), path.metadata().expect("file").len());
        }
    }
    files
}

#[tokio::test]
async fn a_sealing_that_fails_leaves_spans_fresh_and_the_next_one_takes_them() {
    let dir = tempfile::tempdir().expect("directory");
    let disk = FaultyDisk::default();
    let store = open_with(dir.path(), quiet(), &disk).await;
    append(&store, 1..11).await.expect("kept");
    for (op, path) in [
        (Op::Write, "date="),
        (Op::Sync, "date="),
        (Op::SyncDir, "date="),
        (Op::Write, "_delta_log"),
        (Op::Link, "_delta_log"),
    ] {
        disk.fail(op, path, ErrorKind::Other);
        store.seal().await.expect_err("cannot seal");
        assert_eq!(ids(&store).await, (1..11).collect::<Vec<_>>(), "{op:?}");
        disk.heal();
    }
    assert_eq!(store.seal().await.expect("sealed").rows, 10);
    assert_eq!(ids(&store).await, (1..11).collect::<Vec<_>>());
    assert_eq!(store.status().fresh_bytes, 0);
}

#[tokio::test]
async fn row_26_a_commit_that_fails_but_is_in_the_table_is_not_repeated() {
    let dir = tempfile::tempdir().expect("directory");
    let disk = FaultyDisk::default();
    let store = open_with(dir.path(), quiet(), &disk).await;
    append(&store, 1..11).await.expect("kept");
    store.seal().await.expect("sealed");
    append(&store, 11..21).await.expect("kept");
    // The commit's entry has its name when the directory's sync fails.
    disk.fail_once(Op::SyncDir, "_delta_log", ErrorKind::Other);
    assert_eq!(store.seal().await.expect("found in the table").rows, 10);
    assert_eq!(ids(&store).await, (1..21).collect::<Vec<_>>());
    append(&store, 21..31).await.expect("kept");
    store.seal().await.expect("sealed");
    drop(store);
    let store = open_quiet(dir.path()).await;
    assert_eq!(ids(&store).await, (1..31).collect::<Vec<_>>());
}

#[tokio::test]
async fn row_21_when_the_logs_thread_ends_badly_the_process_is_told() {
    let dir = tempfile::tempdir().expect("directory");
    let disk = FaultyDisk::default();
    let store = open_with(dir.path(), quiet(), &disk).await;
    append(&store, 1..11).await.expect("kept");
    assert!(store.refusal().is_none());
    disk.panic(Op::Write, "/wal/");
    assert_eq!(append(&store, 11..21).await.expect_err("not kept").kind, Kind::Closed);
    let told = tokio::time::timeout(Duration::from_secs(5), store.poisoned()).await.expect("told");
    assert!(told.message.contains("its thread ended badly"), "{told}");
    assert_eq!(store.refusal().expect("refuses").message, told.message);
    drop(store);
    assert_eq!(ids(&*open_quiet(dir.path()).await).await, (1..11).collect::<Vec<_>>());
}

/// Remembers how many spans were visible when it was woken first.
struct Look {
    store: Arc<Store>,
    seen: std::sync::OnceLock<u64>,
}

impl std::task::Wake for Look {
    fn wake(self: Arc<Self>) {
        self.seen.get_or_init(|| self.store.status().fresh_rows);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_is_acknowledged_when_the_spans_are_visible_and_not_before() {
    let dir = tempfile::tempdir().expect("directory");
    let disk = FailingDisk::default();
    let store = open_on(dir.path(), Arc::new(disk.clone())).await;
    disk.stop(1, true);
    let first = tokio::spawn({
        let store = store.clone();
        async move { append(&store, 1..11).await }
    });
    while disk.stopped().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let look = Arc::new(Look { store: store.clone(), seen: std::sync::OnceLock::new() });
    let waker = std::task::Waker::from(look.clone());
    let mut second = Box::pin(append(&store, 1..11));
    let polled = second.as_mut().poll(&mut std::task::Context::from_waker(&waker));
    assert!(polled.is_pending(), "the first is under way");
    disk.go_on();
    first.await.expect("no panic").expect("kept");
    second.await.expect("acknowledged");
    assert_eq!((look.seen.get(), store.status().retries), (Some(&10), 1));
}

#[tokio::test]
async fn a_reader_beside_the_writer_sees_what_the_writer_sees_at_every_step() {
    let dir = tempfile::tempdir().expect("directory");
    let missing = StoreReader::open_with(dir.path(), decode).await.expect_err("no data directory");
    assert_eq!(missing.kind, Kind::NotFound);
    let store = open_quiet(dir.path()).await;
    let reader = StoreReader::open_with(dir.path(), decode).await.expect("a reader");
    let mut next = 1;
    for step in 0..60 {
        if step % 7 == 3 {
            store.seal().await.expect("sealed");
        } else {
            append(&store, next..next + 5).await.expect("kept");
            next += 5;
        }
        if step % 3 != 1 {
            let seen = span_ids(&reader.snapshot().await.expect("a snapshot")).await;
            assert_eq!(seen, (1..next).collect::<Vec<_>>(), "step {step}");
        }
    }
    let late = StoreReader::open_with(dir.path(), decode).await.expect("a late reader");
    store.close().await.expect("closed");
    for reader in [reader, late] {
        assert_eq!(span_ids(&reader.snapshot().await.expect("a snapshot")).await, (1..next).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_14_at_the_budget_exports_wait_for_a_sealing_or_are_asked_to_come_again() {
    let dir = tempfile::tempdir().expect("directory");
    let disk = FaultyDisk::default();
    let budget_bytes = StoreSettings::LEAST_FRESH_BUDGET_BYTES as usize;
    let settings = StoreSettings { fresh_budget_bytes: budget_bytes, append_wait: Duration::from_secs(3), ..quiet() };
    let store = open_with(dir.path(), settings, &disk).await;
    disk.fail(Op::Create, "date=", ErrorKind::Other);
    let (mut next, mut refused) = (1, None);
    while refused.is_none() && next < 1_000_000 {
        refused = append(&store, next..next + 1000).await.err();
        next += if refused.is_none() { 1000 } else { 0 };
    }
    let refused = refused.expect("the budget ends");
    assert!(matches!(refused.kind, Kind::Overloaded { .. }), "{refused}");
    assert!(store.status().fresh_bytes <= budget_bytes as u64 && store.status().refused_for_memory == 1);
    assert_eq!(ids(&store).await, (1..next).collect::<Vec<_>>());
    disk.heal();
    store.seal().await.expect("sealed");
    for _ in 0..60 {
        append(&store, next..next + 1000).await.expect("kept, though it may have waited");
        next += 1000;
    }
    assert_eq!(ids(&store).await, (1..next).collect::<Vec<_>>());
    assert!(store.status().sealings > 1, "the sealer made room by itself");
}

/// A step in the life of a store.
#[derive(Debug, Clone)]
enum Step {
    Append(u64),
    /// Seals while snapshots are taken.
    Seal,
    /// Drops the store as a crash does, and opens it again.
    Reopen,
    /// Closes and opens it again.
    Close,
}

fn steps() -> impl proptest::strategy::Strategy<Value = Vec<Step>> {
    use proptest::prelude::*;
    let step = prop_oneof![
        6 => (1u64..300).prop_map(Step::Append),
        2 => Just(Step::Seal),
        1 => Just(Step::Reopen),
        1 => Just(Step::Close),
    ];
    proptest::collection::vec(step, 1..40)
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 16, ..Default::default() })]

    #[test]
    fn any_life_of_a_store_shows_what_a_plain_list_would(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
        runtime.block_on(live(steps));
    }
}

async fn live(steps: Vec<Step>) {
    let dir = tempfile::tempdir().expect("directory");
    let mut store = open_quiet(dir.path()).await;
    let reader = StoreReader::open_with(dir.path(), decode).await.expect("a reader");
    let mut next = 1;
    for step in steps {
        match step {
            Step::Append(count) => {
                append(&store, next..next + count).await.expect("kept");
                next += count;
            }
            Step::Seal => {
                let expected: Vec<u64> = (1..next).collect();
                let mut sealing = std::pin::pin!(store.seal());
                loop {
                    let seen = tokio::select! {
                        biased;
                        seen = ids(&store) => seen,
                        sealed = &mut sealing => { sealed.expect("sealed"); break }
                    };
                    assert_eq!(seen, expected, "while sealing");
                    if futures::poll!(&mut sealing).is_ready() {
                        break;
                    }
                }
            }
            Step::Reopen | Step::Close => {
                if matches!(step, Step::Close) {
                    store.close().await.expect("closed");
                }
                drop(store);
                store = open_quiet(dir.path()).await;
            }
        }
        assert_eq!(ids(&store).await, (1..next).collect::<Vec<_>>());
    }
    assert_eq!(span_ids(&reader.snapshot().await.expect("a snapshot")).await, (1..next).collect::<Vec<_>>());
}

/// Writes a commit as another program would.
fn commit_by_hand(dir: &Path, version: u64, action: &str) {
    let log = dir.join("table/_delta_log");
    std::fs::write(log.join(format!("{version:020}.json")), action).expect("a commit");
}

#[tokio::test]
async fn a_table_that_cannot_be_read_after_a_commit_of_another_loses_no_file() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open_quiet(dir.path()).await;
    append(&store, 1..11).await.expect("kept");
    store.seal().await.expect("sealed");
    let version = store.snapshot().await.expect("a snapshot").table_version.expect("a version");
    let file = "date=2026-01-01/foreign.parquet";
    commit_by_hand(
        dir.path(),
        version + 1,
        &format!(
            r#"{{"add":{{"path":"{file}","partitionValues":{{"date":"2026-01-01"}},"size":10,"modificationTime":0,"dataChange":true}}}}"#
        ),
    );
    append(&store, 11..21).await.expect("kept");
    for _ in 0..3 {
        let error = store.seal().await.expect_err("a file without a row count");
        assert!(error.message.contains("foreign.parquet without a row count"), "{error}");
        assert_eq!(ids(&store).await, (1..21).collect::<Vec<_>>());
    }
    let log = dir.path().join("table/_delta_log");
    let next = (version + 1..).find(|version| !log.join(format!("{version:020}.json")).exists()).expect("a number");
    commit_by_hand(
        dir.path(),
        next,
        &format!(r#"{{"remove":{{"path":"{file}","deletionTimestamp":0,"dataChange":true}}}}"#),
    );
    store.seal().await.expect("sealed");
    assert_eq!(ids(&store).await, (1..21).collect::<Vec<_>>());
    store.close().await.expect("closed");
    drop(store);
    let store = open_quiet(dir.path()).await;
    assert_eq!(ids(&store).await, (1..21).collect::<Vec<_>>());
}
