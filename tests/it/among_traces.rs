//! Spans of traces that a subquery finds, more of them than are looked up one by one, against what was sent.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::util::display::array_value_to_string;
use futures::TryStreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use spanhouse::engine::{Engine, EngineSettings, Outcome};
use spanhouse::store::Store;

use crate::store_support::{append, explained, open};

const TRACES: u64 = 22_500;
/// One trace in so many fails: 4,500.
const FAILS: u64 = 5;
const SPANS_OF_TRACE: u64 = 3;
/// The last spans stay fresh, some of them of traces that are stored.
const STORED: u64 = 60_000;
const REQUEST: u64 = 2_500;
const NOON_NS: u64 = 1_767_268_800_000_000_000;

/// The first span of a trace that fails says so; what the others do is only beside it.
fn span(number: u64) -> Span {
    let (trace, place) = (number / SPANS_OF_TRACE, number % SPANS_OF_TRACE);
    let fails = place == 0 && trace % FAILS == 0;
    Span {
        trace_id: u128::from(trace + 1).to_be_bytes().to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        name: format!("operation {place}"),
        start_time_unix_nano: NOON_NS + number,
        end_time_unix_nano: NOON_NS + number + place,
        status: fails.then(|| Status { code: 2, ..Default::default() }),
        ..Default::default()
    }
}

fn request(numbers: std::ops::Range<u64>) -> Bytes {
    let scope_spans = vec![ScopeSpans { spans: numbers.map(span).collect(), ..Default::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

async fn filled(dir: &Path) -> Arc<Store> {
    let store = open(dir).await;
    let all = TRACES * SPANS_OF_TRACE;
    for first in (0..all).step_by(REQUEST as usize) {
        append(&store, request(first..first + REQUEST)).await.expect("kept");
        if first + REQUEST == STORED {
            store.seal().await.expect("sealed");
        }
    }
    let late = request(STORED - 1..STORED);
    append(&store, late).await.expect("kept");
    assert!(store.status().fresh_rows > 0 && store.status().table_files > 0);
    store
}

async fn ask(engine: &Arc<Engine>, sql: &str) -> Vec<String> {
    let session = engine.session();
    let statement = session.prepare(sql).await.expect("a statement").remove(0);
    let Outcome::Rows(rows) = session.execute(&statement, &[]).await.expect("started") else { return Vec::new() };
    let batches: Vec<_> = rows.stream.try_collect().await.expect("rows");
    let text = |batch: &datafusion::arrow::array::RecordBatch, row| {
        let columns = batch.columns().iter().map(|column| array_value_to_string(column, row).expect("text"));
        columns.collect::<Vec<_>>().join(" | ")
    };
    batches.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| text(batch, row)).collect::<Vec<_>>()).collect()
}

const BESIDE_ERRORS: &str = "SELECT span_name, count(*), count(DISTINCT trace_id), sum(duration_ns) FROM spans
     WHERE trace_id IN (SELECT trace_id FROM spans WHERE status_code = 'ERROR') GROUP BY span_name ORDER BY span_name";

#[tokio::test(flavor = "multi_thread")]
async fn spans_beside_errors_are_found_without_a_join() {
    let dir = tempfile::tempdir().expect("directory");
    let store = filled(dir.path()).await;
    let engine = Engine::new(store.clone(), EngineSettings::default()).expect("an engine");

    let failing = TRACES / FAILS;
    // The span that came twice is of the last trace before those that are fresh only, and that does not fail.
    assert_ne!((STORED - 1) / SPANS_OF_TRACE % FAILS, 0);
    let of_place = |place: u64| format!("operation {place} | {failing} | {failing} | {}", failing * place);
    let expected: Vec<String> = (0..SPANS_OF_TRACE).map(of_place).collect();
    assert_eq!(ask(&engine, BESIDE_ERRORS).await, expected);

    let plan = explained(&engine, BESIDE_ERRORS).await;
    assert!(plan.contains("AmongTracesExec: ") && !plan.contains("HashJoinExec"), "{plan}");
    let ran = explained(&engine, &format!("ANALYZE {BESIDE_ERRORS}")).await;
    assert!(ran.contains("traces=4.50 K") || ran.contains("traces=4500"), "{ran}");
    assert!(ran.contains("rows_of_other_traces=") && !ran.contains("rows_of_other_traces=0"), "{ran}");

    // The others, and each span beside the errors of its trace.
    let not_in =
        "SELECT count(*) FROM spans WHERE trace_id NOT IN (SELECT trace_id FROM spans WHERE status_code = 'ERROR')";
    let all = TRACES * SPANS_OF_TRACE + 1;
    assert_eq!(ask(&engine, not_in).await, [(all - failing * SPANS_OF_TRACE).to_string()]);
    let joined = "SELECT count(*), count(DISTINCT s.trace_id) FROM spans s
         JOIN spans e ON e.trace_id = s.trace_id AND e.status_code = 'ERROR' WHERE s.span_name = 'operation 2'";
    assert_eq!(ask(&engine, joined).await, [format!("{failing} | {failing}")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_spans_are_few_their_ids_are_the_smaller_table() {
    let dir = tempfile::tempdir().expect("directory");
    let store = filled(dir.path()).await;
    let engine = Engine::new(store.clone(), EngineSettings::default()).expect("an engine");
    let few = "SELECT span_id FROM spans WHERE span_name = 'operation 1' AND status_code = 'OK'
         AND trace_id IN (SELECT trace_id FROM spans)";
    let plan = explained(&engine, few).await;
    assert!(plan.contains("HashJoinExec"), "{plan}");
    assert_eq!(ask(&engine, few).await, [""; 0]);
}
