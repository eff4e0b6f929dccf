//! SQL over fresh spans: the shipped questions, and quantiles of few and many groups; and over stored ones, questions about whole traces.

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
/// Requests that are in files, sealed as many at a time: of their 20,000 traces more are asked for than are looked up one by one.
const STORED_REQUESTS: u64 = 8 * REQUESTS;
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

/// What is asked of traces as wholes, over files.
pub fn whole_traces(criterion: &mut Criterion) {
    let bed = Bed::stored();
    let mut group = criterion.benchmark_group("whole_traces");
    group.sample_size(10);
    let questions = [
        (
            "beside_quick_spans",
            "SELECT service_name, span_name, count(*), count(DISTINCT trace_id), avg(duration_ms) FROM spans
             WHERE trace_id IN (SELECT trace_id FROM spans WHERE duration_ns < 500000) GROUP BY 1, 2",
        ),
        (
            "repeated_calls",
            "SELECT service_name, span_name, count(*), max(calls) FROM (
                 SELECT trace_id, parent_span_id, service_name, span_name, count(*) AS calls FROM spans
                 GROUP BY trace_id, parent_span_id, service_name, span_name HAVING count(*) >= 2) AS repeated GROUP BY 1, 2",
        ),
    ];
    for (name, sql) in questions {
        group.bench_function(name, |bencher| bencher.iter(|| bed.run(sql)));
    }
}

/// What is asked of attributes, over files whose columns are in memory.
pub fn attributes(criterion: &mut Criterion) {
    let bed = Bed::stored();
    let mut group = criterion.benchmark_group("attributes");
    group.sample_size(10);
    let questions = [
        ("a_number", "SELECT service_name, count(*) FROM spans WHERE attributes['span.code'] >= 500 GROUP BY 1"),
        ("grouped", "SELECT attributes['span.key.1'], count(*), avg(duration_ms) FROM spans GROUP BY 1"),
        (
            "a_rare_value",
            "SELECT span_id FROM spans WHERE attributes['span.key.2'] = 'value 299' ORDER BY timestamp LIMIT 100",
        ),
        (
            "slowest",
            "SELECT span_id, span_name FROM spans WHERE span_kind = 'SERVER' ORDER BY duration_ns DESC, span_id LIMIT 20",
        ),
    ];
    for (name, sql) in questions {
        group.bench_function(name, |bencher| bencher.iter(|| bed.run(sql)));
    }
}

/// An engine over spans.
pub struct Bed {
    runtime: Runtime,
    engine: Arc<Engine>,
    _folder: TempDir,
}

impl Bed {
    /// Of fresh spans.
    pub fn new() -> Self {
        Self::filled(REQUESTS, false)
    }

    /// Of spans in files.
    fn stored() -> Self {
        Self::filled(STORED_REQUESTS, true)
    }

    fn filled(requests: u64, is_sealed: bool) -> Self {
        let runtime = Runtime::new().expect("runtime");
        let folder = TempDir::new().expect("folder");
        let engine = runtime.block_on(async {
            let store = Store::open(folder.path(), StoreSettings::default()).await.expect("store");
            for n in 0..requests {
                let payload = request(n, SPANS);
                let batch = decode_export(&payload).expect("OTLP").batch;
                store.append(payload, batch).await.expect("appended");
                if is_sealed && (n + 1) % REQUESTS == 0 {
                    store.seal().await.expect("sealed");
                }
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
