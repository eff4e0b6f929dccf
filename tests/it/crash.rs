//! `kill -9` in a loop under load: every acknowledged span is there, exactly once.

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

/// Rounds without being asked; `SPANHOUSE_CRASH_ROUNDS` asks for more.
const ROUNDS: u64 = 20;
/// Exporters at work while the process is killed.
const EXPORTERS: usize = 4;
const SPANS_PER_REQUEST: u64 = 50;
const START_NS: u64 = 1_700_000_000_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn fault_17_kill_9_in_a_loop_under_load_loses_and_repeats_nothing() {
    let rounds = std::env::var("SPANHOUSE_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    let sent = Arc::new(AtomicU64::new(1));
    let acknowledged = Arc::new(Mutex::new(HashSet::new()));

    for round in 0..rounds {
        let server = Arc::new(Server::start_in(folder.path(), &SEAL_OFTEN));
        let before = acknowledged.lock().expect("not poisoned").clone();
        check(&server, &before, sent.load(Ordering::SeqCst), round).await;
        let stop = Arc::new(AtomicBool::new(false));
        let exporters: Vec<_> = (0..EXPORTERS)
            .map(|_| tokio::spawn(export(server.clone(), sent.clone(), acknowledged.clone(), stop.clone())))
            .collect();
        tokio::time::sleep(Duration::from_millis(random.random_range(20..600))).await;
        server.kill_9();
        stop.store(true, Ordering::SeqCst);
        for exporter in exporters {
            exporter.await.expect("an exporter does not panic");
        }
    }
    let server = Server::start_in(folder.path(), &SEAL_OFTEN);
    let acknowledged = acknowledged.lock().expect("not poisoned").clone();
    assert!(!acknowledged.is_empty(), "nothing was acknowledged in {rounds} rounds");
    check(&server, &acknowledged, sent.load(Ordering::SeqCst), rounds).await;
    server.stop();
}

/// Settings under which most rounds are killed somewhere in a sealing.
const SEAL_OFTEN: [(&str, &str); 1] = [("SPANHOUSE_SEAL_AFTER", "100ms")];

/// Sends requests of never repeated span ids and notes those whose answer was a success.
async fn export(
    server: Arc<Server>,
    sent: Arc<AtomicU64>,
    acknowledged: Arc<Mutex<HashSet<u64>>>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::SeqCst) {
        let first = sent.fetch_add(SPANS_PER_REQUEST, Ordering::SeqCst);
        let ids = first..first + SPANS_PER_REQUEST;
        if server.try_post_traces(request(ids.clone())).await {
            acknowledged.lock().expect("not poisoned").extend(ids);
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
    assert_eq!((lost, repeated, invented), (0, 0, 0), "lost, repeated and invented spans after round {round}");
}

fn request(ids: std::ops::Range<u64>) -> Vec<u8> {
    let spans = ids.map(|id| Span {
        trace_id: u128::from(id / 7 + 1).to_be_bytes().to_vec(),
        span_id: id.to_be_bytes().to_vec(),
        name: format!("operation {}", id % 13),
        start_time_unix_nano: START_NS + id * 1_000_000,
        end_time_unix_nano: START_NS + id * 1_000_000 + id % 1_000,
        ..Span::default()
    });
    let scope_spans = ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() };
    let resource_spans = ResourceSpans { scope_spans: vec![scope_spans], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec()
}
