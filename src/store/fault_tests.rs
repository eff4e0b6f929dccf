//! Spans that cannot be stored, and clocks that jump: everything else goes on.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::faulty_store::{Call, Fault, FaultyStore};
use super::fresh::Part;
use super::open::{Components, open};
use super::seal::write_sorted;
use super::table::{TableDir, WrittenFile};
use super::testing::{FaultyDisk, ManualClock, START, TestSpan, components, decode, payload, quiet, span_ids, spans};
use super::wal::Lsn;
use super::{SnapshotSource, Store, StoreReader, StoreSettings, TableUrl};
use crate::error::{Error, Kind, Result};
use crate::model::SpanBatch;
use crate::model::promoted::Promoted;

/// The trace whose spans are refused by [`convert`], and the one at which it panics.
const REFUSED: u64 = 0xbad;
const PANICS: u64 = 0xdead;

/// Makes files as a store does, but of some spans.
fn convert(
    dir: &TableDir,
    parts: &[Arc<Part>],
    promoted: &Promoted,
    node: &str,
    mark: Lsn,
) -> Result<Vec<WrittenFile>> {
    let has = |trace: u64| {
        let id = [trace.to_be_bytes(), trace.to_be_bytes()].concat();
        parts.iter().any(|part| part.batch.trace_ids().expect("ids").iter().any(|found| found == Some(id.as_slice())))
    };
    assert!(!has(PANICS), "a defect");
    match has(REFUSED) {
        true => Err(Error::internal("a defect")),
        false => write_sorted(dir, parts, promoted, node, mark),
    }
}

/// Reads a request as a store does, but not that of trace [`REFUSED`].
fn read(payload: &Bytes) -> Result<SpanBatch> {
    match payload.starts_with(&REFUSED.to_le_bytes()) {
        true => Err(Error::bad_input("a defect")),
        false => decode(payload),
    }
}

async fn opened(dir: &Path, settings: StoreSettings, parts: impl Fn() -> Components) -> Arc<Store> {
    for _ in 0..100 {
        match open(dir, settings.clone(), parts()).await {
            Err(error) if error.kind == Kind::Denied => tokio::time::sleep(Duration::from_millis(20)).await,
            other => return other.expect("a store"),
        }
    }
    panic!("the directory is still locked");
}

fn plain() -> Components {
    components(Arc::new(FaultyDisk::default()), Arc::new(ManualClock::default()))
}

async fn append(store: &Store, payload: Bytes) {
    let batch = decode(&payload).expect("a batch");
    store.append(payload, batch).await.expect("kept");
}

async fn ids(store: &dyn SnapshotSource) -> Vec<u64> {
    span_ids(&store.snapshot().await.expect("a snapshot")).await
}

fn bad(trace: u64) -> Bytes {
    payload(&[TestSpan { trace, span: 1_000_000 + trace, start_ns: START }])
}

