//! Columns kept in memory answer as files do: in a first reading and in later ones, with room for all, for few and for none.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use spanhouse::engine::{Engine, EngineSettings};

use crate::attributes::{answer, cells};
use crate::store_support::{append, open, open_uncompacted, request};

/// More than two row groups a day, so that some are wanted and others are not.
const SPANS: u64 = 600_000;
const SPANS_OF_REQUEST: u64 = 50_000;
/// Room for a few columns of the dozens that the statements read.
const SMALL_CACHE_BYTES: usize = 6 << 20;
/// Noon of a day, in nanoseconds.
const ONE_DAY_NS: u64 = 1_767_268_800_000_000_000;

const STATEMENTS: [&str; 8] = [
    "SELECT count(*), sum(duration_ns), min(timestamp) FROM spans",
    "SELECT span_name, count(*), sum(duration_ns) FROM spans GROUP BY span_name ORDER BY span_name",
    "SELECT span_id, duration_ms FROM spans ORDER BY duration_ms DESC LIMIT 20",
    "SELECT count(*), max(duration_ns) FROM spans WHERE timestamp >= '2026-01-01 12:10:00' AND timestamp < '2026-01-02 12:01:00'",
    "SELECT count(*), sum(duration_ns) FROM spans WHERE duration_ns BETWEEN 3000000 AND 3010000",
    "SELECT count(*) FROM spans a JOIN spans b ON a.trace_id = b.trace_id AND a.span_id = b.span_id WHERE a.duration_ns > 599000000",
    "SELECT count(*) FROM (SELECT span_id FROM spans WHERE span_name = 'operation 3' LIMIT 5000) AS some",
    "SELECT count(attributes['a']), count(DISTINCT service_name), count(parent_span_id) FROM spans",
];

#[tokio::test(flavor = "multi_thread")]
async fn columns_out_of_memory_answer_as_those_of_files_whatever_fits() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open_uncompacted(dir.path()).await;
    for first in (1..=SPANS).step_by(SPANS_OF_REQUEST as usize) {
        append(&store, request(first..first + SPANS_OF_REQUEST)).await.expect("kept");
        store.seal().await.expect("sealed");
    }
    let with_cache = |column_cache_bytes| {
        let settings = EngineSettings { column_cache_bytes, ..EngineSettings::default() };
        Engine::new(store.clone(), settings).expect("an engine")
    };
    let (none, small, large) = (with_cache(0), with_cache(SMALL_CACHE_BYTES), with_cache(256 << 20));
    for round in 0..3 {
        for (statement, expected) in STATEMENTS.into_iter().zip(known()) {
            for (engine, size) in [(&none, "no"), (&small, "a small"), (&large, "a large")] {
                assert_eq!(answered(engine, statement).await, expected, "{size} cache, round {round}: {statement}");
            }
        }
    }
    let analyzed = answer(&large, "EXPLAIN ANALYZE SELECT sum(duration_ns) FROM spans").await.expect("a plan");
    assert!(analyzed.contains("columns_from_memory=") && !analyzed.contains("columns_from_memory=0"), "{analyzed}");
}

/// A row group of texts of 80 MB: decoded whole it would be memory that nobody knows of.
#[tokio::test(flavor = "multi_thread")]
async fn columns_of_long_texts_are_left_to_be_read_batch_by_batch() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open(dir.path()).await;
    for first in (1..=40_000).step_by(20_000) {
        append(&store, with_long_messages(&request(first..first + 20_000))).await.expect("kept");
    }
    store.seal().await.expect("sealed");
    let with_cache = |column_cache_bytes| {
        let settings = EngineSettings { column_cache_bytes, ..EngineSettings::default() };
        Engine::new(store.clone(), settings).expect("an engine")
    };
    let (cached, none) = (with_cache(512 << 20), with_cache(0));
    let long = "SELECT count(*), sum(length(status_message)), max(status_message), max(span_id) FROM spans";
    let short = "SELECT count(*), max(span_name), max(span_id) FROM spans";
    let decodes = async |statement: &str| {
        let told = answer(&cached, &format!("EXPLAIN ANALYZE {statement}")).await.expect("a plan");
        told.contains("columns_decoded=") && !told.contains("columns_decoded=0")
    };
    assert!(!decodes(long).await);
    assert!(decodes(short).await);
    assert_eq!(answered(&cached, long).await, answered(&none, long).await);
}

/// The same spans in one day, each with a message of two KiB that no other has.
fn with_long_messages(request: &[u8]) -> bytes::Bytes {
    let mut request = ExportTraceServiceRequest::decode(request).expect("a request");
    let scopes = request.resource_spans.iter_mut().flat_map(|resource| &mut resource.scope_spans);
    for span in scopes.flat_map(|scope| &mut scope.spans) {
        let id = u64::from_be_bytes(span.span_id.as_slice().try_into().expect("eight bytes"));
        span.start_time_unix_nano = ONE_DAY_NS + id;
        span.end_time_unix_nano = ONE_DAY_NS + id;
        span.status.get_or_insert_default().message = format!("{id:02048}");
    }
    request.encode_to_vec().into()
}

async fn answered(engine: &Arc<Engine>, statement: &str) -> Vec<Vec<String>> {
    cells(&answer(engine, statement).await.expect("an answer"))
}

/// The answers to [`STATEMENTS`], from how `request` makes spans.
fn known() -> [Vec<Vec<String>>; STATEMENTS.len()] {
    let ids = || 1..=SPANS;
    let duration = |id: u64| id * 1000;
    let sum = |ids: &[u64]| ids.iter().map(|id| duration(*id)).sum::<u64>().to_string();
    let row = |cells: &[&str]| cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<String>>();
    let all: Vec<u64> = ids().collect();
    let named = |name: u64| ids().filter(|id| id % 5 == name).collect::<Vec<u64>>();
    let by_name = |name: u64| vec![format!("operation {name}"), named(name).len().to_string(), sum(&named(name))];
    let slowest = ids().rev().take(20);
    // Even ids start on the first day and odd ones on the second, within a quarter of an hour from noon.
    let between = |id: &u64| if id.is_multiple_of(2) { id % 900 >= 600 } else { id % 900 < 60 };
    let later: Vec<u64> = ids().filter(between).collect();
    let narrow: Vec<u64> = ids().filter(|id| (3_000_000..=3_010_000).contains(&duration(*id))).collect();
    [
        vec![row(&[&SPANS.to_string(), &sum(&all), "2026-01-01T12:00:00Z"])],
        (0..5).map(by_name).collect(),
        slowest.map(|id| vec![format!("{id:016x}"), format!("{:?}", id as f64 / 1000.0)]).collect(),
        vec![row(&[&later.len().to_string(), &duration(later[later.len() - 1]).to_string()])],
        vec![row(&[&narrow.len().to_string(), &sum(&narrow)])],
        vec![row(&[&ids().filter(|id| duration(*id) > 599_000_000).count().to_string()])],
        vec![row(&["5000"])],
        vec![row(&["0", "1", "0"])],
    ]
}
