//! The shipped queries find what real traces hold.

use std::fs;

use futures::StreamExt;
use spanhouse::engine::{Engine, EngineSettings, Outcome, Session, library};
use spanhouse::otlp::{decode_export, json_to_protobuf};
use spanhouse::store::{Store, StoreSettings};
use tempfile::TempDir;

use crate::support::shared_data;

/// Spans of the sample with a `db.` attribute, counted in its JSON.
const DATABASE_SPANS: usize = 399;

/// Server spans of the sample with a method, a route or a target, counted in its JSON.
const HTTP_REQUESTS: usize = 346;

/// What the sample has nothing for: all of its spans have come, and none of its client spans repeats.
const EMPTY: &[&str] = &["incomplete_traces", "n_plus_one_suspects"];

#[tokio::test(flavor = "multi_thread")]
async fn shipped_queries_answer_real_traces() {
    let Some(shared) = shared_data("shipped_queries_answer_real_traces") else { return };
    let folder = TempDir::new().expect("folder");
    let store = Store::open(folder.path(), StoreSettings::default()).await.expect("store");
    for request in fs::read_to_string(shared.join("trainticket.sample.jsonl")).expect("data").lines() {
        let payload = json_to_protobuf(request.as_bytes()).expect("OTLP JSON");
        let batch = decode_export(&payload).expect("OTLP").batch;
        store.append(payload.into(), batch).await.expect("appended");
    }
    let session = Engine::new(store.clone(), EngineSettings::default()).expect("engine").session();
    let mut empty = Vec::new();
    for query in library() {
        if rows(&session, &query.bind(&[]).expect("bound")).await == 0 {
            empty.push(query.name);
        }
    }
    assert_eq!(empty, EMPTY);
    for (name, count, wanted) in
        [("slow_database_queries", "calls", DATABASE_SPANS), ("http_endpoints", "requests", HTTP_REQUESTS)]
    {
        let query = library().iter().find(|query| query.name == name).expect("known");
        let sql = query.bind(&[("limit", "1000")]).expect("bound");
        let check =
            format!("SELECT 1 FROM (SELECT sum({count}) AS total FROM ({sql}) AS q) AS t WHERE total = {wanted}");
        assert_eq!(rows(&session, &check).await, 1, "{name}");
    }
}

async fn rows(session: &Session, sql: &str) -> usize {
    let statements = session.prepare(sql).await.unwrap_or_else(|e| panic!("{e} in {sql}"));
    let Outcome::Rows(mut rows) = session.execute(&statements[0], &[]).await.expect("run") else {
        panic!("no query: {sql}")
    };
    let mut count = 0;
    while let Some(batch) = rows.stream.next().await {
        count += batch.expect("rows").num_rows();
    }
    count
}