#[tokio::test(flavor = "multi_thread")]
async fn row_28_requests_that_cannot_be_converted_are_quarantined_and_the_others_sealed() {
    let dir = tempfile::tempdir().expect("directory");
    let store = opened(dir.path(), quiet(), || Components { convert, ..plain() }).await;
    append(&store, payload(&spans(1..11))).await;
    append(&store, bad(REFUSED)).await;
    append(&store, payload(&spans(11..21))).await;
    append(&store, bad(PANICS)).await;
    append(&store, payload(&spans(21..31))).await;
    for _ in 0..2 {
        store.seal().await.expect_err("it may pass by itself");
        assert_eq!((ids(store.as_ref()).await.len(), store.status().quarantined_requests), (32, 0));
    }
    assert_eq!(store.seal().await.expect("the others").rows, 30);
    assert_eq!(ids(store.as_ref()).await, (1..31).collect::<Vec<_>>());
    let status = store.status();
    assert_eq!((status.fresh_rows, status.fresh_bytes, status.quarantined_requests), (0, 0, 2));
    for (request, content) in [(2, bad(REFUSED)), (4, bad(PANICS))] {
        let kept = dir.path().join(format!("quarantine/request-{request:020}.pb"));
        assert_eq!(std::fs::read(&kept).expect("kept"), content);
        assert!(kept.with_extension("pb.why.txt").exists());
    }
    append(&store, payload(&spans(31..41))).await;
    assert_eq!(store.seal().await.expect("at once").rows, 10);
    assert_eq!(store.snapshot().await.expect("a snapshot").quarantined_files, 2);
    store.close().await.expect("closed");
    drop(store);
    let store = opened(dir.path(), quiet(), plain).await;
    assert_eq!(ids(store.as_ref()).await, (1..41).collect::<Vec<_>>());
    assert_eq!(store.snapshot().await.expect("a snapshot").quarantined_files, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_28_one_bad_request_among_many_merged_ones_goes_alone() {
    let dir = tempfile::tempdir().expect("directory");
    let store = opened(dir.path(), quiet(), || Components { convert, ..plain() }).await;
    for first in 1..101 {
        append(&store, payload(&spans(first..first + 1))).await;
        if first == 50 {
            append(&store, bad(REFUSED)).await;
        }
    }
    while store.seal().await.is_err() {}
    assert_eq!(ids(store.as_ref()).await, (1..101).collect::<Vec<_>>());
    assert_eq!(store.status().quarantined_requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_28_requests_that_are_sealed_apart_by_a_commit_of_unknown_outcome_are_there_once() {
    let (dir, bucket) = (tempfile::tempdir().expect("directory"), FaultyStore::default());
    let table_url = TableUrl::parse("s3://bucket/table").ok();
    let settings = StoreSettings { table_url, compact: false, ..quiet() };
    let parts = || Components { convert, remote: Some(Arc::new(bucket.clone())), ..plain() };
    let store = opened(dir.path(), settings, parts).await;
    append(&store, payload(&spans(1..2))).await;
    store.seal().await.expect("sealed");
    append(&store, payload(&spans(2..3))).await;
    append(&store, bad(REFUSED)).await;
    for _ in 0..2 {
        store.seal().await.expect_err("it may pass by itself");
    }
    // The first commit is in the table, and from then on nothing can be learned of it.
    bucket.fail_some(Call::Put, "_delta_log", Fault::FailAfter, 0, 1);
    bucket.watch({
        let bucket = bucket.clone();
        move |call| {
            if call.contains("_delta_log") {
                bucket.fail(Call::Any, "_delta_log", Fault::Fail);
            }
        }
    });
    store.seal().await.expect_err("out of reach");
    bucket.watch(|_| {});
    // So many small requests that neighbours are merged.
    for first in 3..43 {
        append(&store, payload(&spans(first..first + 1))).await;
    }
    while store.status().fresh_batches > 30 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    bucket.heal();
    while store.seal().await.is_err() {}
    assert_eq!(ids(store.as_ref()).await, (1..43).collect::<Vec<_>>());
    assert_eq!(store.status().quarantined_requests, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_28_a_request_that_cannot_be_read_again_stops_no_start() {
    let dir = tempfile::tempdir().expect("directory");
    let store = opened(dir.path(), quiet(), plain).await;
    append(&store, payload(&spans(1..11))).await;
    append(&store, bad(REFUSED)).await;
    append(&store, payload(&spans(11..21))).await;
    drop(store);
    let store = opened(dir.path(), quiet(), || Components { decode: read, ..plain() }).await;
    let reader = StoreReader::open_with(dir.path(), read).await.expect("a reader");
    for seen in [ids(store.as_ref()).await, ids(reader.as_ref()).await] {
        assert_eq!(seen, (1..21).collect::<Vec<_>>());
    }
    assert_eq!(store.status().quarantined_requests, 1);
    let kept = dir.path().join("quarantine/request-00000000000000000002.pb");
    assert_eq!(std::fs::read(kept).expect("kept"), bad(REFUSED));
    store.seal().await.expect("sealed");
    assert_eq!((ids(store.as_ref()).await, store.status().fresh_rows), ((1..21).collect::<Vec<_>>(), 0));
}

const HOUR_MS: i64 = 3_600_000;

#[tokio::test(flavor = "multi_thread")]
async fn row_31_when_the_clock_jumps_order_and_spans_stay() {
    let dir = tempfile::tempdir().expect("directory");
    let clock = Arc::new(ManualClock::default());
    let settings = StoreSettings { keep_removed: Duration::from_secs(3600), ..quiet() };
    let parts = || components(Arc::new(FaultyDisk::default()), clock.clone());
    let mut store = opened(dir.path(), settings.clone(), parts).await;
    let now = 1_767_225_600_000;
    let jumps = [0, 10 * 365 * 24 * HOUR_MS, -24 * HOUR_MS, -now, i64::MAX - now, i64::MIN + now, 1, -1];
    let mut next = 1;
    for (round, jump) in jumps.into_iter().cycle().take(3 * jumps.len()).enumerate() {
        clock.0.store(i64::saturating_add(now, jump), Ordering::SeqCst);
        append(&store, payload(&spans(next..next + 10))).await;
        next += 10;
        match round % 5 {
            1 => _ = store.seal().await.expect("sealed"),
            2 => _ = store.compact().await.expect("compacted"),
            3 => {
                drop(store);
                store = opened(dir.path(), settings.clone(), parts).await;
            }
            _ => {}
        }
        let status = store.status();
        assert_eq!(ids(store.as_ref()).await, (1..next).collect::<Vec<_>>(), "{jump}");
        assert_eq!(status.last_lsn, round as u64 + 1, "requests are numbered by their order, not by the clock");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_31_spans_are_sealed_though_the_clock_was_set_back() {
    let dir = tempfile::tempdir().expect("directory");
    let clock = Arc::new(ManualClock::default());
    clock.0.store(1_767_225_600_000, Ordering::SeqCst);
    let store = opened(dir.path(), quiet(), || components(Arc::new(FaultyDisk::default()), clock.clone())).await;
    append(&store, payload(&spans(1..11))).await;
    clock.0.fetch_sub(24 * HOUR_MS, Ordering::SeqCst);
    let sealed = async {
        while store.status().table_rows != 10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), sealed).await.expect("sealed by itself");
    assert_eq!(ids(store.as_ref()).await, (1..11).collect::<Vec<_>>());
}
