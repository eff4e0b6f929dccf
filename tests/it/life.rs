//! Spans that come late, and spans that expire by age and by rule, as statements see them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;
use spanhouse::engine::{Engine, EngineSettings, Outcome};
use spanhouse::store::{Retention, RetentionRule, SnapshotSource, Store, StoreReader, StoreSettings};

use crate::store_support::{append, request};

/// The seconds of a day.
const DAY_S: u64 = 86_400;
const SECOND_NS: u64 = 1_000_000_000;
/// What a statement that was dropped may take to end, on a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(60);

/// A span of the one trace: its id, its parent's, and when it began and ended.
fn span(id: u8, parent: u8, start_ns: u64, end_ns: u64) -> Span {
    Span {
        trace_id: vec![7; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        name: format!("operation {id}"),
        start_time_unix_nano: start_ns,
        end_time_unix_nano: end_ns,
        status: Some(Status { code: if id == 4 { 2 } else { 0 }, ..Status::default() }),
        events: vec![Event { time_unix_nano: start_ns, name: "here".into(), ..Event::default() }],
        ..Span::default()
    }
}

async fn add(store: &Store, spans: Vec<Span>) {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let request =
        ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans, ..Default::default() }] };
    append(store, request.encode_to_vec().into()).await.expect("kept");
}

/// The one row of a statement, as text.
async fn row(source: Arc<dyn SnapshotSource>, sql: &str) -> String {
    let engine = Engine::new(source, EngineSettings::default()).expect("an engine");
    let session = engine.session();
    let statements = session.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let outcome = session.execute(&statements[0], &[]).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let Outcome::Rows(mut rows) = outcome else { panic!("no rows") };
    let mut cells = Vec::new();
    while let Some(batch) = rows.stream.next().await {
        let batch = batch.expect("a batch");
        for column in batch.columns() {
            for at in 0..batch.num_rows() {
                cells.push(datafusion::arrow::util::display::array_value_to_string(column, at).expect("text"));
            }
        }
    }
    cells.join(" ")
}

async fn open(dir: &Path, age: Option<Duration>) -> Arc<Store> {
    open_with(dir, Retention { age, rules: Vec::new() }).await
}

