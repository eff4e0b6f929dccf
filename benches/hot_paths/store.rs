//! The store: a request into the log and among the fresh spans; fresh spans into the table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use spanhouse::model::SpanBatch;
use spanhouse::otlp::decode_export;
use spanhouse::store::{Store, StoreSettings};
use tokio::runtime::Runtime;

use crate::requests::request;

const SPANS_OF_REQUEST: u64 = 500;
const SPANS_OF_SEALING: u64 = 100_000;

/// One request after the other, and eight at a time that share syncs.
pub fn wal_append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wal_append");
    group.throughput(Throughput::Elements(SPANS_OF_REQUEST));
    for senders in [1, 8] {
        group.bench_function(format!("{senders}_senders"), |bencher| {
            let (runtime, mut next) = (runtime(), 0);
            bencher.iter_custom(|count| {
                let dir = tempfile::tempdir().expect("directory");
                let requests: Vec<_> = (next..next + count).map(decoded).collect();
                next += count;
                runtime.block_on(async { append_all(open(dir.path()).await, requests, senders).await })
            });
        });
    }
    group.finish();
}

/// Sorting, encoding, syncing and committing what is fresh.
pub fn seal(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal");
    group.sample_size(10).throughput(Throughput::Elements(SPANS_OF_SEALING));
    group.bench_function("100k_spans", |bencher| {
        let runtime = runtime();
        bencher.iter_custom(|count| {
            let dir = tempfile::tempdir().expect("directory");
            runtime.block_on(async {
                let store = open(dir.path()).await;
                let mut spent = Duration::ZERO;
                for round in 0..count {
                    let first = round * SPANS_OF_SEALING / SPANS_OF_REQUEST;
                    let requests = (first..first + SPANS_OF_SEALING / SPANS_OF_REQUEST).map(decoded).collect();
                    append_all(store.clone(), requests, 8).await;
                    let begun = Instant::now();
                    store.seal().await.expect("sealed");
                    spent += begun.elapsed();
                }
                spent
            })
        });
    });
    group.finish();
}

async fn append_all(store: Arc<Store>, requests: Vec<(bytes::Bytes, SpanBatch)>, senders: usize) -> Duration {
    let begun = Instant::now();
    let share = requests.len().div_ceil(senders).max(1);
    let tasks: Vec<_> = requests
        .chunks(share)
        .map(|share| {
            let (store, share) = (store.clone(), share.to_vec());
            tokio::spawn(async move {
                for (payload, batch) in share {
                    store.append(payload, batch).await.expect("kept");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a sender that ends well");
    }
    begun.elapsed()
}

fn decoded(number: u64) -> (bytes::Bytes, SpanBatch) {
    let payload = request(number, SPANS_OF_REQUEST);
    let batch = decode_export(&payload).expect("spans").batch;
    (payload, batch)
}

async fn open(dir: &std::path::Path) -> Arc<Store> {
    let settings = StoreSettings { fresh_budget_bytes: 4 << 30, seal_rows: usize::MAX, ..StoreSettings::default() };
    Store::open(dir, settings).await.expect("a store")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime")
}
