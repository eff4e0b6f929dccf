//! A real server that took real traces answers what a separate program computed from the source tables.
//!
//! One server takes the Train Ticket traces over gRPC, another takes them over HTTP without the spans of one service. Every
//! question is asked over the Postgres wire.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::Value;
use std::path::Path;
use tokio_postgres::Client;

use crate::support::{Server, shared_data, skip};

/// The bound on the sketch's relative error, as `docs/sql.md` states it.
const SKETCH_RELATIVE_ERROR: f64 = 0.01;
/// What two different orders of floating-point additions may differ by.
const ROUNDING: f64 = 1e-9;

#[tokio::test(flavor = "multi_thread")]
async fn trainticket_over_grpc_answers_its_facts() {
    let Some(data) = shared_data("trainticket_over_grpc_answers_its_facts") else { return };
    let facts = read_facts(&data.join("trainticket.facts.json"));
    let server = Server::start();
    server.import_grpc(&data.join("trainticket.otlp.zst"));
    let sql = server.postgres().await;

    totals(&sql, &facts).await;
    times(&sql, &facts).await;
    per_service(&sql, &facts).await;
    per_operation(&sql, &facts).await;
    edges(&sql, &facts).await;
    trees(&sql, &facts).await;
    slowest(&sql, &facts).await;
    errors(&sql, &facts).await;
    minutes(&sql, &facts).await;
    attributes(&sql, &facts).await;
    events(&sql, &facts).await;
    psql_says_the_same(&server, &facts);
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_over_http_when_a_service_is_silent() {
    let Some(data) = shared_data("orphans_over_http_when_a_service_is_silent") else { return };
    let facts = read_facts(&data.join("trainticket.facts.json"));
    let variant = &facts["variant_without_one_service"];
    let silent = text(&variant["dropped_service"]);
    let server = Server::start();
    for message in messages(&data.join("trainticket.otlp.zst")) {
        server.post_traces(without_service(&message, silent)).await;
    }
    let sql = server.postgres().await;

    let row = one(&sql, "SELECT count(*), sum(span_count)::bigint, sum(orphan_count)::bigint, count(*) FILTER (WHERE orphan_count > 0) FROM traces").await;
    assert_eq!(row.get::<_, i64>(0), int(&variant["traces_left"]));
    assert_eq!(row.get::<_, i64>(1), int(&variant["spans_left"]));
    assert_eq!(row.get::<_, i64>(2), int(&variant["broken_parent_spans"]));
    assert_eq!(row.get::<_, i64>(3), int(&variant["traces_with_broken_parent"]));
    let row =
        one(&sql, "SELECT count(*) FILTER (WHERE is_orphan), count(*) FILTER (WHERE depth = 0) FROM span_tree").await;
    assert_eq!(row.get::<_, i64>(0), int(&variant["broken_parent_spans"]));
    // Each trace still has its root.
    assert_eq!(row.get::<_, i64>(1), int(&variant["broken_parent_spans"]) + int(&variant["traces_left"]));

    let by_service = sql
        .query(
            "SELECT c.service_name, count(*) FROM spans c LEFT JOIN spans p ON p.trace_id = c.trace_id AND p.span_id = c.parent_span_id
             WHERE c.parent_span_id IS NOT NULL AND p.span_id IS NULL GROUP BY 1",
            &[],
        )
        .await
        .expect("orphans by service");
    let expected = variant["broken_by_service"].as_object().expect("an object");
    assert_eq!(by_service.len(), expected.len());
    for row in by_service {
        assert_eq!(row.get::<_, i64>(1), int(&expected[row.get::<_, &str>(0)]), "orphans of {}", row.get::<_, &str>(0));
    }
}

async fn totals(sql: &Client, facts: &Value) {
    let row = one(
        sql,
        "SELECT count(*), count(DISTINCT trace_id), count(DISTINCT service_name), count(DISTINCT span_name),
                count(*) FILTER (WHERE status_code = 'ERROR'), sum(duration_ns)::bigint,
                sum(cardinality(events))::bigint, count(*) FILTER (WHERE cardinality(events) > 0)
         FROM spans",
    )
    .await;
    let names = [
        "span_count",
        "trace_count",
        "service_count",
        "operation_name_count",
        "error_span_count",
        "sum_duration_ns",
        "event_count",
        "spans_with_events",
    ];
    for (column, name) in names.into_iter().enumerate() {
        assert_eq!(row.get::<_, i64>(column), int(&facts[name]), "{name}");
    }

    let kinds = sql.query("SELECT span_kind, count(*) FROM spans GROUP BY span_kind", &[]).await.expect("kinds");
    assert_eq!(kinds.len(), facts["kind_counts"].as_object().expect("an object").len());
    for row in kinds {
        assert_eq!(row.get::<_, i64>(1), int(&facts["kind_counts"][row.get::<_, &str>(0)]));
    }

    let row = one(
        sql,
        "SELECT count(*), count(*) FILTER (WHERE error_count > 0), sum(orphan_count)::bigint, sum((duration_ns))::bigint, max(span_count)
         FROM traces.traces",
    )
    .await;
    assert_eq!(row.get::<_, i64>(0), int(&facts["trace_count"]));
    assert_eq!(row.get::<_, i64>(1), int(&facts["traces_with_error"]));
    assert_eq!(row.get::<_, i64>(2), int(&facts["parents"]["broken_parent_spans"]));
    assert_eq!(row.get::<_, i64>(3), int(&facts["traces"]["duration"]["sum"]));
    assert_eq!(row.get::<_, i64>(4), int(&facts["traces"]["spans_per_trace"]["max"]));
}

async fn times(sql: &Client, facts: &Value) {
    let row = one(
        sql,
        "SELECT min(timestamp) = $$2023-01-29 08:42:09.479$$::timestamptz, max(end_timestamp)::text FROM spans",
    )
    .await;
    assert!(row.get::<_, bool>(0), "the first start");
    let last = row.get::<_, &str>(1);
    assert!(last.contains("14:10:49.778329212"), "nanoseconds are kept: {last} is {}", facts["time_range"]["last"]);
}

async fn per_service(sql: &Client, facts: &Value) {
    let rows = sql
        .query(
            "SELECT service_name, count(*), count(*) FILTER (WHERE status_code = 'ERROR'), count(DISTINCT trace_id), count(DISTINCT span_name),
                    min(duration_ns), max(duration_ns), sum(duration_ns)::bigint,
                    percentile_cont(0.5) WITHIN GROUP (ORDER BY duration_ns), percentile_cont(0.99) WITHIN GROUP (ORDER BY duration_ns),
                    quantileExact(0.95)(duration_ns)::bigint, quantile(0.95)(duration_ns)::double precision, quantile(duration_ns, 0.99)::double precision,
                    avg(duration_ns)
             FROM spans GROUP BY service_name",
            &[],
        )
        .await
        .expect("per service");
    assert_eq!(rows.len(), facts["per_service"].as_object().expect("an object").len());
    for row in rows {
        let service = row.get::<_, &str>(0);
        let expected = &facts["per_service"][service];
        let duration = &expected["duration"];
        assert_eq!(row.get::<_, i64>(1), int(&expected["spans"]), "{service}");
        assert_eq!(row.get::<_, i64>(2), int(&expected["errors"]), "{service}");
        assert_eq!(row.get::<_, i64>(3), int(&expected["traces"]), "{service}");
        assert_eq!(row.get::<_, i64>(4), int(&expected["operations"]), "{service}");
        assert_eq!(row.get::<_, i64>(5), int(&duration["min"]), "{service}");
        assert_eq!(row.get::<_, i64>(6), int(&duration["max"]), "{service}");
        assert_eq!(row.get::<_, i64>(7), int(&duration["sum"]), "{service}");
        close(row.get(8), &duration["p50"], ROUNDING, service);
        close(row.get(9), &duration["p99"], ROUNDING, service);
        assert_eq!(row.get::<_, i64>(10), int(&duration["p95_nearest_rank"]), "{service}");
        close(row.get(11), &duration["p95_nearest_rank"], SKETCH_RELATIVE_ERROR, service);
        close(row.get(12), &duration["p99_nearest_rank"], SKETCH_RELATIVE_ERROR, service);
        close(row.get(13), &duration["mean"], ROUNDING, service);
    }
}

async fn per_operation(sql: &Client, facts: &Value) {
    let rows = sql
        .query(
            "SELECT service_name, span_name, count(*), count(*) FILTER (WHERE status_code = 'ERROR'),
                    quantile(0.9)(duration_ns)::double precision, median(duration_ns)::double precision
             FROM spans GROUP BY service_name, span_name",
            &[],
        )
        .await
        .expect("per operation");
    let expected = list(&facts["per_operation"]);
    assert_eq!(rows.len(), expected.len());
    for fact in expected {
        let (service, name) = (text(&fact["service"]), text(&fact["name"]));
        let row = rows
            .iter()
            .find(|row| row.get::<_, &str>(0) == service && row.get::<_, &str>(1) == name)
            .unwrap_or_else(|| panic!("{service} {name} is missing"));
        assert_eq!(row.get::<_, i64>(2), int(&fact["spans"]), "{name}");
        assert_eq!(row.get::<_, i64>(3), int(&fact["errors"]), "{name}");
        close(row.get(4), &fact["duration"]["p90_nearest_rank"], SKETCH_RELATIVE_ERROR, name);
        close(row.get(5), &fact["duration"]["p50"], ROUNDING, name);
    }
}

async fn edges(sql: &Client, facts: &Value) {
    let rows = sql
        .query(
            "SELECT p.service_name, c.service_name, count(*), count(*) FILTER (WHERE c.status_code = 'ERROR'),
                    percentile_cont(0.95) WITHIN GROUP (ORDER BY c.duration_ns)
             FROM spans c JOIN spans p ON p.trace_id = c.trace_id AND p.span_id = c.parent_span_id
             WHERE p.service_name <> c.service_name GROUP BY 1, 2",
            &[],
        )
        .await
        .expect("edges");
    let expected = list(&facts["edges_cross_service"]);
    assert_eq!(rows.len(), expected.len());
    for fact in expected {
        let (caller, callee) = (text(&fact["caller"]), text(&fact["callee"]));
        let row = rows
            .iter()
            .find(|row| row.get::<_, &str>(0) == caller && row.get::<_, &str>(1) == callee)
            .unwrap_or_else(|| panic!("{caller} → {callee} is missing"));
        assert_eq!(row.get::<_, i64>(2), int(&fact["count"]), "{caller} → {callee}");
        assert_eq!(row.get::<_, i64>(3), int(&fact["callee_errors"]), "{caller} → {callee}");
        close(row.get(4), &fact["callee_duration_p95"], ROUNDING, callee);
    }
    let row =
        one(sql, "SELECT count(*), sum(calls)::bigint FROM traces.service_edges WHERE callee_type = 'service'").await;
    assert_eq!(row.get::<_, i64>(0), expected.len() as i64);
    assert_eq!(row.get::<_, i64>(1), int(&facts["edges_cross_service_total"]));
}

/// Every trace has one root, which covers nearly all of it: the critical path is as long as the root.
async fn trees(sql: &Client, facts: &Value) {
    let row = one(
        sql,
        "SELECT count(*), count(*) FILTER (WHERE is_orphan), count(*) FILTER (WHERE depth = 0), sum(child_count)::bigint,
                count(*) FILTER (WHERE parent_service = service_name), count(*) FILTER (WHERE parent_service <> service_name)
         FROM span_tree",
    )
    .await;
    let (spans, roots) = (int(&facts["span_count"]), int(&facts["parents"]["root_spans"]));
    let edges = ["edges_same_service_total", "edges_cross_service_total"].map(|name| int(&facts[name]));
    let found: Vec<i64> = (0..6).map(|column| row.get(column)).collect();
    assert_eq!(found, [spans, 0, roots, spans - roots, edges[0], edges[1]]);
    let row = one(
        sql,
        "SELECT count(*), count(*) FILTER (WHERE abs(critical_ms - root_ms) > 1e-6)
         FROM (SELECT sum(critical_ms) AS critical_ms, max(duration_ms) FILTER (WHERE depth = 0) AS root_ms
               FROM span_tree GROUP BY trace_id)",
    )
    .await;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (int(&facts["trace_count"]), 0));
    let edges = sql
        .query(
            "SELECT parent_service, service_name, count(*) FROM span_tree WHERE parent_service <> service_name GROUP BY 1, 2",
            &[],
        )
        .await
        .expect("edges");
    let expected = list(&facts["edges_cross_service"]);
    let mut expected: Vec<_> =
        expected.iter().map(|fact| (text(&fact["caller"]), text(&fact["callee"]), int(&fact["count"]))).collect();
    let mut edges: Vec<(&str, &str, i64)> = edges.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    expected.sort_unstable();
    edges.sort_unstable();
    assert_eq!(edges, expected);
}