async fn open_with(dir: &Path, retention: Retention) -> Arc<Store> {
    let settings =
        StoreSettings { seal_after: Duration::from_secs(3600), compact: false, retention, ..StoreSettings::default() };
    Store::open(dir, settings).await.expect("a store")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_right_after_each_late_span_in_memory_and_in_files() {
    const TRACE: &str = "SELECT span_count, root_name, CAST(duration_ns / 1000000000 AS BIGINT), error_count, orphan_count, complete FROM traces.traces";
    // The root comes last, and began on the day before its children.
    let midnight_ns = 1_767_312_000 * SECOND_NS;
    let at = |second: i64| midnight_ns.saturating_add_signed(second * SECOND_NS as i64);
    let steps = [
        (span(2, 1, at(1), at(3)), "1  2 0 1 false"),
        (span(3, 2, at(2), at(8)), "2  7 0 1 false"),
        (span(4, 5, at(2), at(3)), "3  7 1 2 false"),
        (span(1, 0, at(-2), at(9)), "4 operation 1 11 1 1 false"),
        (span(5, 1, at(0), at(20)), "5 operation 1 22 1 0 true"),
    ];
    for seals in [false, true] {
        let dir = tempfile::tempdir().expect("directory");
        let store = open(dir.path(), None).await;
        for (number, (span, expected)) in steps.iter().enumerate() {
            add(&store, vec![span.clone()]).await;
            assert_eq!(row(store.clone(), TRACE).await, *expected, "step {number}, fresh, {seals}");
            if seals {
                store.seal().await.expect("sealed");
                assert_eq!(row(store.clone(), TRACE).await, *expected, "step {number}, sealed");
            }
        }
        store.compact().await.expect("compacted");
        assert_eq!(row(store.clone(), TRACE).await, steps[4].1, "compacted");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_statement_sees_a_span_that_has_expired_fresh_or_stored() {
    let dir = tempfile::tempdir().expect("directory");
    // Spans expire that started before noon of the day before: those that stay lie on the same day, and so does their file.
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    let noon_s = (now_s / DAY_S - 1) * DAY_S + DAY_S / 2;
    let kept = Duration::from_secs(now_s - noon_s);
    let at = |seconds: i64| noon_s.saturating_add_signed(seconds) * SECOND_NS;
    let before =
        format!("SELECT count(*) FROM spans WHERE timestamp < now() - INTERVAL '{} seconds'", kept.as_secs() + 1800);
    let statements = [
        ("SELECT count(*) FROM spans", "2"),
        ("SELECT count(*) FROM spans WHERE trace_id = '07070707070707070707070707070707'", "2"),
        ("SELECT min(span_name) FROM spans", "operation 2"),
        ("SELECT count(*) FROM events", "2"),
        ("SELECT span_count, orphan_count FROM traces.traces", "2 1"),
        ("SELECT (SELECT count(*) FROM spans) + (SELECT count(*) FROM traces.traces)", "3"),
        ("WITH late AS (SELECT * FROM spans) SELECT count(*) FROM late a JOIN late b ON a.trace_id = b.trace_id", "4"),
        (before.as_str(), "0"),
    ];
    let store = open(dir.path(), Some(kept)).await;
    let spans = vec![span(1, 0, at(-3600), at(3590)), span(2, 1, at(3000), at(3100)), span(3, 2, at(3540), at(3550))];
    add(&store, spans).await;
    let reader = StoreReader::open(dir.path()).await.expect("a reader");
    for state in ["fresh", "sealed"] {
        for (sql, expected) in statements {
            assert_eq!(row(store.clone(), sql).await, expected, "{state}: {sql}");
            assert_eq!(row(reader.clone(), sql).await, expected, "{state}, by a reader: {sql}");
        }
        store.seal().await.expect("sealed");
    }
    store.close().await.expect("closed");
    drop(store);
    let store = open(dir.path(), None).await;
    assert_eq!(row(store.clone(), "SELECT count(*) FROM spans").await, "3", "without retention they are still there");
}

/// A trace of one service: its spans' offsets after `start_ns`, durations and whether they are errors.
fn trace(id: u8, service: &str, start_ns: u64, spans: &[(u64, u64, bool)]) -> ResourceSpans {
    let span = |(number, (after_s, duration_ms, error)): (usize, &(u64, u64, bool))| Span {
        trace_id: vec![id; 16],
        span_id: vec![id, number as u8 + 1, 0, 0, 0, 0, 0, 1],
        name: format!("trace {id}"),
        start_time_unix_nano: start_ns + after_s * SECOND_NS,
        end_time_unix_nano: start_ns + after_s * SECOND_NS + duration_ms * 1_000_000,
        status: Some(Status { code: if *error { 2 } else { 0 }, ..Status::default() }),
        events: vec![Event { time_unix_nano: start_ns, name: "here".into(), ..Event::default() }],
        ..Span::default()
    };
    let name = AnyValue { value: Some(any_value::Value::StringValue(service.into())) };
    let attributes = vec![KeyValue { key: "service.name".into(), value: Some(name), ..KeyValue::default() }];
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans: spans.iter().enumerate().map(span).collect(), ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_keep_whole_traces_longer_or_shorter_exactly_wherever_their_spans_lie() {
    const MINUTE_NS: u64 = 60 * SECOND_NS;
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let none = RetentionRule { service: None, errors: false, slower_than: None, keep: minutes(0) };
    let slow = Some(Duration::from_secs(2));
    let rules = vec![
        RetentionRule { errors: true, keep: minutes(180), ..none.clone() },
        RetentionRule { service: Some("health".into()), keep: minutes(10), ..none.clone() },
        RetentionRule { slower_than: slow, keep: minutes(360), ..none.clone() },
        RetentionRule { service: Some("pay".into()), errors: true, keep: minutes(600), ..none },
    ];
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_nanos() as u64;
    let ago = |minutes: u64| now_ns - minutes * MINUTE_NS;
    let (fine, error, slow) = ((1, 10, false), (2, 10, true), (3, 2001, false));
    // (trace, whether it is seen)
    let traces = [
        (trace(1, "shop", ago(30), &[fine]), true),
        (trace(2, "shop", ago(61), &[fine, fine]), false),
        (trace(3, "shop", ago(61), &[fine, error]), true),
        (trace(4, "shop", ago(181), &[fine, error]), false),
        (trace(5, "health", ago(9), &[fine]), true),
        (trace(6, "health", ago(11), &[fine, fine]), false),
        (trace(7, "health", ago(70), &[fine, error]), true),
        (trace(8, "shop", ago(350), &[fine, slow]), true),
        (trace(9, "shop", ago(350), &[(3, 2000, false)]), false),
        (trace(10, "pay", ago(500), &[fine, error]), true),
        (trace(11, "pay", ago(350), &[error]), true),
        (trace(12, "pay", ago(61), &[fine]), false),
        (trace(13, "shop", ago(500), &[error]), false),
    ];
    let dir = tempfile::tempdir().expect("directory");
    let retention = Retention { age: Some(minutes(60)), rules };
    let store = open_with(dir.path(), retention.clone()).await;
    let seen = || traces.iter().enumerate().filter(|(_, (_, seen))| *seen).map(|(at, _)| format!("trace {}", at + 1));
    let mut expected: Vec<String> = seen().collect();
    expected.sort();
    let spans: usize = traces.iter().filter(|(_, seen)| *seen).map(|(trace, _)| trace.scope_spans[0].spans.len()).sum();
    let names = "SELECT string_agg(DISTINCT span_name, ' ' ORDER BY span_name) FROM spans";
    let statements = [
        (names, expected.join(" ")),
        ("SELECT count(*) FROM spans", spans.to_string()),
        ("SELECT count(*), sum(span_count) FROM traces.traces", format!("{} {spans}", expected.len())),
        ("SELECT count(*) FROM events", spans.to_string()),
        ("SELECT count(*) FROM spans WHERE trace_id = '04040404040404040404040404040404'", "0".into()),
        ("SELECT count(*) FROM spans WHERE trace_id = '03030303030303030303030303030303'", "2".into()),
        ("SELECT count(*), sum(child_count) FROM span_tree", format!("{spans} 0")),
        ("SELECT count(*) FROM span_tree WHERE service_name IS NOT NULL", spans.to_string()),
        ("SELECT count(depth) FROM span_tree WHERE trace_id = '04040404040404040404040404040404'", "0".into()),
        ("SELECT count(depth) FROM span_tree WHERE trace_id = '03030303030303030303030303030303'", "2".into()),
        (
            "SELECT count(*) FROM spans a JOIN spans b ON a.trace_id = b.trace_id AND a.span_id = b.span_id",
            spans.to_string(),
        ),
        ("SELECT count(*) FROM spans WHERE timestamp < now() - INTERVAL '3 hours'", "5".into()),
        ("SELECT count(*) FROM (SELECT span_id FROM spans ORDER BY duration_ns DESC LIMIT 2) slowest", "2".into()),
    ];
    // Half of the spans of each trace are in one export and half in another: what decides is in another file than what it decides about.
    for half in [0, 1] {
        let resource_spans = traces.iter().cloned().map(|(mut trace, _)| {
            let mut number = 0;
            trace.scope_spans[0].spans.retain(|_| {
                number += 1;
                number % 2 == half
            });
            trace
        });
        let request = ExportTraceServiceRequest { resource_spans: resource_spans.collect() };
        append(&store, request.encode_to_vec().into()).await.expect("kept");
        if half == 0 {
            store.seal().await.expect("sealed");
        }
    }
    let reader = StoreReader::open(dir.path()).await.expect("a reader");
    for state in ["half fresh", "sealed", "compacted"] {
        for (sql, expected) in &statements {
            assert_eq!(row(store.clone(), sql).await, *expected, "{state}: {sql}");
            assert_eq!(row(reader.clone(), sql).await, *expected, "{state}, by a reader: {sql}");
        }
        store.seal().await.expect("sealed");
        if state == "sealed" {
            store.compact().await.expect("compacted");
        }
    }
    // An error that comes late brings back what has not been taken out of files.
    let late = ExportTraceServiceRequest {
        resource_spans: vec![trace(2, "shop", ago(60), &[(0, 1, false), (0, 1, false), error])],
    };
    append(&store, late.encode_to_vec().into()).await.expect("kept");
    let back = "SELECT count(*) FROM spans WHERE span_name = 'trace 2'";
    assert_eq!(row(store.clone(), back).await, "5");
    store.close().await.expect("closed");
    assert_eq!(row(reader.clone(), back).await, "5");
    drop(store);
    let rules = retention.rules[..1].to_vec();
    let store = open_with(dir.path(), Retention { rules, ..retention }).await;
    assert_eq!(
        row(reader, names).await,
        "trace 1 trace 2 trace 3 trace 5 trace 6 trace 7",
        "readers follow other rules"
    );
    drop(store);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_a_running_statement_reads_are_deleted_when_it_ends_and_not_before() {
    const SEALINGS: u64 = 60;
    const SPANS: u64 = 2_000;
    for reads_all in [true, false] {
        let dir = tempfile::tempdir().expect("directory");
        let settings = StoreSettings {
            seal_after: Duration::from_secs(3600),
            compact: false,
            keep_removed: Duration::ZERO,
            ..StoreSettings::default()
        };
        let store = Store::open(dir.path(), settings).await.expect("a store");
        for sealing in 0..SEALINGS {
            append(&store, request(1 + sealing * SPANS..1 + (sealing + 1) * SPANS)).await.expect("kept");
            store.seal().await.expect("sealed");
        }
        let before = store.status().table_files as u64;
        let settings = EngineSettings { column_cache_bytes: 0, ..EngineSettings::default() };
        let engine = Engine::new(store.clone(), settings).expect("an engine");
        let session = engine.session();
        let statement = session.prepare("SELECT * FROM spans").await.expect("a statement").remove(0);
        let Outcome::Rows(mut rows) = session.execute(&statement, &[]).await.expect("started") else {
            panic!("no rows")
        };
        let mut read = rows.stream.next().await.expect("a batch").expect("rows").num_rows() as u64;

        store.compact().await.expect("compacted");
        store.compact().await.expect("nothing is left to merge");
        assert!((store.status().table_files as u64) < before);
        assert!(store.status().removed_files >= before, "{} of {before} wait", store.status().removed_files);
        if reads_all {
            while let Some(batch) = rows.stream.next().await {
                read += batch.expect("no file is gone").num_rows() as u64;
            }
            assert_eq!(read, SEALINGS * SPANS);
        }
        drop(rows);
        let begun = Instant::now();
        while store.status().removed_files > 0 {
            store.compact().await.expect("nothing is left to merge");
            assert!(begun.elapsed() < PATIENCE, "{} files stay", store.status().removed_files);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
