//! Traces as no program makes them on purpose: deep, wide, in circles, with one id again and again. What is asked of them is answered, in bounded memory.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::support::{Server, peak_bytes};

/// Spans of the deep traces, far more than any way of going down them that goes deeper for each could take.
const DEEP: u64 = 20_000;
/// Spans of the wide trace.
const WIDE: u64 = 60_000;
/// Spans of each of the others.
const FEW: u64 = 4_000;
/// The names that a path has at most.
const PATH_NAMES: u64 = 256;
/// What a server with 512 MiB for all queries may take in the end, most of it without these traces. Grouped by whole paths a deep one took 8 GB.
const MOST_BYTES: u64 = 1_500_000_000;

const CHAIN: u8 = 1;
const STAR: u8 = 2;
const RING: u8 = 3;
const TWINS: u8 = 4;
const SELFISH: u8 = 5;
const FAILURES: u8 = 6;

const START_NS: u64 = 1_767_268_800_000_000_000;

/// A span that begins and ends so many nanoseconds after the start of all.
fn span(trace: u8, id: u64, parent: u64, (from, to): (u64, u64)) -> Span {
    let mut trace_id = vec![0; 16];
    trace_id[15] = trace;
    Span {
        trace_id,
        span_id: id.to_be_bytes().to_vec(),
        parent_span_id: if parent == 0 { Vec::new() } else { parent.to_be_bytes().to_vec() },
        name: "step".to_owned(),
        kind: 2,
        start_time_unix_nano: START_NS + from,
        end_time_unix_nano: START_NS + to,
        ..Span::default()
    }
}

/// When the span of a chain runs that lies below `above` others: a millisecond within the one above on both sides.
fn within(above: u64) -> (u64, u64) {
    (above * 1_000_000, (2 * DEEP - above) * 1_000_000)
}

/// The spans of each service.
fn spans() -> Vec<(&'static str, Vec<Span>)> {
    let chain = |trace, id| span(trace, id, id - 1, within(id - 1));
    let failed = |id| Span { status: Some(Status { code: 2, message: "boom".to_owned() }), ..chain(FAILURES, id) };
    let child = |trace, id, parent| span(trace, id, parent, (id, id + 1_000));
    vec![
        ("odd", (1..=DEEP).step_by(2).map(|id| chain(CHAIN, id)).collect()),
        ("even", (2..=DEEP).step_by(2).map(|id| chain(CHAIN, id)).collect()),
        (
            "star",
            (1..=WIDE).map(|id| if id == 1 { span(STAR, 1, 0, (0, 1_000_000)) } else { child(STAR, id, 1) }).collect(),
        ),
        ("ring", (1..=FEW).map(|id| child(RING, id, id % FEW + 1)).collect()),
        ("twins", (1..=FEW).map(|_| child(TWINS, 7, 5)).chain((1..=FEW).map(|id| child(TWINS, 100 + id, 7))).collect()),
        ("selfish", (1..=FEW).map(|id| child(SELFISH, id, id)).collect()),
        ("failing", (1..=DEEP).map(failed).collect()),
    ]
}

async fn send(server: &Server) {
    for (service, spans) in spans() {
        let value = AnyValue { value: Some(Value::StringValue(service.to_owned())) };
        let name = KeyValue { key: "service.name".to_owned(), value: Some(value), ..KeyValue::default() };
        let resource = Some(Resource { attributes: vec![name], ..Resource::default() });
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
        server.post_traces(ExportTraceServiceRequest { resource_spans }.encode_to_vec()).await;
    }
}

