//! What a server says of itself over HTTP, read as strictly as Prometheus reads it, against what was sent.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message;

use crate::otlp_server::{HttpAnswer, request, request_of, send, span};
use crate::support::Server;

async fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> HttpAnswer {
    ask(server, "GET", path, headers).await
}

async fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)]) -> HttpAnswer {
    let client = Client::builder(TokioExecutor::new()).build_http();
    send(client, method, format!("{}{path}", server.admin_url()), headers, Vec::new()).await
}

fn text_of(answer: &HttpAnswer) -> String {
    String::from_utf8(answer.body.to_vec()).expect("UTF-8")
}

/// Samples by name and labels, as they stand.
type Samples = BTreeMap<String, f64>;

/// Reads OpenMetrics 1.0 text; panics at the first line that is not as the specification has it.
fn strictly(text: &str) -> Samples {
    let body = text.strip_suffix("# EOF\n").expect("it ends with EOF");
    let (mut samples, mut seen) = (Samples::new(), HashSet::new());
    let (mut family, mut kind, mut has_help) = (String::new(), String::new(), false);
    let mut buckets: HashMap<String, f64> = HashMap::new();
    for line in body.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            let (name, help) = help.split_once(' ').expect("a help");
            assert!(seen.insert(name.to_owned()), "{name} comes twice");
            assert!(!help.is_empty() && is_name(name), "{line}");
            (family, has_help) = (name.to_owned(), true);
            continue;
        }
        if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, of) = of.split_once(' ').expect("a type");
            assert!(has_help && name == family, "{line} does not follow its help");
            assert!(matches!(of, "counter" | "gauge" | "histogram" | "info"), "{line}");
            (kind, has_help) = (of.to_owned(), false);
            continue;
        }
        let (key, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line} has no value"));
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line} has no number"));
        let (name, labels) = key.split_once('{').map_or((key, None), |(name, labels)| (name, Some(labels)));
        for label in labels.iter().flat_map(|labels| labels.strip_suffix('}').expect("closed").split(',')) {
            let (label, value) = label.split_once("=\"").expect("a label");
            assert!(
                is_name(label) && value.ends_with('"') && !value[..value.len() - 1].contains(['"', '\\']),
                "{line}"
            );
        }
        let suffix = name.strip_prefix(family.as_str()).unwrap_or_else(|| panic!("{line} stands below {family}"));
        match (kind.as_str(), suffix) {
            ("counter", "_total") => assert!(value >= 0.0, "{line}"),
            ("gauge", "") | ("histogram", "_sum" | "_count") => {}
            ("info", "_info") => assert_eq!(value, 1.0, "{line}"),
            ("histogram", "_bucket") => {
                let before = buckets.insert(family.clone(), value).unwrap_or(0.0);
                assert!(value >= before, "{line} counts less than the bucket before");
                if key.contains("le=\"+Inf\"") {
                    assert_eq!(samples[&format!("{family}_count")], value, "{line}");
                }
            }
            _ => panic!("{line} is no {kind}"),
        }
        assert!(samples.insert(key.to_owned(), value).is_none(), "{key} comes twice");
    }
    samples
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