async fn slowest(sql: &Client, facts: &Value) {
    let rows = sql
        .query(
            "SELECT trace_id, span_id, service_name, span_name, duration_ns FROM spans ORDER BY duration_ns DESC, span_id LIMIT 20",
            &[],
        )
        .await
        .expect("slowest spans");
    let expected = list(&facts["slowest_20_spans"]);
    let mut found: Vec<_> =
        rows.iter().map(|row| (row.get::<_, i64>(4), row.get::<_, String>(1), row.get::<_, String>(0))).collect();
    let mut wanted: Vec<_> = expected
        .iter()
        .map(|fact| (int(&fact["duration"]), text(&fact["span"]).to_owned(), text(&fact["trace"]).to_owned()))
        .collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);

    for fact in list(&facts["traces"]["slowest_20"]) {
        let trace = text(&fact["trace"]);
        let row = sql
            .query_one(
                "SELECT duration_ns, span_count, cardinality(services)::bigint, error_count FROM traces.traces WHERE trace_id = $1",
                &[&trace],
            )
            .await
            .expect("a slow trace");
        assert_eq!(row.get::<_, i64>(0), int(&fact["duration"]), "{trace}");
        assert_eq!(row.get::<_, i64>(1), int(&fact["spans"]), "{trace}");
        assert_eq!(row.get::<_, i64>(2), int(&fact["services"]), "{trace}");
        assert_eq!(row.get::<_, i64>(3), int(&fact["errors"]), "{trace}");
    }
    let clients = "SELECT count(*), min(duration_ns) >= (SELECT min(duration_ns) FROM (SELECT duration_ns,
        row_number() OVER (ORDER BY duration_ns DESC) AS n FROM spans WHERE span_kind = 'CLIENT') numbered WHERE n <= 20)
        FROM (SELECT span_name, duration_ns FROM spans WHERE span_kind = 'CLIENT' ORDER BY duration_ns DESC, span_id LIMIT 20) best";
    let row = one(sql, clients).await;
    assert_eq!((row.get::<_, i64>(0), row.get::<_, bool>(1)), (20, true), "the slowest client spans");
}

