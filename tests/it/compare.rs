//! `compare` and `trace_diff` against `tests/clients/compare.py`, which counts raw spans and asks scipy what that means; and what they read.

use std::fs;
use std::sync::Arc;

use futures::TryStreamExt;
use spanhouse::engine::{Engine, EngineSettings, Outcome};
use spanhouse::otlp::json_to_protobuf;

use crate::store_support::{append, open_uncompacted, request};
use crate::support::{Server, python, shared_data};

#[tokio::test(flavor = "multi_thread")]
async fn differences_are_those_that_another_program_finds() {
    const TEST: &str = "differences_are_those_that_another_program_finds";
    let (Some(python), Some(shared)) = (python(TEST), shared_data(TEST)) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_uncompacted(folder.path()).await;
    let text = fs::read_to_string(shared.join("trainticket.sample.jsonl")).expect("data");
    let requests: Vec<&str> = text.lines().collect();
    for (number, request) in requests.iter().enumerate() {
        append(&store, json_to_protobuf(request.as_bytes()).expect("OTLP JSON").into()).await.expect("kept");
        if number == requests.len() / 2 {
            store.seal().await.expect("sealed");
        }
    }
    store.close().await.expect("closed");
    drop(store);
    let server = Server::start_in(folder.path(), &[]);
    let said = python.run("compare.py", &[server.postgres_port()]);
    assert!(said.contains("1998 spans"), "{said}");
}

/// What a statement would do, as EXPLAIN tells it.
async fn plan_of(engine: &Arc<Engine>, sql: &str) -> String {
    let statement = engine.session().prepare(&format!("EXPLAIN {sql}")).await.expect("a statement").remove(0);
    let Outcome::Rows(rows) = engine.session().execute(&statement, &[]).await.expect("started") else {
        panic!("no rows")
    };
    let batches: Vec<_> = rows.stream.try_collect().await.expect("rows");
    datafusion::arrow::util::pretty::pretty_format_batches(&batches).expect("shown").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_read_once_and_trees_made_only_for_paths() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_uncompacted(folder.path()).await;
    append(&store, request(1..50)).await.expect("kept");
    let engine = Engine::new(store.clone(), EngineSettings::default()).expect("an engine");
    let plain = plan_of(&engine, "SELECT * FROM compare(duration_ms > 1, since => '2026-01-01 10:00')").await;
    assert_eq!(plain.matches("TableScan").count(), 1, "{plain}");
    assert!(plain.contains("start_ns >= Int64(1767261600000000000)") && !plain.contains("TraceTreeExec"), "{plain}");
    let paths = plan_of(&engine, "SELECT * FROM compare(duration_ms > 1, with_paths => true)").await;
    assert_eq!(paths.matches("TraceTreeExec").count(), 1, "{paths}");
}