async fn scrape(server: &Server) -> Samples {
    let answer = get(server, "/metrics", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    strictly(&text_of(&answer))
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_was_sent_and_asked() {
    let server = Server::start();
    let before = scrape(&server).await;
    assert_eq!(before["spanhouse_ingest_accepted_spans_total"], 0.0);
    let requests = [request(vec![span(1), span(2)]), request(vec![span(3)])];
    let bytes: usize = requests.iter().map(Vec::len).sum();
    for request in requests {
        server.post_traces(request).await;
    }
    let mut bad = span(4);
    bad.trace_id = vec![1, 2];
    let mixed = request_of("shop", vec![bad, span(5)]).encode_to_vec();
    let mixed_bytes = mixed.len();
    assert!(server.try_post_traces(mixed).await);
    assert!(!server.try_post_traces(b"no protobuf".to_vec()).await);

    let client = server.postgres().await;
    let spans: i64 = client.query_one("SELECT count(*) FROM spans", &[]).await.expect("a count").get(0);
    assert_eq!(spans, 4);
    for wrong in ["SELECT nothing FROM spans", "SELECT CAST('x' AS integer)"] {
        client.simple_query(wrong).await.expect_err("a mistake");
    }

    let now = scrape(&server).await;
    let of = |name: &str| now[name] - before.get(name).copied().unwrap_or(0.0);
    assert_eq!(of("spanhouse_ingest_accepted_requests_total"), 3.0);
    assert_eq!(of("spanhouse_ingest_accepted_spans_total"), 4.0);
    assert_eq!(of("spanhouse_ingest_accepted_bytes_total"), (bytes + mixed_bytes) as f64);
    assert_eq!(of("spanhouse_ingest_refused_spans_total{reason=\"trace_id\"}"), 1.0);
    assert_eq!(of("spanhouse_ingest_refused_requests_total{reason=\"bad_input\"}"), 1.0);
    assert_eq!(of("spanhouse_ingest_acknowledgement_seconds_count"), 3.0);
    assert_eq!(now["spanhouse_fresh_spans"], 4.0);
    assert_eq!(now["spanhouse_sessions"], 1.0);
    assert_eq!(of("spanhouse_statements_failed_total{class=\"42\"}"), 1.0);
    assert_eq!(of("spanhouse_statements_failed_total{class=\"22\"}"), 1.0);
    assert!(now["spanhouse_log_bytes"] as usize > bytes && now["spanhouse_log_segments"] == 1.0);
    assert!(now["process_resident_memory_bytes"] > 1e6 && now["spanhouse_query_memory_limit_bytes"] > 1e6);
    assert!(now.keys().any(|key| key.starts_with("spanhouse_build_info{version=")));

    // SQL tells the same.
    let asked = "SELECT sum(count) FROM system.ingest WHERE what = 'spans' AND outcome = 'accepted'";
    let accepted: i64 = client.query_one(asked, &[]).await.expect("a count").get(0);
    assert_eq!(accepted as f64, now["spanhouse_ingest_accepted_spans_total"]);
    let failed: i64 = client
        .query_one("SELECT value FROM system.engine WHERE name = 'failed_statements'", &[])
        .await
        .expect("a figure")
        .get(0);
    assert_eq!(failed, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_tells_that_it_lives_and_is_ready() {
    let server = Server::start();
    assert_eq!(text_of(&get(&server, "/healthz", &[]).await), "ok\n");
    let plain = get(&server, "/readyz", &[]).await;
    assert_eq!((plain.status, text_of(&plain).as_str()), (200, "ready\n"));
    let json = get(&server, "/readyz", &[("accept", "application/json")]).await;
    assert_eq!(json.json(), serde_json::json!({ "ready": true, "reasons": [] }));
    let status = get(&server, "/status", &[]).await.json();
    assert_eq!((&status["ready"], &status["figures"]["spanhouse_fresh_spans"]), (&true.into(), &0.0.into()));
    assert_eq!(ask(&server, "HEAD", "/healthz", &[]).await.body.len(), 0);
    assert_eq!(ask(&server, "POST", "/metrics", &[]).await.status, 405);
    assert_eq!(get(&server, "/etc/passwd", &[]).await.status, 404);
}

/// A log that takes nothing more: the directory of its segments has gone while the server runs, so that the next one cannot be made.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_log_has_failed_is_not_ready_before_it_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(folder.path(), &[]);
    assert_eq!(get(&server, "/readyz", &[]).await.status, 200);
    std::fs::remove_dir_all(folder.path().join("wal")).expect("removed");
    assert!(!server.try_post_traces(request(vec![span(1)])).await);
    // The process ends by itself with exit code 4; until then it says why.
    let give_up = Instant::now() + Duration::from_secs(60);
    while let Some(status) = readiness(&server.admin_url()).await {
        assert_eq!(status, 503);
        assert!(Instant::now() < give_up, "the server neither ends nor says that it is not ready");
    }
    assert_eq!(server.exit_code(), Some(4));
    assert!(Path::new(folder.path()).is_dir());
}

/// The status of `/readyz`; `None` once nobody listens.
async fn readiness(url: &str) -> Option<u16> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = http::Request::get(format!("{url}/readyz"));
    let request = request.body(http_body_util::Full::<bytes::Bytes>::default()).expect("a request");
    client.request(request).await.ok().map(|answer| answer.status().as_u16())
}
