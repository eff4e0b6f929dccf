//! Trees of traces against `tests/clients/span_trees.py`, which makes them from their definitions with networkx and numpy, and how traces are
//! chosen for them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt;
use spanhouse::engine::{Engine, EngineSettings, Outcome};
use spanhouse::otlp::json_to_protobuf;
use spanhouse::store::Store;

use crate::store_support::{append, open_uncompacted};
use crate::support::{Server, python, shared_data};

/// Keeps the requests of a file, a request a line; seals before the last few, and once between.
async fn keep(store: &Arc<Store>, file: &Path) {
    let text = fs::read_to_string(file).expect("data");
    let requests: Vec<&str> = text.lines().collect();
    for (number, request) in requests.iter().enumerate() {
        append(store, json_to_protobuf(request.as_bytes()).expect("OTLP JSON").into()).await.expect("kept");
        if number == requests.len() / 3 || number == requests.len() * 2 / 3 {
            store.seal().await.expect("sealed");
        }
    }
}

fn drawn_by_hand() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/trees.jsonl")
}

#[tokio::test(flavor = "multi_thread")]
async fn trees_are_those_that_another_program_makes() {
    const TEST: &str = "trees_are_those_that_another_program_makes";
    let Some(python) = python(TEST) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_uncompacted(folder.path()).await;
    keep(&store, &drawn_by_hand()).await;
    let shared = shared_data(TEST);
    if let Some(shared) = &shared {
        keep(&store, &shared.join("trainticket.sample.jsonl")).await;
    }
    store.close().await.expect("closed");
    drop(store);
    let server = Server::start_in(folder.path(), &[]);
    let said = python.run("span_trees.py", &[server.postgres_port()]);
    let wanted = if shared.is_some() { "2037 spans of 39 traces" } else { "39 spans of 10 traces" };
    assert!(said.contains(wanted), "{said}");
}

/// Every operator of a statement with what it says of itself after it ran.
async fn explained(engine: &Arc<Engine>, sql: &str) -> String {
    let session = engine.session();
    let statement = session.prepare(&format!("EXPLAIN ANALYZE {sql}")).await.expect("a statement").remove(0);
    let Outcome::Rows(rows) = session.execute(&statement, &[]).await.expect("started") else { return String::new() };
    let batches: Vec<_> = rows.stream.try_collect().await.expect("rows");
    datafusion::arrow::util::pretty::pretty_format_batches(&batches).expect("shown").to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_traces_that_are_wanted_are_read() {
    let Some(shared) = shared_data("only_traces_that_are_wanted_are_read") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_uncompacted(folder.path()).await;
    keep(&store, &shared.join("trainticket.sample.jsonl")).await;
    store.seal().await.expect("sealed");
    let engine = Engine::new(store.clone(), EngineSettings::default()).expect("an engine");

    const ALL: &str = "output_rows=2.00 K";
    let deepest = "SELECT max(depth) FROM span_tree WHERE";
    let all = explained(&engine, "SELECT count(*) FROM span_tree WHERE is_orphan").await;
    assert!(all.contains("TraceTreeExec: made=[is_orphan], metrics=[output_rows=2.00 K"), "{all}");
    let trace = "0b7e4e4652d169ae7b98f16f7572f121";
    let named = explained(&engine, &format!("{deepest} trace_id = '{trace}'")).await;
    assert!(named.contains("TraceTreeExec") && !named.contains(ALL), "{named}");
    // The join says which traces it wants when it has read one side.
    let chosen = "SELECT trace_id FROM spans WHERE status_code = 'ERROR' ORDER BY trace_id LIMIT 1";
    let joined = explained(&engine, &format!("{deepest} trace_id IN ({chosen})")).await;
    let trees = joined.split("TraceTreeExec").nth(1).expect("trees");
    assert!(!trees.contains(ALL), "{joined}");
    // An hour of a day that has no other is no small part of it; a second of it is.
    let second = "timestamp >= '2023-01-29 08:43:35' AND timestamp < '2023-01-29 08:43:36'";
    let in_time = explained(&engine, &format!("{deepest} {second}")).await;
    assert!(in_time.contains("RightSemi") && in_time.contains("SortExec"), "{in_time}");
    // A trace's tree is made where a column of it is asked for, and then groups are those of the trees' rows.
    let sizes = explained(&engine, "SELECT trace_id, span_count, services, complete, parallelism FROM traces").await;
    assert!(!sizes.contains("TraceTreeExec"), "{sizes}");
    let paths = explained(&engine, "SELECT trace_id, critical_path, max_depth FROM traces").await;
    let (groups, trees) = (paths.find("TraceAggregateExec"), paths.find("TraceTreeExec"));
    assert!(groups.is_some() && groups < trees, "{paths}");
    let plain = explained(&engine, "SELECT count(*) FROM span_tree WHERE service_name = 'ts-seat-service'").await;
    assert!(!plain.contains("Trace"), "{plain}");
}