async fn errors(sql: &Client, facts: &Value) {
    let rows = sql
        .query(
            "SELECT service_name, count(*), count(DISTINCT trace_id) FROM spans WHERE status_code = 'ERROR' GROUP BY 1",
            &[],
        )
        .await
        .expect("errors by service");
    let expected = facts["errors"]["by_service"].as_object().expect("an object");
    assert_eq!(rows.len(), expected.len());
    for row in rows {
        let service = row.get::<_, &str>(0);
        assert_eq!(row.get::<_, i64>(1), int(&expected[service]), "{service}");
        assert_eq!(row.get::<_, i64>(2), int(&facts["errors"]["traces_with_error_by_service"][service]), "{service}");
    }
    for fact in list(&facts["errors"]["first_20"]) {
        let row = sql
            .query_one(
                "SELECT service_name, span_name, error_message FROM spans WHERE trace_id = $1 AND span_id = $2",
                &[&text(&fact["trace"]), &text(&fact["span"])],
            )
            .await
            .expect("an error span");
        assert_eq!(row.get::<_, &str>(0), text(&fact["service"]));
        assert_eq!(row.get::<_, &str>(1), text(&fact["name"]));
        assert_eq!(row.get::<_, &str>(2), text(&fact["message"]));
    }
}

async fn minutes(sql: &Client, facts: &Value) {
    let rows = sql
        .query(
            "SELECT extract(epoch FROM date_trunc('minute', timestamp))::bigint, count(*), count(*) FILTER (WHERE status_code = 'ERROR'),
                    count(DISTINCT trace_id)
             FROM spans GROUP BY 1",
            &[],
        )
        .await
        .expect("minutes");
    let expected = facts["per_minute_of_start"].as_object().expect("an object");
    assert_eq!(rows.len(), expected.len());
    for row in rows {
        let minute = row.get::<_, i64>(0).to_string();
        let counts: Vec<i64> = (1..4).map(|column| row.get(column)).collect();
        assert_eq!(counts, list(&expected[&minute]).iter().map(int).collect::<Vec<_>>(), "{minute}");
    }
}

