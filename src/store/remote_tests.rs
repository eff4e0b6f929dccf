//! A store whose table lies on an object store: what was acknowledged is there once, whatever the object store does.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use datafusion::object_store::ObjectStoreExt;

use super::faulty_store::{Call, Fault, FaultyStore};
use super::open::Components;
use super::testing::{FaultyDisk, ManualClock, components, decode, payload, quiet, span_ids, spans};
use super::{SnapshotSource, Store, StoreSettings, TableUrl, open};
use crate::error::{Error, Kind, OBJECT_IN_USE};

const URL: &str = "s3://bucket/table";

/// A store for which all objects have been there for an hour, so that no commit that names them is on its way.
fn remote(store: &FaultyStore) -> Components {
    remote_at(store, now_ms() + 3_600_000)
}

fn remote_at(store: &FaultyStore, now_ms: i64) -> Components {
    let local = components(Arc::new(FaultyDisk::default()), Arc::new(ManualClock(now_ms.into())));
    Components { remote: Some(Arc::new(store.clone())), ..local }
}

/// The time that the object store gives its objects.
fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}

fn settings() -> StoreSettings {
    let url = TableUrl::parse(URL).expect("a URL");
    StoreSettings { table_url: Some(url), compact: false, keep_removed: Duration::ZERO, ..quiet() }
}

async fn try_open(dir: &Path, store: &FaultyStore) -> Result<Arc<Store>, Error> {
    try_open_on(dir, || remote(store)).await
}

async fn try_open_on(dir: &Path, parts: impl Fn() -> Components) -> Result<Arc<Store>, Error> {
    // The threads of a store that was dropped, as a crash drops it, let go of the directory a moment later.
    for _ in 0..250 {
        match open::open(dir, settings(), parts()).await {
            Err(error) if error.kind == Kind::Denied => tokio::time::sleep(Duration::from_millis(20)).await,
            other => return other,
        }
    }
    panic!("the directory is still locked");
}

async fn open(dir: &Path, store: &FaultyStore) -> Arc<Store> {
    try_open(dir, store).await.expect("a store")
}

async fn append(store: &Store, ids: std::ops::Range<u64>) -> Result<(), Error> {
    let payload = payload(&spans(ids));
    let batch = decode(&payload).expect("a batch");
    store.append(payload, batch).await
}

async fn ids(store: &Store) -> Vec<u64> {
    span_ids(&store.snapshot().await.expect("a snapshot")).await
}

fn data_files(names: &[String]) -> usize {
    names.iter().filter(|name| name.ends_with(".parquet") && name.starts_with("date=")).count()
}