/// The only row of an answer.
async fn row(client: &Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let mut rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = rows.next().unwrap_or_else(|| panic!("no row: {sql}"));
    let cells: Vec<&str> = (0..row.len()).map(|column| row.get(column).unwrap_or("NULL")).collect();
    cells.join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_them_is_answered_in_bounded_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(folder.path(), &[]);
    send(&server).await;
    let client = server.postgres().await;
    let id = |trace: u8| format!("'{trace:032x}'");

    // Who stands where follows from how the traces are made.
    for (trace, spans, depth, children, path) in [
        (CHAIN, DEEP, DEEP - 1, DEEP - 1, PATH_NAMES),
        (STAR, WIDE, 1, WIDE - 1, 2),
        (RING, FEW, FEW - 1, FEW - 1, PATH_NAMES),
        // Children of an id that many have are the first one's.
        (TWINS, 2 * FEW, 1, FEW, 2),
        (SELFISH, FEW, 0, 0, 1),
        (FAILURES, DEEP, DEEP - 1, DEEP - 1, PATH_NAMES),
    ] {
        let asked = format!(
            "SELECT count(*), max(depth), min(nset_left), max(nset_right), sum(child_count), max(cardinality(path)),
                sum(cardinality(path)) = sum(least(depth + 1, {PATH_NAMES}))
            FROM span_tree WHERE trace_id = {}",
            id(trace)
        );
        assert_eq!(
            row(&client, &asked).await,
            format!("{spans} {depth} 1 {} {children} {path} t", 2 * spans),
            "{trace}"
        );
        let id = id(trace);
        for function in ["trace_tree", "waterfall"] {
            let shown = row(&client, &format!("SELECT count(*) FROM {function}({id})")).await;
            assert_eq!(shown, spans.to_string(), "{function} of {trace}");
        }
        let stacks = format!("SELECT count(*) <= {PATH_NAMES}, sum(spans) FROM flamegraph(trace_id = {id})");
        assert_eq!(row(&client, &stacks).await, format!("t {spans}"), "{trace}");
        let paths = format!(
            "SELECT max(depth), sum(calls), max(cardinality(path)) FROM (SELECT * FROM latency_breakdown({id}))"
        );
        assert_eq!(row(&client, &paths).await, format!("{} {spans} {path}", depth.min(PATH_NAMES - 1)), "{trace}");
        row(&client, &format!("SELECT count(*), sum(critical_ms) FROM critical_path({id})")).await;
    }

    // Each millisecond of a chain is somebody's own, on the critical path, and in some stack.
    let total_ms = 2 * DEEP;
    for (trace, services) in [(CHAIN, 2), (FAILURES, 1)] {
        let id = id(trace);
        for asked in [
            format!(
                "SELECT round(sum(self_ms)), round(sum(critical_ms)), count(*) FROM span_tree WHERE trace_id = {id}"
            ),
            format!("SELECT round(sum(self_ms)), round(sum(critical_ms)), sum(calls) FROM latency_breakdown({id})"),
            format!("SELECT round(sum(self_us) / 1000), {total_ms}, sum(spans) FROM flamegraph(trace_id = {id})"),
        ] {
            assert_eq!(row(&client, &asked).await, format!("{total_ms} {total_ms} {DEEP}"), "{asked}");
        }
        // What is too deep for a path of its own is in the row of the last that has one, for each service.
        let rows = row(&client, &format!("SELECT count(*) FROM latency_breakdown({id})")).await;
        assert_eq!(rows, (PATH_NAMES - 1 + services).to_string(), "{trace}");
    }

    for (asked, answer) in [
        (
            "SELECT count(*), max(max_depth), max(span_count), count(*) FILTER (WHERE complete) FROM traces",
            format!("6 {} {WIDE} 3", DEEP - 1),
        ),
        // A chain of errors has one origin; what is told of it is told of its first thousand spans.
        (
            "SELECT count(*), sum(origins), sum(spans), sum(requests), max(origin_service) FROM error_propagation()",
            "1 1 1000 0 failing".to_owned(),
        ),
        ("SELECT count(*), sum(calls) FROM service_map()", format!("2 {}", DEEP - 1)),
        ("SELECT count(*), max(out_degree) FROM service_nodes()", "7 1".to_owned()),
        ("SELECT sum(calls) FROM bottlenecks()", (2 * DEEP + WIDE + 4 * FEW).to_string()),
        ("SELECT count(*) FROM descendants_of(depth = 0)", (2 * (DEEP - 1) + WIDE - 1 + FEW - 1 + FEW).to_string()),
        ("SELECT count(*) FROM ancestors_of(child_count = 0)", (2 * (DEEP - 1) + 1 + FEW - 1 + 1).to_string()),
        ("SELECT count(*) FROM n_plus_one()", "0".to_owned()),
        (
            "SELECT max(selected), max(baseline) FROM compare(service_name = 'failing', service_name IN ('odd', 'even'), with_paths => true)",
            format!("{DEEP} {DEEP}"),
        ),
        (
            "SELECT count(*), max(depth) FROM trace_diff(service_name = 'failing', service_name = 'star')",
            format!("{} {}", PATH_NAMES + 2, PATH_NAMES - 1),
        ),
        ("SELECT count(*) FROM anomalies(true, true)", "0".to_owned()),
        ("SELECT count(*) <= 300, sum(spans) FROM flamegraph()", format!("t {}", 2 * DEEP + WIDE + 4 * FEW)),
    ] {
        assert_eq!(row(&client, asked).await, answer, "{asked}");
    }
    if let Some(bytes) = peak_bytes(folder.path()) {
        assert!(bytes < MOST_BYTES, "the server has had {bytes} bytes");
    }
    server.stop();
}
