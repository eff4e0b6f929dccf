//! Tables on servers that speak like S3 and Azure: what was acknowledged is there, on this machine and on another, whatever the way to the
//! object store does.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::store_support::request;
use crate::support::{Mode, ObjectStoreServer, Proxy, Server, python, shared_data};

const PATIENCE: Duration = Duration::from_secs(120);

/// The environment of a server whose table lies in `store`, reached by `way`.
fn environment(
    store: &ObjectStoreServer,
    way: std::net::SocketAddr,
    prefix: &str,
    more: &[(&str, &str)],
) -> Vec<(String, String)> {
    let mut environment = store.environment(way);
    environment.push(("SPANHOUSE_TABLE_URL".into(), store.table_url(prefix)));
    environment.extend(more.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    environment
}

fn start(folder: &Path, environment: &[(String, String)]) -> Server {
    let environment: Vec<(&str, &str)> = environment.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    Server::start_in(folder, &environment)
}

async fn number(server: &Server, query: &str) -> i64 {
    server.postgres().await.query_one(query, &[]).await.expect(query).get(0)
}

async fn figure(server: &Server, name: &str) -> i64 {
    number(server, &format!("SELECT value FROM system.store WHERE name = '{name}'")).await
}

/// Waits until all that was acknowledged is in the table.
async fn all_sealed(server: &Server) {
    let give_up = Instant::now() + PATIENCE;
    while figure(server, "fresh_rows").await > 0 {
        assert!(Instant::now() < give_up, "spans are still fresh after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn spanhouse(arguments: &[&str], environment: &[(String, String)]) -> String {
    let environment = environment.iter().filter(|(name, _)| !name.starts_with("SPANHOUSE_"));
    let output = Command::new(env!("CARGO_BIN_EXE_spanhouse"))
        .args(arguments)
        .envs(environment.map(|(name, value)| (name, value)))
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

const COUNT: &str = "SELECT count(*) FROM spans";

#[tokio::test(flavor = "multi_thread")]
async fn a_table_on_s3_outlives_its_node_and_other_programs_read_it() {
    let test = "a_table_on_s3_outlives_its_node_and_other_programs_read_it";
    let Some(data) = shared_data(test) else { return };
    let Some(store) = ObjectStoreServer::s3(test) else { return };
    let Some(python) = python(test) else { return };
    let environment = environment(&store, store.address, "a/table", &[("SPANHOUSE_SEAL_AFTER", "1s")]);
    let facts: serde_json::Value =
        serde_json::from_slice(&std::fs::read(data.join("trainticket.facts.json")).expect("facts")).expect("json");
    let (spans, traces) =
        (facts["span_count"].as_i64().expect("spans"), facts["trace_count"].as_i64().expect("traces"));

    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &environment);
    server.import_grpc(&data.join("trainticket.otlp.zst"));
    all_sealed(&server).await;
    assert_eq!(number(&server, COUNT).await, spans);
    let slowest = "SELECT trace_id FROM spans ORDER BY duration_ns DESC, trace_id LIMIT 1";
    let trace: String = server.postgres().await.query_one(slowest, &[]).await.expect("a trace").get(0);
    let of_trace = format!("SELECT count(*) FROM spans WHERE trace_id = '{trace}'");
    let trace_spans = number(&server, &of_trace).await;
    assert_eq!(figure(&server, "cache_misses").await, 0, "what was sealed here is read here");
    if let Some(counted) = server.psql(COUNT) {
        assert_eq!(counted.trim(), spans.to_string());
    }
    server.kill_9();

    // Readers of the directory, without a server and without the URL.
    let dir = folder.path().to_str().expect("a plain path");
    let counted = spanhouse(&["sql", "--data-dir", dir, "--format", "csv", COUNT], &environment);
    assert!(counted.ends_with(&format!("\n{spans}\n")), "{counted}");
    assert!(spanhouse(&["table", "--data-dir", dir], &environment).contains(&spans.to_string()));

    let elsewhere = tempfile::tempdir().expect("a folder");
    let server = start(elsewhere.path(), &environment);
    assert_eq!(number(&server, COUNT).await, spans);
    assert_eq!(number(&server, &of_trace).await, trace_spans);
    assert!(figure(&server, "cache_misses").await > 0);
    server.post_traces(request(1..101).to_vec()).await;
    server.stop();
    let server = start(elsewhere.path(), &environment);
    assert_eq!(number(&server, COUNT).await, spans + 100);
    assert_eq!(number(&server, &of_trace).await, trace_spans);
    assert_eq!(figure(&server, "cache_misses").await, 0, "a restart finds its cache");
    server.stop();

    let options: Vec<(&str, &str)> = environment.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let counted = python.run_with("count_remote.py", &[&store.table_url("a/table")], &options);
    let counted: serde_json::Value = serde_json::from_str(&counted).expect("json");
    // The hundred spans are of eleven traces.
    assert_eq!((&counted[0], &counted[2]), (&json!(spans + 100), &json!(traces + 11)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_on_azure_is_written_compacted_and_opened_elsewhere() {
    let test = "a_table_on_azure_is_written_compacted_and_opened_elsewhere";
    let Some(store) = ObjectStoreServer::azure(test) else { return };
    let environment = environment(&store, store.address, "table", &[("SPANHOUSE_SEAL_AFTER", "100ms")]);
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &environment);
    for round in 0..5 {
        server.post_traces(request(1 + round * 100..101 + round * 100).to_vec()).await;
        all_sealed(&server).await;
    }
    assert_eq!(number(&server, COUNT).await, 500);
    server.kill_9();
    let dir = folder.path().to_str().expect("a plain path");
    spanhouse(&["compact", "--data-dir", dir], &environment);
    let elsewhere = tempfile::tempdir().expect("a folder");
    let server = start(elsewhere.path(), &environment);
    assert_eq!(number(&server, COUNT).await, 500);
    assert_eq!(figure(&server, "table_files").await, 2, "a file for each of two days");
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_throttled_cut_or_absent_s3_loses_nothing_and_is_named() {
    let test = "a_slow_throttled_cut_or_absent_s3_loses_nothing_and_is_named";
    if let Some(store) = ObjectStoreServer::s3(test) {
        disturb(&store).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_throttled_cut_or_absent_azure_loses_nothing_and_is_named() {
    let test = "a_slow_throttled_cut_or_absent_azure_loses_nothing_and_is_named";
    if let Some(store) = ObjectStoreServer::azure(test) {
        disturb(&store).await;
    }
}

/// Exports while the way to the object store is slow, cut, throttled and gone, and asks for all of it afterwards.
async fn disturb(store: &ObjectStoreServer) {
    let proxy = Proxy::to(store.address);
    let settings = [("SPANHOUSE_SEAL_AFTER", "200ms"), ("SPANHOUSE_CACHE_SIZE", "0"), ("SPANHOUSE_COLUMN_CACHE", "0")];
    let environment = environment(store, proxy.address, "table", &settings);
    let folder = tempfile::tempdir().expect("a folder");
    let server = start(folder.path(), &environment);
    let mut sent = 0;
    for mode in [Mode::Slow, Mode::Cut, Mode::Throttle, Mode::Away, Mode::Pass] {
        let (before, begun) = (proxy.disturbed(), Instant::now());
        proxy.set(mode);
        while mode != Mode::Pass && (proxy.disturbed() == before || begun.elapsed() < Duration::from_secs(3)) {
            server.post_traces(request(1 + sent..51 + sent).to_vec()).await;
            sent += 50;
            assert!(begun.elapsed() < PATIENCE, "{mode:?} disturbs nothing");
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }
    all_sealed(&server).await;
    let of_all = "SELECT count(*) * 1000000 + count(DISTINCT span_id) FROM spans";
    assert_eq!(number(&server, of_all).await, (sent * 1_000_001) as i64);

    proxy.set(Mode::Away);
    let client = server.postgres().await;
    let error = client.query_one("SELECT sum(duration_ns) FROM spans", &[]).await.expect_err("the store is away");
    let error = error.as_db_error().expect("an answer");
    assert!(error.message().contains(&store.table_url("table")), "{}", error.message());
    assert_eq!(error.code().code(), "58030", "{}", error.message());
    server.post_traces(request(1 + sent..51 + sent).to_vec()).await;
    client.query_one("SELECT 1", &[]).await.expect("the server lives");
    proxy.set(Mode::Pass);
    assert_eq!(number(&server, of_all).await, ((sent + 50) * 1_000_001) as i64);
    server.kill_9();
    let server = start(folder.path(), &environment);
    assert_eq!(number(&server, of_all).await, ((sent + 50) * 1_000_001) as i64);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_table_url_is_said_at_the_start() {
    let test = "what_is_wrong_with_a_table_url_is_said_at_the_start";
    let Some(store) = ObjectStoreServer::s3(test) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().to_str().expect("a plain path");
    let serve = |url: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_spanhouse"))
            .args(["serve", "--data-dir", dir, "--table-url", url, "--postgres", "127.0.0.1:0", "--otlp-grpc", "off"])
            .args(["--otlp-http", "off"])
            .envs(store.environment(store.address))
            .output()
            .expect("it starts");
        assert!(!output.status.success(), "{url}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for (url, why) in [
        ("s3://key:hush@bucket/a", "may not hold credentials"),
        ("ftp://somewhere/a", "scheme ftp"),
        ("s3://no-such-bucket/a", "s3://no-such-bucket/a"),
    ] {
        let said = serve(url);
        assert!(said.contains(why) && !said.contains("hush"), "{url}: {said}");
    }
    assert!(serve("s3://no-such-bucket/a").contains("AWS_ACCESS_KEY_ID"));
}
