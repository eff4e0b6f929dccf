//! Columns kept in memory answer as files do: in a first reading and in later ones, with room for all, for few and for none.

use std::sync::Arc;

use datafusion::arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use spanhouse::engine::{Engine, EngineSettings, Outcome};

use crate::store_support::{append, open, request};

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
    let store = open(dir.path()).await;
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
        for statement in STATEMENTS {
            let expected = answer(&none, statement).await;
            assert_eq!(answer(&small, statement).await, expected, "small cache, round {round}: {statement}");
            assert_eq!(answer(&large, statement).await, expected, "large cache, round {round}: {statement}");
        }
    }
    let analyzed = answer(&large, "EXPLAIN ANALYZE SELECT sum(duration_ns) FROM spans").await;
    assert!(analyzed.contains("columns_from_memory=") && !analyzed.contains("columns_from_memory=0"), "{analyzed}");
    let count = answer(&large, STATEMENTS[0]).await;
    assert!(count.contains(&format!("| {SPANS} ")), "{count}");
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
        let told = answer(&cached, &format!("EXPLAIN ANALYZE {statement}")).await;
        told.contains("columns_decoded=") && !told.contains("columns_decoded=0")
    };
    assert!(!decodes(long).await);
    assert!(decodes(short).await);
    assert_eq!(answer(&cached, long).await, answer(&none, long).await);
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

async fn answer(engine: &Arc<Engine>, statement: &str) -> String {
    let session = engine.session();
    let statement = session.prepare(statement).await.expect("a statement").remove(0);
    let Outcome::Rows(rows) = session.execute(&statement, &[]).await.expect("an answer") else { panic!("no rows") };
    let batches: Vec<_> = rows.stream.try_collect().await.expect("rows");
    pretty_format_batches(&batches).expect("text").to_string()
}