#[tokio::test]
async fn a_remote_table_is_sealed_compacted_and_vacuumed_and_opened_elsewhere() {
    let (dir, bucket) = (tempfile::tempdir().expect("directory"), FaultyStore::default());
    let store = open(dir.path(), &bucket).await;
    for round in 0..4 {
        append(&store, 1 + round * 10..11 + round * 10).await.expect("kept");
        store.seal().await.expect("sealed");
    }
    assert_eq!(data_files(&bucket.names().await), 4);
    let report = store.compact().await.expect("compacted");
    assert_eq!((report.files_before, report.files_after, report.rows), (4, 1, 40));
    let wait = async {
        while data_files(&bucket.names().await) > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("what left the table is deleted");
    append(&store, 41..51).await.expect("kept");
    assert_eq!(ids(&store).await, (1..51).collect::<Vec<_>>());
    assert_eq!(std::fs::read_dir(dir.path().join("staging")).expect("staging").count(), 0);
    assert!(!dir.path().join("table").exists());

    // The node is lost: what it had not sealed is in its log only.
    let elsewhere = tempfile::tempdir().expect("directory");
    let other = open(elsewhere.path(), &bucket).await;
    assert_eq!(ids(&other).await, (1..41).collect::<Vec<_>>());
    append(&other, 61..71).await.expect("kept");
    other.seal().await.expect("sealed");
    drop(store);

    // The node is found again: its log continues, beside the other's files.
    let store = open(dir.path(), &bucket).await;
    let expected: Vec<u64> = (1..51).chain(61..71).collect();
    assert_eq!(ids(&store).await, expected);
    store.close().await.expect("closed");
    let third = tempfile::tempdir().expect("directory");
    assert_eq!(ids(&*open(third.path(), &bucket).await).await, expected);
}

#[tokio::test]
async fn a_directory_opens_its_own_table_only_and_a_failed_first_opening_settles_nothing() {
    let (dir, bucket) = (tempfile::tempdir().expect("directory"), FaultyStore::default());
    bucket.fail(Call::Any, "", Fault::Fail);
    let error = try_open(dir.path(), &bucket).await.expect_err("out of reach");
    assert!(error.message.contains(URL) && error.hint.as_deref().unwrap_or_default().contains("AWS_"), "{error:?}");
    bucket.heal();
    let elsewhere = StoreSettings { table_url: TableUrl::parse("s3://bucket/other").ok(), ..settings() };
    let store = open::open(dir.path(), elsewhere, remote(&bucket)).await.expect("nothing was settled");
    store.close().await.expect("closed");
    drop(store);
    let error = open::open(dir.path(), settings(), remote(&bucket)).await.expect_err("another table");
    assert!(error.message.contains("has its table at s3://bucket/other, not at s3://bucket/table"), "{error}");
    let unset = StoreSettings { table_url: None, ..settings() };
    open::open(dir.path(), unset, remote(&bucket)).await.expect("the table that it had");
}

#[tokio::test]
async fn row_26_a_commit_whose_answer_is_lost_is_not_made_twice() {
    for (call, path) in [(Call::Put, "_delta_log/00000000000000000001.json"), (Call::Put, "date=")] {
        let (dir, bucket) = (tempfile::tempdir().expect("directory"), FaultyStore::default());
        let store = open(dir.path(), &bucket).await;
        append(&store, 1..11).await.expect("kept");
        bucket.fail_some(call, path, Fault::FailAfter, 0, 1);
        // A commit that is found in the table is a success; a file whose upload failed is uploaded anew, under another name.
        let sealed = store.seal().await;
        assert_eq!(sealed.is_ok(), path != "date=", "{path}: {sealed:?}");
        assert_eq!(ids(&store).await, (1..11).collect::<Vec<_>>(), "{path}");
        append(&store, 11..21).await.expect("kept");
        store.seal().await.expect("sealed");
        assert_eq!(ids(&store).await, (1..21).collect::<Vec<_>>(), "{path}");
        assert_eq!(store.status().table_rows, 20, "{path}");
        drop(store);
        let store = open(dir.path(), &bucket).await;
        assert_eq!(ids(&store).await, (1..21).collect::<Vec<_>>(), "{path}");
        assert_eq!(data_files(&bucket.names().await), store.status().table_files, "{path}: an orphan stayed");
    }
}

#[tokio::test]
async fn row_26_a_commit_that_comes_late_finds_its_files_and_is_not_made_twice() {
    // Some or all of the commits that are made before the store gives up; then they arrive, before or after the next is made.
    for late in 1..=3 {
        for arrives_first in [true, false] {
            let what = format!("{late} late, arriving first: {arrives_first}");
            let (dir, bucket) = (tempfile::tempdir().expect("directory"), FaultyStore::default());
            let store = open(dir.path(), &bucket).await;
            for round in 0..4 {
                append(&store, 1 + round * 10..11 + round * 10).await.expect("kept");
                if round == 3 {
                    bucket.fail_some(Call::Put, "_delta_log", Fault::Late, 0, late);
                }
                let sealed = store.seal().await;
                assert_eq!(sealed.is_ok(), round < 3 || late < 2, "{what}: {sealed:?}");
            }
            bucket.heal();
            if arrives_first {
                bucket.arrive().await;
            }
            store.seal().await.expect("sealed");
            bucket.arrive().await;
            append(&store, 41..51).await.expect("kept");
            store.seal().await.expect("sealed");
            assert_eq!(ids(&store).await, (1..51).collect::<Vec<_>>(), "{what}");

            bucket.fail_some(Call::Put, "_delta_log", Fault::Late, 0, late);
            let compacted = store.compact().await;
            assert_eq!(compacted.is_ok(), late < 3, "{what}: {compacted:?}");
            bucket.heal();
            bucket.arrive().await;
            append(&store, 51..61).await.expect("kept");
            store.seal().await.expect("sealed");
            assert_eq!(ids(&store).await, (1..61).collect::<Vec<_>>(), "{what}");
            drop(store);
            let store = open(dir.path(), &bucket).await;
            assert_eq!(ids(&store).await, (1..61).collect::<Vec<_>>(), "{what}");
        }
    }
}

#[tokio::test]
async fn row_26_a_commit_that_comes_after_the_next_start_finds_its_files() {
    // A commit of spans, and one of compaction; it comes while the next process runs, or after it.
    for (compacts, runs_meanwhile) in [(false, false), (true, false), (false, true), (true, true)] {
        let what = format!("compaction: {compacts}, another runs: {runs_meanwhile}");
        let (dir, bucket) = (tempfile::tempdir().expect("directory"), FaultyStore::default());
        let opened = async |ahead_ms: i64| {
            let open = try_open_on(dir.path(), || remote_at(&bucket, now_ms() + ahead_ms)).await;
            open.unwrap_or_else(|error| panic!("{what}: {error}"))
        };
        let store = opened(0).await;
        for round in 0..4 {
            append(&store, 1 + round * 10..11 + round * 10).await.expect("kept");
            store.seal().await.expect("sealed");
        }
        append(&store, 41..51).await.expect("kept");
        bucket.fail(Call::Put, "_delta_log", Fault::Late);
        match compacts {
            true => _ = store.compact().await.expect_err("on its way"),
            false => _ = store.seal().await.expect_err("on its way"),
        }
        let files = data_files(&bucket.names().await);
        assert_eq!(files, 5, "{what}");
        // As a crash leaves it.
        drop(store);
        let store = opened(0).await;
        assert_eq!(data_files(&bucket.names().await), files, "{what}: a commit may come that names it");
        assert_eq!(ids(&store).await, (1..51).collect::<Vec<_>>(), "{what}");
        bucket.heal();
        if runs_meanwhile {
            append(&store, 51..61).await.expect("kept");
            assert_eq!(bucket.arrive().await, 1, "{what}: the table takes one");
            // It is taken for that of another process with this one's name, unless it moves no spans out of the log.
            assert_eq!(store.seal().await.is_ok(), compacts, "{what}");
            drop(store);
        } else {
            drop(store);
            assert_eq!(bucket.arrive().await, 1, "{what}: the table takes one");
        }
        let expected: Vec<u64> = if runs_meanwhile { (1..61).collect() } else { (1..51).collect() };
        let store = opened(0).await;
        assert_eq!(ids(&store).await, expected, "{what}");
        store.seal().await.expect("sealed");
        drop(store);
        let store = opened(3_600_000).await;
        assert_eq!(ids(&store).await, expected, "{what}, an hour later");
    }
}

#[tokio::test]
async fn a_young_file_without_a_commit_is_removed_when_no_commit_can_come_any_more() {
    let (dir, bucket) = (tempfile::tempdir().expect("directory"), FaultyStore::default());
    let clock = Arc::new(ManualClock(now_ms().into()));
    let parts = || Components {
        remote: Some(Arc::new(bucket.clone())),
        ..components(Arc::new(FaultyDisk::default()), clock.clone())
    };
    let store = try_open_on(dir.path(), parts).await.expect("a store");
    append(&store, 1..11).await.expect("kept");
    store.seal().await.expect("sealed");
    append(&store, 11..21).await.expect("kept");
    bucket.fail(Call::Put, "_delta_log", Fault::Fail);
    store.seal().await.expect_err("no commit");
    drop(store);
    bucket.heal();
    let store = try_open_on(dir.path(), parts).await.expect("a store");
    store.seal().await.expect("sealed");
    assert_eq!(data_files(&bucket.names().await), 3);
    clock.0.fetch_add(601_000, std::sync::atomic::Ordering::SeqCst);
    let wait = async {
        while data_files(&bucket.names().await) > 2 {
            tokio::time::sleep(Duration::from_millis(20)).await
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("it is removed");
    assert_eq!(ids(&store).await, (1..21).collect::<Vec<_>>());
}

#[tokio::test]
async fn row_27_a_zombie_is_fenced_and_the_process_is_told() {
    let (dir, bucket) = (tempfile::tempdir().expect("directory"), FaultyStore::default());
    let first = open(dir.path(), &bucket).await;
    append(&first, 1..11).await.expect("kept");
    first.seal().await.expect("sealed");
    // A copy of the directory, as a restored machine has it, while the first process lives on.
    let copy = tempfile::tempdir().expect("directory");
    for name in ["node", "table-url"] {
        std::fs::copy(dir.path().join(name), copy.path().join(name)).expect("copied");
    }
    let second = open(copy.path(), &bucket).await;
    append(&second, 101..111).await.expect("kept");
    second.seal().await.expect("sealed");
    append(&first, 11..21).await.expect("kept: nothing is known of the other yet");
    let error = first.seal().await.expect_err("fenced");
    assert!(error.message.contains("another process has written to the table s3://bucket/table as node"), "{error}");
    let told = tokio::time::timeout(Duration::from_secs(5), first.poisoned()).await.expect("told");
    assert!(told.message.contains("another process") && told.sqlstate() == OBJECT_IN_USE, "{told}");
    assert_eq!(append(&first, 21..31).await.expect_err("fenced").kind, Kind::Closed);
    assert_eq!(ids(&first).await, (1..21).collect::<Vec<_>>(), "what it acknowledged is not lost from its log");
    let expected: Vec<u64> = (1..11).chain(101..111).collect();
    assert_eq!(ids(&second).await, expected);
    append(&second, 111..121).await.expect("kept");
    second.seal().await.expect("the other goes on");
}

#[tokio::test]
async fn row_29_while_the_store_is_away_exports_are_kept_to_the_cap_and_it_recovers_by_itself() {
    let (dir, bucket) = (tempfile::tempdir().expect("directory"), FaultyStore::default());
    let settings = StoreSettings {
        fresh_budget_bytes: StoreSettings::LEAST_FRESH_BUDGET_BYTES as usize,
        append_wait: Duration::from_millis(50),
        seal_after: Duration::from_millis(100),
        ..settings()
    };
    let clock = Arc::new(super::clock::OsClock);
    let parts =
        Components { remote: Some(Arc::new(bucket.clone())), ..components(Arc::new(FaultyDisk::default()), clock) };
    let store = open::open(dir.path(), settings, parts).await.expect("a store");
    append(&store, 1..1001).await.expect("kept");
    store.seal().await.expect("sealed");
    bucket.fail(Call::Any, "", Fault::Fail);
    let mut kept = 1001;
    let refused = loop {
        match append(&store, kept..kept + 1000).await {
            Ok(()) => kept += 1000,
            Err(error) => break error,
        }
        assert!(kept < 1_000_000, "the cap is never reached");
    };
    assert!(matches!(refused.kind, Kind::Overloaded { .. }), "{refused}");
    let error = store.seal().await.expect_err("out of reach");
    assert!(error.message.contains(URL) || error.message.contains("date="), "{error}");
    let snapshot = store.snapshot().await.expect("fresh spans are there");
    assert_eq!(snapshot.fresh.iter().map(|batch| batch.num_rows() as u64).sum::<u64>(), kept - 1001);
    bucket.heal();
    let recovered = async {
        while append(&store, kept..kept + 1000).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(100), recovered).await.expect("it recovers by itself");
    assert_eq!(ids(&store).await, (1..kept + 1000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_store_that_hangs_holds_up_neither_exports_nor_snapshots() {
    let (dir, bucket) = (tempfile::tempdir().expect("directory"), FaultyStore::default());
    let store = open(dir.path(), &bucket).await;
    append(&store, 1..11).await.expect("kept");
    for (path, times) in [("date=", 1), ("_delta_log", 2)] {
        bucket.fail(Call::Put, path, Fault::Freeze);
        let sealing = tokio::spawn({
            let store = store.clone();
            async move { store.seal().await }
        });
        while bucket.frozen() < times {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        append(&store, 11..21).await.expect("kept");
        assert_eq!(ids(&store).await, (1..21).collect::<Vec<_>>());
        bucket.heal();
        // An upload that failed is begun anew by the next sealing, a commit at once.
        let sealed = sealing.await.expect("it ends");
        assert_eq!(sealed.is_ok(), path == "_delta_log", "{path}: {sealed:?}");
    }
    store.seal().await.expect("sealed");
    assert_eq!(ids(&store).await, (1..21).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_listing_that_is_behind_loses_nothing() {
    let (dir, bucket) = (tempfile::tempdir().expect("directory"), FaultyStore::default());
    let store = open(dir.path(), &bucket).await;
    for round in 0..2 {
        append(&store, 1 + round * 10..11 + round * 10).await.expect("kept");
        store.seal().await.expect("sealed");
    }
    drop(store);
    let before = bucket.names().await;
    for hidden in ["00000000000000000002.json", "_delta_log"] {
        bucket.hide(Some(hidden));
        let error = try_open(dir.path(), &bucket).await.expect_err("an old version");
        assert!(error.message.contains("its listing does not show"), "{hidden}: {error}");
        assert_eq!(bucket.names().await, before, "{hidden}: nothing is removed");
    }
    bucket.heal();
    assert_eq!(ids(&*open(dir.path(), &bucket).await).await, (1..21).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_was_sealed_here_is_read_without_the_store_and_gone_files_leave_the_cache() {
    let (dir, bucket) = (tempfile::tempdir().expect("directory"), FaultyStore::default());
    let store = open(dir.path(), &bucket).await;
    let names = || -> BTreeSet<_> {
        let entries = std::fs::read_dir(dir.path().join("cache")).expect("a cache");
        entries.map(|entry| entry.expect("an entry").file_name()).collect()
    };
    let kept = || names().len();
    for round in 0..4 {
        append(&store, 1 + round * 10..11 + round * 10).await.expect("kept");
        store.seal().await.expect("sealed");
    }
    assert_eq!(kept(), 4);
    bucket.fail(Call::Get, "date=", Fault::Fail);
    let snapshot = store.snapshot().await.expect("a snapshot");
    for file in snapshot.files.iter() {
        let all = 0..file.size_bytes;
        snapshot.object_store.get_range(&file.location, all).await.expect("from the cache");
    }
    let status = store.status().cache.expect("a cache");
    assert_eq!((status.misses, status.hits >= 4), (0, true), "{status:?}");
    drop(snapshot);
    bucket.heal();
    store.compact().await.expect("compacted");
    let wait = async {
        while kept() > 1 {
            tokio::time::sleep(Duration::from_millis(20)).await
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("files that are gone are not kept");
    assert_eq!(ids(&store).await, (1..41).collect::<Vec<_>>());
    drop(store);
    // Another node replaces the file; a start finds that out.
    let elsewhere = tempfile::tempdir().expect("directory");
    let other = open(elsewhere.path(), &bucket).await;
    append(&other, 41..51).await.expect("kept");
    other.seal().await.expect("sealed");
    other.compact().await.expect("compacted");
    other.close().await.expect("closed");
    let before = names();
    let store = open(dir.path(), &bucket).await;
    assert!(names().is_disjoint(&before), "only blocks of files that are in the table stay");
    assert_eq!(ids(&store).await, (1..51).collect::<Vec<_>>());
}

/// What a life leaves behind when the object store goes away at a call.
async fn live(dir: &Path, bucket: &FaultyStore) -> BTreeSet<u64> {
    let mut acknowledged = BTreeSet::new();
    let Ok(store) = try_open(dir, bucket).await else { return acknowledged };
    for round in 0..5 {
        let ids = 1 + round * 10..11 + round * 10;
        if append(&store, ids.clone()).await.is_ok() {
            acknowledged.extend(ids);
        }
        // These fail from some call on: that is what is tested.
        let _ = store.seal().await;
    }
    let _ = store.compact().await;
    acknowledged
}

#[tokio::test]
async fn an_object_store_that_goes_away_at_any_call_leaves_what_was_acknowledged() {
    let calls = {
        let (dir, bucket) = (tempfile::tempdir().expect("directory"), FaultyStore::default());
        assert_eq!(live(dir.path(), &bucket).await.len(), 50);
        bucket.calls()
    };
    assert!(calls > 40, "only {calls} calls");
    for fault in [Fault::Fail, Fault::FailAfter] {
        for (after, times) in (0..calls).map(|after| (after, usize::MAX)).chain((0..calls).map(|after| (after, 1))) {
            let what = format!("{fault:?} {times} calls from {after} on");
            let (dir, bucket) = (tempfile::tempdir().expect("directory"), FaultyStore::default());
            bucket.fail_some(Call::Any, "", fault, after, times);
            let acknowledged = live(dir.path(), &bucket).await;
            bucket.heal();
            let store = open(dir.path(), &bucket).await;
            assert_eq!(ids(&store).await, acknowledged.into_iter().collect::<Vec<_>>(), "{what}");
            let superfluous = data_files(&bucket.names().await) - store.status().table_files;
            assert!(superfluous <= 5, "{what}: {superfluous} files besides those that compaction replaced");
        }
    }
}
