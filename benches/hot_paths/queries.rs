//! SQL over fresh spans: the shipped questions, and quantiles of few and many groups.

use std::sync::Arc;

use criterion::Criterion;
use futures::StreamExt;
use spanhouse::engine::{Engine, EngineSettings, Outcome, library};
use spanhouse::otlp::decode_export;
use spanhouse::store::{Store, StoreSettings};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::requests::request;

/// Requests that the questions run over.
const REQUESTS: u64 = 50;
/// Spans of each.
const SPANS: u64 = 2_000;

/// Each shipped question with its defaults.
pub fn queries(criterion: &mut Criterion) {
    let bed = Bed::new();
    let mut group = criterion.benchmark_group("queries");
    group.sample_size(10);
    for query in library() {
        let sql = query.bind(&[]).expect("defaults");
        group.bench_function(query.name, |bencher| bencher.iter(|| bed.run(&sql)));
    }
}

/// Ours, few groups and many.
pub fn quantile(criterion: &mut Criterion) {
    let bed = Bed::new();
    let mut group = criterion.benchmark_group("quantile");
    group.sample_size(10);
    for (name, modulus) in [("one_group", 1), ("10000_groups", 10_000)] {
        let sql = format!(
            "SELECT max(q) FROM (SELECT quantile(0.95)(sqrt(value)) AS q FROM generate_series(1, 1000000) GROUP BY value % {modulus})"
        );
        group.bench_function(name, |bencher| bencher.iter(|| bed.run(&sql)));
    }
}

/// An engine over fresh spans.
pub struct Bed {
    runtime: Runtime,
    engine: Arc<Engine>,
    _folder: TempDir,
}

impl Bed {
    pub fn new() -> Self {
        let runtime = Runtime::new().expect("runtime");
        let folder = TempDir::new().expect("folder");
        let engine = runtime.block_on(async {
            let store = Store::open(folder.path(), StoreSettings::default()).await.expect("store");
            for n in 0..REQUESTS {
                let payload = request(n, SPANS);
                let batch = decode_export(&payload).expect("OTLP").batch;
                store.append(payload, batch).await.expect("appended");
            }
            Engine::new(store, EngineSettings::default()).expect("engine")
        });
        Self { runtime, engine, _folder: folder }
    }

    /// The rows of a statement.
    pub fn run(&self, sql: &str) -> usize {
        self.runtime.block_on(async {
            let session = self.engine.session();
            let statement = session.prepare(sql).await.expect("prepared").remove(0);
            let Outcome::Rows(mut rows) = session.execute(&statement, &[]).await.expect("started") else { return 0 };
            let mut count = 0;
            while let Some(batch) = rows.stream.next().await {
                count += batch.expect("rows").num_rows();
            }
            count
        })
    }
}
