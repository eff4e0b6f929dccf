//! A server that takes spans, seals, merges, expires and answers, again and again, on ever new connections: what it holds does not grow with what
//! it has done. `benches/sustained.py` soaks a server for as long as one likes.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::support::Server;

/// Rounds until everything was opened once that stays open.
const WARMING_ROUNDS: u64 = 8;
const ROUNDS: u64 = 40;
/// Spans of a round that stay, and as many that have expired before they come.
const SPANS: u64 = 300;
/// What sealing and merging may take on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(120);
/// Threads come and go with blocking work, and so do connections that the runtime has not closed yet.
const SLACK: usize = 12;
const QUESTIONS: [&str; 5] = [
    "SELECT span_name, count(*), quantile(0.95)(duration_ms) FROM spans GROUP BY 1 ORDER BY 1",
    "SELECT count(*) FROM spans c JOIN spans p ON p.trace_id = c.trace_id AND p.span_id = c.parent_span_id",
    "SELECT max(depth), count(*) FROM traces.span_tree",
    "SELECT * FROM spans WHERE trace_id = '00000000000000000000000000000001'",
    "SELECT * FROM service_map()",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_holds_does_not_grow_with_what_it_has_done() {
    let folder = tempfile::tempdir().expect("a folder");
    let environment =
        [("SPANHOUSE_SEAL_AFTER", "100ms"), ("SPANHOUSE_RETENTION", "1h"), ("SPANHOUSE_KEEP_REMOVED", "0s")];
    let server = Server::start_in(folder.path(), &environment);
    let mut warm = None;
    for round in 1..=ROUNDS {
        server.post_traces(spans(round)).await;
        let client = server.postgres().await;
        for question in QUESTIONS {
            client.simple_query(question).await.unwrap_or_else(|error| panic!("{question}: {error}"));
        }
        let kept: i64 = client.query_one("SELECT count(*) FROM spans", &[]).await.expect("a count").get(0);
        assert_eq!(kept, i64::try_from(round * SPANS).expect("few"), "round {round}");
        if round % 4 == 0 {
            settled(&client).await;
        }
        if round == WARMING_ROUNDS {
            warm = Some(Held::by(folder.path()));
        }
    }
    let client = server.postgres().await;
    settled(&client).await;
    if let Some(warm) = warm.expect("rounds") {
        let give_up = Instant::now() + PATIENCE;
        // Threads that wait for files end some seconds after the last of them had work.
        while let Some(last) = Held::by(folder.path()).filter(|last| !last.is_within(&warm)) {
            assert!(Instant::now() < give_up, "{warm:?} after {WARMING_ROUNDS} rounds, {last:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    let files: i64 = figure(&client, "table_files").await;
    assert!(files < 12, "{files} files of one day after {ROUNDS} rounds");
    server.stop();
}

/// A request of which half the spans have expired.
fn spans(round: u64) -> Vec<u8> {
    let now_ns =
        u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_nanos()).expect("a time");
    let span = |number: u64| Span {
        trace_id: u128::from(round * 100 + number % 30).to_be_bytes().to_vec(),
        span_id: (round * SPANS * 2 + number).to_be_bytes().to_vec(),
        parent_span_id: if number < 30 { Vec::new() } else { (round * SPANS * 2 + number - 30).to_be_bytes().to_vec() },
        name: format!("operation {}", number % 7),
        start_time_unix_nano: now_ns - if number < SPANS { 0 } else { 7_200_000_000_000 },
        end_time_unix_nano: now_ns,
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: (0..SPANS * 2).map(span).collect(), ..ScopeSpans::default() }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }] }
        .encode_to_vec()
}

/// Waits until all spans are in files and nothing waits for a merge.
async fn settled(client: &tokio_postgres::Client) {
    let give_up = Instant::now() + PATIENCE;
    while figure(client, "fresh_rows").await + figure(client, "backlog_files").await > 0 {
        assert!(Instant::now() < give_up, "the server still seals or merges after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn figure(client: &tokio_postgres::Client, name: &str) -> i64 {
    client.query_one("SELECT value FROM system.store WHERE name = $1", &[&name]).await.expect("a figure").get(0)
}

/// What the process of a folder has open.
#[derive(Debug)]
struct Held {
    files: usize,
    threads: usize,
}

impl Held {
    /// `None` where the system does not tell.
    fn by(folder: &Path) -> Option<Self> {
        let process = std::fs::read_to_string(folder.join("lock")).ok()?;
        let entries = |of: &str| Some(std::fs::read_dir(format!("/proc/{}/{of}", process.trim())).ok()?.count());
        Some(Self { files: entries("fd")?, threads: entries("task")? })
    }

    /// Whether it is no more than before, but for what comes and goes.
    fn is_within(&self, before: &Self) -> bool {
        self.files <= before.files + SLACK && self.threads <= before.threads + SLACK
    }
}
