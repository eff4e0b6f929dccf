//! Several stores over one table: each sees what the others commit, and reads nothing that they have deleted.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::faulty_store::{Call, Fault, FaultyStore};
use super::follow::LOOK_EVERY;
use super::open::Components;
use super::testing::{FaultyDisk, ManualClock, components, decode, payload, quiet, span_ids, spans};
use super::{Redaction, Retention, RetentionRule, SnapshotSource, Store, StoreSettings, TableUrl, TraceFilter, open};
use crate::model::TraceId;

/// Where a table lies that several stores write.
struct Shared {
    folder: tempfile::TempDir,
    bucket: Option<FaultyStore>,
}

/// A store, its data directory and its clock.
struct Node {
    store: Arc<Store>,
    clock: Arc<ManualClock>,
    dir: tempfile::TempDir,
}

impl Shared {
    fn both() -> [Self; 2] {
        let folder = || tempfile::tempdir().expect("directory");
        [Self { folder: folder(), bucket: None }, Self { folder: folder(), bucket: Some(FaultyStore::default()) }]
    }

    async fn open(&self, retention: Retention) -> Node {
        self.open_keeping(Duration::ZERO, retention).await
    }

    /// Opens a store that keeps files that left the table for so long.
    async fn open_keeping(&self, keep_removed: Duration, retention: Retention) -> Node {
        let url = match &self.bucket {
            Some(_) => "s3://bucket/table".to_owned(),
            None => format!("file://{}", self.folder.path().display()),
        };
        let table_url = Some(TableUrl::parse(&url).expect("a URL"));
        let settings = StoreSettings { table_url, compact: false, keep_removed, retention, ..quiet() };
        let (dir, clock) = (tempfile::tempdir().expect("directory"), Arc::<ManualClock>::default());
        let remote = self.bucket.clone().map(|bucket| Arc::new(bucket) as _);
        let parts = Components { remote, ..components(Arc::new(FaultyDisk::default()), clock.clone()) };
        let store = open::open(dir.path(), settings, parts).await.expect("a store");
        Node { store, clock, dir }
    }

    fn name(&self) -> &str {
        if self.bucket.is_some() { "object store" } else { "directory" }
    }

    async fn data_files(&self) -> usize {
        let is_data = |name: &str| name.ends_with(".parquet");
        match &self.bucket {
            Some(bucket) => bucket.names().await.iter().filter(|name| is_data(name)).count(),
            None => files_below(self.folder.path()).iter().filter(|name| is_data(name)).count(),
        }
    }

    async fn wait_for_data_files(&self, count: usize) {
        let wait = async {
            while self.data_files().await != count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("what left the table is deleted");
    }
}

fn files_below(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let below = entries.flatten().flat_map(|entry| match entry.path().is_dir() {
        true => files_below(&entry.path()),
        false => vec![entry.path().display().to_string()],
    });
    below.collect()
}

impl Node {
    async fn append(&self, ids: std::ops::Range<u64>) {
        let payload = payload(&spans(ids));
        let batch = decode(&payload).expect("a batch");
        self.store.append(payload, batch).await.expect("kept");
    }

    async fn append_and_seal(&self, ids: std::ops::Range<u64>) {
        self.append(ids).await;
        self.store.seal().await.expect("sealed");
    }

    async fn ids(&self) -> Vec<u64> {
        span_ids(&self.store.snapshot().await.expect("a snapshot")).await
    }

