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

/// Every span once: their number, and that of their ids.
const OF_ALL: &str = "SELECT count(*), count(DISTINCT span_id), sum(duration_ns)::bigint FROM spans";

/// What is to be found of the spans of a `request`.
fn of(ids: impl Iterator<Item = u64>) -> (i64, i64) {
    ids.fold((0, 0), |(spans, duration_ns), id| (spans + 1, duration_ns + id as i64 * 1000))
}

/// The number of spans and the sum of their durations; no span may be there twice.
async fn all_of(client: &tokio_postgres::Client) -> Result<(i64, i64), tokio_postgres::Error> {
    let row = client.query_one(OF_ALL, &[]).await?;
    let (spans, ids) = (row.get::<_, i64>(0), row.get::<_, i64>(1));
    assert_eq!(spans, ids, "spans that are there twice");
    Ok((spans, row.get::<_, Option<i64>>(2).unwrap_or_default()))
}

/// Asks until these spans are there and no others.
async fn until_seen(server: &Server, ids: impl Iterator<Item = u64>) {
    let (client, expected, give_up) = (server.postgres().await, of(ids), Instant::now() + PATIENCE);
    loop {
        let found = all_of(&client).await.expect("an answer");
        if found == expected {
            return;
        }
        assert!(Instant::now() < give_up, "{found:?} after {PATIENCE:?} in the place of {expected:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_lost_is_missed_by_its_log_only_and_shares_the_table_on_s3_when_it_is_found() {
    let test = "a_node_that_is_lost_is_missed_by_its_log_only_and_shares_the_table_on_s3_when_it_is_found";
    let Some(store) = ObjectStoreServer::s3(test) else { return };
    let proxy = Proxy::to(store.address);
    let settings = [("SPANHOUSE_SEAL_AFTER", "200ms")];
    let [by_proxy, direct] = [proxy.address, store.address].map(|way| environment(&store, way, "shared", &settings));
    let [folder, elsewhere] = [(); 2].map(|()| tempfile::tempdir().expect("a folder"));
    let lost = start(folder.path(), &by_proxy);
    lost.post_traces(request(1..51).to_vec()).await;
    all_sealed(&lost).await;
    // Out of reach of the bucket it acknowledges all the same; then its machine is gone.
    proxy.set(Mode::Away);
    lost.post_traces(request(51..101).to_vec()).await;
    lost.kill_9();

    let log = elsewhere.path().join("log of events");
    let pairs: Vec<(&str, &str)> = direct.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let other = Server::start_logging(elsewhere.path(), &pairs, std::fs::File::create(&log).expect("a file"));
    until_seen(&other, 1..51).await;
    let node = std::fs::read_to_string(folder.path().join("node")).expect("the node's id");
    let said = std::fs::read_to_string(&log).expect("a log of events");
    let is_said = |line: &str| {
        line.contains(&node) && line.contains("spans that it acknowledged later are in its data directory only")
    };
    assert!(said.lines().any(is_said), "{said}");
    other.post_traces(request(101..151).to_vec()).await;
    all_sealed(&other).await;

    // Its disk is found again. From now on each reads what the other writes, fresh here and stored there, and merges its files.
    let found = start(folder.path(), &direct);
    until_seen(&found, 1..151).await;
    until_seen(&other, 1..151).await;
    for first in [151, 251, 351, 451] {
        found.post_traces(request(first..first + 50).to_vec()).await;
        other.post_traces(request(first + 50..first + 100).to_vec()).await;
        until_seen(&found, 1..first + 100).await;
        until_seen(&other, 1..first + 100).await;
    }
    found.stop();
    other.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_on_copies_of_a_directory_the_one_that_comes_late_to_s3_ends() {
    let test = "of_two_servers_on_copies_of_a_directory_the_one_that_comes_late_to_s3_ends";
    let Some(store) = ObjectStoreServer::s3(test) else { return };
    let environment = environment(&store, store.address, "copied", &[("SPANHOUSE_SEAL_AFTER", "200ms")]);
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let first = start(folders[0].path(), &environment);
    first.post_traces(request(1..51).to_vec()).await;
    all_sealed(&first).await;
    for name in ["node", "table-url"] {
        std::fs::copy(folders[0].path().join(name), folders[1].path().join(name)).expect("a copy");
    }
    let second = start(folders[1].path(), &environment);
    second.post_traces(request(101..151).to_vec()).await;
    all_sealed(&second).await;
    // It may have seen what the second did before it is asked: then it is gone, and has acknowledged nothing more.
    let is_acknowledged = first.try_post_traces(request(51..101).to_vec()).await;
    assert_eq!(first.exit_code(), Some(3), "another process commits in its name");

    second.post_traces(request(151..201).to_vec()).await;
    all_sealed(&second).await;
    let third = start(folders[2].path(), &environment);
    until_seen(&third, (1..51).chain(101..201)).await;
    // What the first acknowledged last is where the documentation says: in its log.
    let left = std::fs::read_dir(folders[0].path().join("wal")).expect("a log").flatten();
    let left = left.map(|segment| segment.metadata().expect("a file").len()).sum::<u64>();
    assert!(left > 1_000 || !is_acknowledged, "{left} bytes");
    third.stop();
    second.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_on_a_slow_cut_or_throttled_way_are_right_or_say_what_is_wrong() {
    let test = "statements_on_a_slow_cut_or_throttled_way_are_right_or_say_what_is_wrong";
    for store in [ObjectStoreServer::s3(test), ObjectStoreServer::azure(test)].into_iter().flatten() {
        let proxy = Proxy::to(store.address);
        let settings =
            [("SPANHOUSE_SEAL_AFTER", "100ms"), ("SPANHOUSE_CACHE_SIZE", "0"), ("SPANHOUSE_COLUMN_CACHE", "0")];
        let environment = environment(&store, proxy.address, "asked", &settings);
        let folder = tempfile::tempdir().expect("a folder");
        let server = start(folder.path(), &environment);
        for round in 0..5 {
            server.post_traces(request(1 + round * 2_000..2_001 + round * 2_000).to_vec()).await;
            all_sealed(&server).await;
        }
        let client = server.postgres().await;
        for mode in [Mode::Slow, Mode::Cut, Mode::Throttle] {
            let (before, give_up) = (proxy.disturbed(), Instant::now() + PATIENCE);
            let mut right = 0;
            proxy.set(mode);
            let mut asking = std::pin::pin!(async {
                while proxy.disturbed() == before || right == 0 {
                    match all_of(&client).await {
                        Ok(found) => {
                            assert_eq!(found, of(1..10_001), "{mode:?}");
                            right += 1;
                        }
                        Err(error) => {
                            let error = error.as_db_error().expect("an answer of the server");
                            assert_eq!(error.code().code(), "58030", "{mode:?}: {}", error.message());
                            assert!(error.message().contains(&store.table_url("asked")), "{}", error.message());
                        }
                    }
                    assert!(Instant::now() < give_up, "{mode:?}: no answer, or nothing was disturbed");
                }
            });
            // A way that is merely slow stays so; the others become better while the statement tries again.
            tokio::select! {
                () = &mut asking => {}
                () = tokio::time::sleep(Duration::from_secs(3)), if mode != Mode::Slow => {
                    proxy.set(Mode::Pass);
                    asking.await;
                }
            }
            proxy.set(Mode::Pass);
        }
        server.stop();
    }
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
            .args(["--otlp-http", "off", "--admin-listen", "off"])
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