async fn attributes(sql: &Client, facts: &Value) {
    for (key, expected) in facts["span_attributes"].as_object().expect("an object") {
        let row = sql
            .query_one(
                &format!("SELECT count(attributes['{key}']), count(DISTINCT attributes->>'{key}') FROM spans"),
                &[],
            )
            .await
            .expect("attribute counts");
        assert_eq!(row.get::<_, i64>(0), int(&expected["spans"]), "{key}");
        assert_eq!(row.get::<_, i64>(1), int(&expected["distinct_values"]), "{key}");
    }
    let rows = sql
        .query(
            "SELECT attributes['db.sql.table'] AS t, count(*) FROM spans WHERE attributes['db.sql.table'] IS NOT NULL GROUP BY t",
            &[],
        )
        .await
        .expect("tables");
    let expected = list(&facts["span_attributes"]["db.sql.table"]["top"]);
    assert_eq!(rows.len(), expected.len());
    for fact in expected {
        let found = rows.iter().find(|row| row.get::<_, &str>(0) == text(&fact[0])).expect("a table");
        assert_eq!(found.get::<_, i64>(1), int(&fact[1]), "{}", fact[0]);
    }
}

async fn events(sql: &Client, facts: &Value) {
    let rows =
        sql.query("SELECT event_name, count(*) FROM traces.events GROUP BY 1", &[]).await.expect("events by name");
    let expected = facts["events"]["by_name"].as_object().expect("an object");
    assert_eq!(rows.len(), expected.len());
    for row in rows {
        assert_eq!(row.get::<_, i64>(1), int(&expected[row.get::<_, &str>(0)]));
    }
    for (kind, count) in facts["exception_type_counts"].as_object().expect("an object") {
        let row = sql
            .query_one("SELECT count(*) FROM traces.events WHERE attributes['exception.type'] = $1", &[kind])
            .await
            .expect("exceptions");
        assert_eq!(row.get::<_, i64>(0), int(count), "{kind}");
    }
}

