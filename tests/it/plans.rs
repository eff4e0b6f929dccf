//! A statement has one plan, however the hash maps of an engine and a session are seeded.
//!
//! `SPANHOUSE_PLANS=2000 cargo test --test it -- plans` looks at so many engines.

use std::sync::Arc;

use datafusion::arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use spanhouse::engine::{Engine, EngineSettings, Outcome};
use spanhouse::store::Store;

use crate::store_support::{append, open, request};

/// Enough to meet an order that one in five maps has.
const ENGINES: usize = 12;

const STATEMENTS: [&str; 8] = [
    "SELECT quantile(0.999)(duration_ms) FROM traces.spans",
    "SELECT service_name, count(*), sum(duration_ns), quantile(0.5)(duration_ms), quantile(0.9)(duration_ms) FROM spans GROUP BY 1 ORDER BY 2 DESC",
    "SELECT * FROM service_edges ORDER BY calls DESC LIMIT 5",
    "SELECT trace_id, duration_ms, root_name, services FROM traces.traces WHERE error_count = 0 ORDER BY duration_ms DESC LIMIT 5",
    "SELECT span_name, attributes['http.route'] AS route, count(DISTINCT trace_id), avg(duration_ms) FROM spans WHERE attributes['http.status_code'] >= 500 GROUP BY 1, 2",
    "SELECT event_name, count(*) FROM events WHERE span_timestamp > '2026-01-01' GROUP BY 1",
    "SELECT c.span_id FROM spans c LEFT JOIN spans p ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id WHERE p.span_id IS NULL",
    "SELECT span_id, duration_ms, lag(duration_ms) OVER (PARTITION BY service_name ORDER BY timestamp) FROM spans WHERE span_name = 'operation 3' ORDER BY timestamp DESC LIMIT 10",
];

#[tokio::test(flavor = "multi_thread")]
async fn plans_are_the_same_in_every_engine() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open(dir.path()).await;
    append(&store, request(1..2_000)).await.expect("kept");
    store.seal().await.expect("sealed");
    append(&store, request(2_000..2_500)).await.expect("kept");
    let engines = std::env::var("SPANHOUSE_PLANS").map_or(ENGINES, |engines| engines.parse().expect("a number"));
    let first = plans(&store).await;
    assert!(first[0].contains("/ Float64(1000000)") || first[0].contains("/ 1000000"), "{}", first[0]);
    for engine in 1..engines {
        for (plan, first) in plans(&store).await.iter().zip(&first) {
            assert_eq!(plan, first, "engine {engine}");
        }
    }
}

/// What a new engine plans, in a first session and in a second one.
async fn plans(store: &Arc<Store>) -> Vec<String> {
    let engine = Engine::new(store.clone(), EngineSettings::default()).expect("an engine");
    let first = of_session(&engine).await;
    assert_eq!(of_session(&engine).await, first, "a second session");
    first
}

async fn of_session(engine: &Arc<Engine>) -> Vec<String> {
    let session = engine.session();
    let mut plans = Vec::new();
    for statement in STATEMENTS {
        let statement = session.prepare(&format!("EXPLAIN {statement}")).await.expect("a statement").remove(0);
        let Outcome::Rows(rows) = session.execute(&statement, &[]).await.expect("a plan") else { panic!("no rows") };
        let batches: Vec<_> = rows.stream.try_collect().await.expect("rows");
        plans.push(pretty_format_batches(&batches).expect("text").to_string());
    }
    plans
}
