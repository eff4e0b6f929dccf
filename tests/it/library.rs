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

/// What the sample has nothing for: all of its spans have come, two minutes of few traces years ago teach nothing, no trace is named, and no span names
/// a release.
const EMPTY: &[&str] = &[
    "anomalous_traces",
    "capacity_forecast",
    "incomplete_traces",
    "latency_breakdown",
    "unlike_past_weeks",
    "what_changed_between_releases",
];

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
    let query = library().iter().find(|query| query.name == "latency_breakdown").expect("known");
    let sql = query.bind(&[("trace", "dc7db5cbec8d511cb7e08fd7c7b47c00")]).expect("bound");
    assert_eq!(rows(&session, &format!("SELECT 1 FROM ({sql}) AS q HAVING sum(calls) = 181")).await, 1);
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

/// A session over spans of one service, which are written as OTLP's JSON; they live as long as the folder.
async fn session_over(spans: &str) -> (TempDir, Session) {
    let folder = TempDir::new().expect("folder");
    let store = Store::open(folder.path(), StoreSettings::default()).await.expect("store");
    let payload =
        json_to_protobuf(format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{spans}]}}]}}]}}"#).as_bytes());
    let payload = payload.expect("OTLP JSON");
    let batch = decode_export(&payload).expect("OTLP").batch;
    store.append(payload.into(), batch).await.expect("appended");
    let session = Engine::new(store.clone(), EngineSettings::default()).expect("engine").session();
    (folder, session)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_is_a_line_whatever_names_hold() {
    let span = |id: u32, parent: &str, name: &str, us: u64| {
        let start = 1_767_268_800_000_000_000_u64;
        let end = start + us * 1_000;
        format!(
            r#"{{"traceId":"{:032x}","spanId":"{id:016x}","parentSpanId":"{parent}","name":"{name}","startTimeUnixNano":"{start}","endTimeUnixNano":"{end}"}}"#,
            1,
        )
    };
    let spans = [span(1, "", r"GET\n/a;b", 30), span(2, "0000000000000001", r"two\r\nlines 7", 10)].join(",");
    let (_folder, session) = session_over(&spans).await;
    let query = library().iter().find(|query| query.name == "flame_graph").expect("known");
    let folded = query.bind(&[]).expect("bound");
    let wanted = "ARRAY['GET /a:b 20', 'GET /a:b;two  lines 7 10']";
    let check = format!(
        "SELECT 1 FROM (SELECT array_agg(folded ORDER BY folded) AS lines FROM ({folded}) AS q) AS a WHERE a.lines = {wanted}"
    );
    assert_eq!(rows(&session, &check).await, 1);
}

/// A call tree with errors, a span a row: its id and its parent's, its name, whether it failed.
const FAILING: &[(u64, u64, &str, bool)] = &[
    (1, 0, "checkout", false),
    (2, 1, "pay", true),
    (3, 2, "charge", true),
    (4, 3, "card", false),
    (5, 4, "bank", true),
    (6, 2, "mail", true),
    // Its parent has not come.
    (8, 7, "late", true),
    // Each is above the other.
    (9, 10, "hen", true),
    (10, 9, "egg", false),
];

/// What is said of each error that began: with what, which spans failed for it, where it stopped.
const PROPAGATED: &[(&str, &str, &str)] = &[
    ("bank", "bank → charge → pay", "checkout"),
    ("hen", "hen", "nowhere"),
    ("late", "late", "nowhere"),
    ("mail", "mail → pay", "checkout"),
];

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_followed_up_and_down() {
    let spans = FAILING.iter().map(|(span, parent, name, failed)| {
        let parent = if *parent == 0 { String::new() } else { format!("{parent:016x}") };
        let start = 1_767_268_800_000_000_000 + span;
        format!(
            r#"{{"traceId":"{:032x}","spanId":"{span:016x}","parentSpanId":"{parent}","name":"{name}","startTimeUnixNano":"{start}","endTimeUnixNano":"{start}","status":{{"code":{}}}}}"#,
            1,
            if *failed { 2 } else { 0 },
        )
    });
    let (_folder, session) = session_over(&spans.collect::<Vec<_>>().join(",")).await;
    let query = library().iter().find(|query| query.name == "error_propagation").expect("known");
    for limit in [1, 3, 100] {
        let sql = query.bind(&[("limit", &limit.to_string())]).expect("bound");
        assert_eq!(rows(&session, &sql).await, PROPAGATED.len().min(limit), "{limit}");
        for (began, chain, stopped) in PROPAGATED.iter().take(limit) {
            let check = format!(
                "SELECT 1 FROM ({sql}) AS q WHERE origin_name = '{began}' AND replace(chain, 'unknown_service: ', '') = '{chain}'
                 AND coalesce(stopped_at, 'unknown_service: nowhere') = 'unknown_service: {stopped}' AND reached_root = 0"
            );
            assert_eq!(rows(&session, &check).await, 1, "{began} of {limit}");
        }
    }
}