/// The same edges as a person at psql reads them.
fn psql_says_the_same(server: &Server, facts: &Value) {
    let statement =
        "SELECT caller, callee, calls, errors FROM service_edges WHERE callee_type = 'service' ORDER BY caller, callee";
    let Some(shown) = server.psql(statement) else { return skip("psql_says_the_same", "psql is not installed") };
    let mut expected: Vec<_> = list(&facts["edges_cross_service"])
        .iter()
        .map(|fact| (text(&fact["caller"]), text(&fact["callee"]), int(&fact["count"]), int(&fact["callee_errors"])))
        .collect();
    expected.sort();
    let expected: Vec<_> =
        expected.iter().map(|(from, to, calls, errors)| format!("{from}|{to}|{calls}|{errors}")).collect();
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
}

async fn one(sql: &Client, statement: &str) -> tokio_postgres::Row {
    sql.query_one(statement, &[]).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"))
}

fn close(found: f64, expected: &Value, relative: f64, what: &str) {
    let expected = expected.as_f64().expect("a number");
    assert!(
        (found - expected).abs() <= relative * expected.abs(),
        "{what}: {found} is not within {relative} of {expected}"
    );
}

fn read_facts(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).expect("readable facts")).expect("facts in JSON")
}

fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or_else(|| panic!("{value} is not an integer"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a text"))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is not a list"))
}

/// The length-delimited messages of a zstd file.
fn messages(file: &Path) -> Vec<Vec<u8>> {
    let bytes = zstd::decode_all(std::fs::File::open(file).expect("readable traces")).expect("zstd");
    let mut rest = bytes.as_slice();
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let length = prost::decode_length_delimiter(&mut rest).expect("a length");
        let (message, tail) = rest.split_at(length);
        messages.push(message.to_vec());
        rest = tail;
    }
    messages
}

fn without_service(message: &[u8], service: &str) -> Vec<u8> {
    let mut request = ExportTraceServiceRequest::decode(message).expect("a request");
    request.resource_spans.retain(|spans| service_name(spans.resource.as_ref()) != Some(service));
    request.encode_to_vec()
}

fn service_name(resource: Option<&Resource>) -> Option<&str> {
    let attribute = resource?.attributes.iter().find(|attribute| attribute.key == "service.name")?;
    match attribute.value.as_ref()?.value.as_ref()? {
        AnyValue::StringValue(name) => Some(name),
        _ => None,
    }
}
