//! `kill -9` in a loop under load, while spans are sealed, files compacted and expired, and the server stops: every acknowledged span is there, exactly once.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::support::Server;

/// Rounds without being asked; `SPANHOUSE_CRASH_ROUNDS=1000` asks for more.
const ROUNDS: u64 = 50;
/// Exporters at work while the process is killed.
const EXPORTERS: usize = 4;
const SPANS_PER_REQUEST: u64 = 50;
/// Of the spans of a request, one in so many has expired when it comes.
const EXPIRED_EVERY: u64 = 10;
/// Far beyond what the settings keep.
const EXPIRED_NS: u64 = 1_600_000_000_000_000_000;
/// One round in so many ends while the server stops.
const STOP_EVERY: u64 = 3;

#[tokio::test(flavor = "multi_thread")]
async fn row_17_kill_9_in_a_loop_under_load_loses_and_repeats_nothing() {
    let rounds = std::env::var("SPANHOUSE_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let (seed, start_ns) = (now.as_secs(), now.as_nanos() as u64 - HOUR_NS);
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let sent = Arc::new(AtomicU64::new(1));
    let acknowledged = Arc::new(Mutex::new(HashSet::new()));

    for round in 0..rounds {
        let server = Arc::new(Server::start_in(folder.path(), &ALWAYS_AT_WORK));
        let before = acknowledged.lock().expect("not poisoned").clone();
        check(&server, &before, sent.load(Ordering::SeqCst), round).await;
        let stop = Arc::new(AtomicBool::new(false));
        let exporters: Vec<_> = (0..EXPORTERS)
            .map(|_| tokio::spawn(export(server.clone(), start_ns, sent.clone(), acknowledged.clone(), stop.clone())))
            .collect();
        tokio::time::sleep(Duration::from_millis(random.random_range(20..400))).await;
        if round % STOP_EVERY == 0 {
            server.ask_to_stop();
            tokio::time::sleep(Duration::from_millis(random.random_range(0..200))).await;
        }
        server.kill_9();
        stop.store(true, Ordering::SeqCst);
        for exporter in exporters {
            exporter.await.expect("an exporter does not panic");
        }
    }
    let server = Server::start_in(folder.path(), &ALWAYS_AT_WORK);
    let acknowledged = acknowledged.lock().expect("not poisoned").clone();
    assert!(!acknowledged.is_empty(), "nothing was acknowledged in {rounds} rounds");
    check(&server, &acknowledged, sent.load(Ordering::SeqCst), rounds).await;
    server.stop();
}

/// Settings under which most rounds are killed somewhere in a sealing, and many in a compaction, or while expired files leave the table and are deleted.
const ALWAYS_AT_WORK: [(&str, &str); 3] =
    [("SPANHOUSE_SEAL_AFTER", "100ms"), ("SPANHOUSE_RETENTION", "30d"), ("SPANHOUSE_KEEP_REMOVED", "3s")];
const HOUR_NS: u64 = 3_600_000_000_000;

/// Sends requests of never repeated span ids and notes those whose answer was a success.
async fn export(
    server: Arc<Server>,
    start_ns: u64,
    sent: Arc<AtomicU64>,
    acknowledged: Arc<Mutex<HashSet<u64>>>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::SeqCst) {
        let first = sent.fetch_add(SPANS_PER_REQUEST, Ordering::SeqCst);
        let ids = first..first + SPANS_PER_REQUEST;
        if server.try_post_traces(request(ids.clone(), start_ns)).await {
            acknowledged.lock().expect("not poisoned").extend(ids.filter(|id| id % EXPIRED_EVERY != 0));
        }
    }
}

async fn check(server: &Server, acknowledged: &HashSet<u64>, sent: u64, round: u64) {
    let sql = server.postgres().await;
    let rows = sql.query("SELECT span_id, count(*) FROM spans GROUP BY span_id", &[]).await.expect("span ids");
    let found: HashMap<u64, i64> =
        rows.iter().map(|row| (u64::from_str_radix(row.get(0), 16).expect("hex"), row.get(1))).collect();
    let lost = acknowledged.iter().filter(|id| !found.contains_key(id)).count();
    let repeated = found.values().filter(|count| **count != 1).count();
    let invented = found.keys().filter(|id| **id >= sent).count();
    let expired = found.keys().filter(|id| *id % EXPIRED_EVERY == 0).count();
    let wrong = (lost, repeated, invented, expired);
    assert_eq!(wrong, (0, 0, 0, 0), "lost, repeated, invented and expired spans after round {round}");
}

fn request(ids: std::ops::Range<u64>, start_ns: u64) -> Vec<u8> {
    let start = |id: u64| if id.is_multiple_of(EXPIRED_EVERY) { EXPIRED_NS } else { start_ns };
    let spans = ids.map(|id| Span {
        trace_id: u128::from(id / 7 + 1).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        name: format!("operation {}", id % 13),
        start_time_unix_nano: start(id) + id * 1_000,
        end_time_unix_nano: start(id) + id * 1_000 + id % 1_000,
        ..Span::default()
    });
    let scope_spans = ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() };
    let resource_spans = ResourceSpans { scope_spans: vec![scope_spans], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec()
}