    /// Lets the time pass after which the table is looked at, and waits for the look.
    async fn pass_time_until(&self, is_seen: impl AsyncFn() -> bool) {
        self.clock.0.fetch_add(LOOK_EVERY.as_millis() as i64, Ordering::SeqCst);
        let wait = async {
            while !is_seen().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("seen in time");
    }

    async fn rows_known(&self) -> u64 {
        let snapshot = self.store.snapshot().await.expect("a snapshot");
        snapshot.files.iter().map(|file| file.rows).sum()
    }

    async fn redact(&self, trace: u64) -> u64 {
        let id = TraceId::from_bytes(&[trace.to_be_bytes(), trace.to_be_bytes()].concat()).expect("an id");
        let filter = Arc::new(TraceFilter::new([id]));
        let redaction = Redaction { filter, receipt: "a test".into(), delete_now: true };
        self.store.redact(redaction).await.expect("redacted").spans
    }
}

#[tokio::test]
async fn what_another_store_seals_compacts_and_redacts_is_seen_when_the_time_has_come() {
    for place in Shared::both() {
        let (one, other) = (place.open(Retention::default()).await, place.open(Retention::default()).await);
        for round in 0..4 {
            one.append_and_seal(1 + round * 10..11 + round * 10).await;
        }
        assert_eq!(other.rows_known().await, 0, "{}: its time stands still", place.name());
        other.pass_time_until(async || other.rows_known().await == 40).await;
        assert_eq!(other.ids().await, (1..41).collect::<Vec<_>>(), "{}", place.name());

        one.store.compact().await.expect("compacted");
        place.wait_for_data_files(1).await;
        assert_eq!(other.store.status().table_files, 4, "{}: its time stands still", place.name());
        let newest = other.store.newest().await.expect("a snapshot");
        assert_eq!(span_ids(&newest).await, (1..41).collect::<Vec<_>>(), "{}", place.name());
        drop(newest);

        assert!(one.redact(3).await > 0);
        let left: Vec<u64> = (1..41).filter(|span| 1 + span % 7 != 3).collect();
        other.pass_time_until(async || other.rows_known().await == left.len() as u64).await;
        assert_eq!(other.ids().await, left, "{}", place.name());
        // Its cache has nothing of what was redacted.
        let cached = files_below(&other.dir.path().join("cache"));
        assert!(cached.len() <= other.store.status().table_files, "{}: {cached:?}", place.name());

        other.append_and_seal(51..61).await;
        one.pass_time_until(async || one.rows_known().await == left.len() as u64 + 10).await;
        assert_eq!(one.ids().await, other.ids().await, "{}", place.name());
    }
}

#[tokio::test]
async fn a_store_that_is_behind_takes_out_and_merges_what_others_have_written_and_no_span_twice() {
    for place in Shared::both() {
        let (one, other) = (place.open(Retention::default()).await, place.open(Retention::default()).await);
        for round in 0..4 {
            one.append_and_seal(1 + round * 10..11 + round * 10).await;
        }
        let newest = other.store.newest().await.expect("a snapshot");
        assert_eq!(newest.files.len(), 4, "{}", place.name());
        drop(newest);
        one.store.compact().await.expect("compacted");
        place.wait_for_data_files(1).await;
        // It knows of the four only, which are gone.
        other.store.compact().await.expect("nothing is left to do");
        assert_eq!(other.store.status().compaction_failures, 0, "{}", place.name());
        one.append_and_seal(41..51).await;
        assert!(other.redact(3).await > 5, "{}: spans in files that it had not seen", place.name());
        let left: Vec<u64> = (1..51).filter(|span| 1 + span % 7 != 3).collect();
        assert_eq!(other.ids().await, left, "{}", place.name());
        assert_eq!(span_ids(&one.store.newest().await.expect("a snapshot")).await, left, "{}", place.name());

        // Both merge at once: one of them wins.
        other.append_and_seal(51..61).await;
        one.append_and_seal(61..71).await;
        let (first, second) = tokio::join!(one.store.compact(), other.store.compact());
        assert!(first.is_ok() || second.is_ok(), "{}: {first:?} {second:?}", place.name());
        let expected: Vec<u64> = left.into_iter().chain(51..71).collect();
        assert_eq!(span_ids(&one.store.newest().await.expect("a snapshot")).await, expected, "{}", place.name());
        assert_eq!(span_ids(&other.store.newest().await.expect("a snapshot")).await, expected, "{}", place.name());
    }
}

#[tokio::test]
async fn of_two_that_take_out_the_same_files_one_begins_anew() {
    for place in Shared::both() {
        let keep = Duration::from_secs(3600);
        let (one, other) = (
            place.open_keeping(keep, Retention::default()).await,
            place.open_keeping(keep, Retention::default()).await,
        );
        for round in 0..4 {
            one.append_and_seal(1 + round * 10..11 + round * 10).await;
        }
        assert_eq!(other.store.newest().await.expect("a snapshot").files.len(), 4, "{}", place.name());
        one.store.compact().await.expect("compacted");
        // All four are still there, and the other knows of nothing else.
        assert_eq!(other.store.status().table_files, 4, "{}", place.name());
        other.store.compact().await.expect("nothing is left to do");
        assert_eq!(other.ids().await, (1..41).collect::<Vec<_>>(), "{}", place.name());
        assert_eq!(other.store.status().table_files, 1, "{}", place.name());

        // A redaction by one that knows old files only finds the spans where they are now.
        one.append_and_seal(41..51).await;
        one.store.compact().await.expect("compacted");
        assert_eq!(other.redact(3).await, 7, "{}", place.name());
        let left: Vec<u64> = (1..51).filter(|span| 1 + span % 7 != 3).collect();
        assert_eq!(other.ids().await, left, "{}", place.name());
        assert_eq!(span_ids(&one.store.newest().await.expect("a snapshot")).await, left, "{}", place.name());
    }
}

#[tokio::test]
async fn retention_rules_are_read_anew_when_a_file_that_decides_has_gone() {
    let rule = RetentionRule { service: None, errors: true, slower_than: None, keep: Duration::from_secs(1) };
    let retention = Retention { age: None, rules: vec![rule] };
    for place in Shared::both() {
        let (one, other) = (place.open(retention.clone()).await, place.open(retention.clone()).await);
        for round in 0..4 {
            one.append_and_seal(1 + round * 10..11 + round * 10).await;
        }
        drop(other.store.newest().await.expect("a snapshot"));
        one.store.compact().await.expect("compacted");
        place.wait_for_data_files(1).await;
        // By now what the files say is what decides, and they are not there any more.
        other.clock.0.store(super::testing::START / 1_000_000 + 86_400_000, Ordering::SeqCst);
        assert_eq!(other.ids().await, (1..41).collect::<Vec<_>>(), "{}", place.name());
    }
}

#[tokio::test]
async fn a_store_that_cannot_look_answers_from_what_it_knows_and_catches_up() {
    let place = Shared { folder: tempfile::tempdir().expect("directory"), bucket: Some(FaultyStore::default()) };
    let bucket = place.bucket.clone().expect("a bucket");
    let (one, other) = (place.open(Retention::default()).await, place.open(Retention::default()).await);
    one.append_and_seal(1..11).await;
    bucket.fail(Call::Get, "_delta_log", Fault::Fail);
    let calls = bucket.calls();
    other.pass_time_until(async || bucket.calls() > calls).await;
    assert_eq!(other.rows_known().await, 0);
    other.store.newest().await.expect_err("out of reach");
    bucket.heal();
    other.pass_time_until(async || other.rows_known().await == 10).await;
    assert_eq!(other.ids().await, (1..11).collect::<Vec<_>>());
    // A look that hangs holds up no statement.
    bucket.fail(Call::Get, "_delta_log", Fault::Freeze);
    other.pass_time_until(async || bucket.frozen() > 0).await;
    assert_eq!(other.rows_known().await, 10);
    bucket.heal();
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_known_again_when_others_have_merged_its_files() {
    let place = Shared { folder: tempfile::tempdir().expect("directory"), bucket: Some(FaultyStore::default()) };
    let bucket = place.bucket.clone().expect("a bucket");
    let (one, other) = (place.open(Retention::default()).await, place.open(Retention::default()).await);
    for round in 0..3 {
        one.append_and_seal(1 + round * 10..11 + round * 10).await;
    }
    one.append(31..41).await;
    // From the commit on, the table is out of its reach.
    bucket.fail_some(Call::Put, "_delta_log", Fault::FailAfter, 0, 1);
    bucket.watch({
        let bucket = bucket.clone();
        move |call| {
            if call.contains("_delta_log") {
                bucket.fail(Call::Get, "_delta_log", Fault::Fail);
                bucket.fail(Call::List, "_delta_log", Fault::Fail);
            }
        }
    });
    one.store.seal().await.expect_err("nothing is known of the commit");
    bucket.watch(|_| {});
    bucket.heal();
    assert_eq!(other.store.newest().await.expect("a snapshot").files.len(), 4, "it is in the table");
    other.store.compact().await.expect("compacted");
    place.wait_for_data_files(1).await;

    one.store.seal().await.expect("known again");
    assert_eq!(one.store.status().fresh_rows, 0);
    one.append_and_seal(41..51).await;
    assert_eq!(one.ids().await, (1..51).collect::<Vec<_>>());
    assert_eq!(span_ids(&other.store.newest().await.expect("a snapshot")).await, (1..51).collect::<Vec<_>>());
}
