//! Answers made trace by trace are those of DataFusion's plain plans, over random spans in any mixture of files and fresh batches.

use std::sync::Arc;
use std::time::Duration;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::execution::{SessionState, SessionStateBuilder, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, collect, displayable};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::prelude::*;
use prost::Message;

use crate::engine::among_traces::AmongTraces;
use crate::engine::rules::{LocalRecursion, TraceLocal};
use crate::engine::scan::PinnedSnapshot;
use crate::engine::{EngineSettings, shared};
use crate::store::testing::append_export;
use crate::store::{Snapshot, SnapshotSource, Store, StoreSettings};

/// Noon of a day, in nanoseconds.
const NOON_NS: u64 = 1_767_268_800_000_000_000;

const JOIN: &str = "TraceJoinExec";
const AGGREGATE: &str = "TraceAggregateExec";
const WINDOW: &str = "TraceWindowExec";
const RECURSION: &str = "TraceRecursionExec";
const ROUNDS: &str = "RecursiveQueryExec";
const AMONG: &str = "AmongTracesExec";
/// An operator that must not answer.
const NOT_AMONG: &str = "!AmongTracesExec";

/// What is asked, and which operator must answer.
const QUESTIONS: &[(&str, &str)] = &[
    (
        JOIN,
        "SELECT p.service_name, c.service_name, count(*), count(*) FILTER (WHERE c.status_code = 'ERROR'), quantile(c.duration_ms, 0.95) FROM spans c
         JOIN spans p ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id WHERE c.service_name <> p.service_name GROUP BY 1, 2",
    ),
    (
        JOIN,
        "SELECT c.span_id, p.span_id, c.span_name, p.service_name FROM spans c
         JOIN spans p ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id",
    ),
    (
        JOIN,
        "SELECT c.span_id, p.span_name, p.duration_ns FROM spans c
         LEFT JOIN spans p ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id AND p.duration_ns > c.duration_ns
         WHERE c.service_name <> 'b'",
    ),
    (
        JOIN,
        "SELECT c.span_name, p.span_id, p.timestamp FROM spans c
         RIGHT JOIN (SELECT *, duration_ns + 1 AS more FROM spans WHERE service_name <> 'a') p
         ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id AND c.duration_ns < p.more",
    ),
    (
        JOIN,
        "SELECT c.span_id, c.trace_id, p.span_id, p.trace_id FROM (SELECT * FROM spans WHERE span_kind = 'SERVER') c
         FULL JOIN (SELECT * FROM spans WHERE service_name = 'a') p
         ON c.trace_id = p.trace_id AND c.service_name = p.service_name",
    ),
    (
        JOIN,
        "SELECT c.*, p.* FROM spans c JOIN spans p ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id",
    ),
    (
        JOIN,
        "SELECT c.span_id, c.attributes, c.attributes['k'] AS k, p.events FROM spans c
         LEFT JOIN spans p ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id",
    ),
    (
        "HashJoinExec",
        "SELECT c.span_id, p.attributes['k'] AS k FROM spans c
         JOIN spans p ON c.trace_id = p.trace_id AND c.parent_span_id = p.span_id",
    ),
    (
        JOIN,
        "SELECT span_id, trace_id FROM spans WHERE trace_id IN (SELECT trace_id FROM spans WHERE status_code = 'ERROR')",
    ),
    (
        JOIN,
        "SELECT span_id FROM spans s WHERE EXISTS (
             SELECT 1 FROM spans e WHERE e.trace_id = s.trace_id AND e.duration_ns > s.duration_ns AND e.service_name = 'c')",
    ),
    (
        JOIN,
        "SELECT span_id FROM spans s WHERE parent_span_id IS NOT NULL AND NOT EXISTS (
             SELECT 1 FROM spans p WHERE p.trace_id = s.trace_id AND p.span_id = s.parent_span_id)",
    ),
    (
        JOIN,
        "SELECT a.span_id, b.span_id FROM spans a JOIN spans b ON a.trace_id = b.trace_id AND a.timestamp < b.timestamp",
    ),
    (
        JOIN,
        "SELECT a.service_name, b.span_name, count(*) FROM spans a
         JOIN spans b ON a.trace_id = b.trace_id AND a.service_name = b.service_name AND a.span_kind = b.span_kind
         GROUP BY 1, 2",
    ),
    (
        "HashJoinExec",
        "SELECT span_id FROM spans s WHERE service_name = 'a' OR EXISTS (
             SELECT 1 FROM spans c WHERE c.trace_id = s.trace_id AND c.parent_span_id = s.span_id)",
    ),
    (AGGREGATE, "SELECT trace_id, duration_ns, span_count, error_count, orphan_count, timestamp FROM traces"),
    (AGGREGATE, "SELECT count(DISTINCT trace_id) FROM spans"),
    (AGGREGATE, "SELECT DISTINCT trace_id, service_name FROM spans WHERE status_code = 'ERROR'"),
    (
        AGGREGATE,
        "SELECT trace_id, parent_span_id, span_name, count(*), sum(duration_ns) FROM spans
         GROUP BY trace_id, parent_span_id, span_name HAVING count(*) > 1",
    ),
    (
        "having=count(Int64(1))",
        "SELECT service_name, count(*), max(calls) FROM (
             SELECT trace_id, service_name, span_name, count(*) AS calls, sum(duration_ns) AS total FROM spans
             GROUP BY trace_id, service_name, span_name HAVING count(*) >= 2 AND sum(duration_ns) <> 7) AS s GROUP BY service_name",
    ),
    (
        "FilterExec",
        "SELECT trace_id, span_kind, count(*) FROM spans GROUP BY trace_id, span_kind HAVING count(*) > 2 OR span_kind = 'CLIENT'",
    ),
    (
        "having=",
        "SELECT trace_id, status_code, count(*), min(duration_ns) FROM spans GROUP BY trace_id, status_code HAVING min(duration_ns) > 3",
    ),
    (
        AGGREGATE,
        "SELECT service_name, trace_id, count(DISTINCT span_name), quantile(duration_ms, 0.5), median(duration_ns),
             count(*) FILTER (WHERE duration_ns > 3), first_value(span_id ORDER BY timestamp, span_id, duration_ns)
         FROM spans WHERE duration_ns <> 4 GROUP BY service_name, trace_id",
    ),
    (WINDOW, "SELECT span_id, is_in_trace(status_code = 'ERROR') OVER (PARTITION BY trace_id) AS fails FROM spans"),
    (
        WINDOW,
        "SELECT span_name, count(*) FROM (SELECT span_name, is_repeated(parent_span_id, service_name, span_name, 2) OVER (PARTITION BY trace_id) AS again
         FROM spans WHERE duration_ns <> 4) AS s WHERE again GROUP BY span_name",
    ),
    // Parents go in circles here.
    (
        RECURSION,
        "WITH RECURSIVE t AS (
             SELECT trace_id, span_id, 0 AS depth FROM spans WHERE parent_span_id IS NULL
             UNION ALL
             SELECT s.trace_id, s.span_id, t.depth + 1 FROM t JOIN spans s ON s.trace_id = t.trace_id AND s.parent_span_id = t.span_id
             WHERE t.depth < 2)
         SELECT trace_id, span_id, depth FROM t",
    ),
    (
        RECURSION,
        "WITH RECURSIVE t (error, trace, at, parent, path) AS (
             SELECT span_id, trace_id, span_id AS at, parent_span_id, span_name FROM spans WHERE status_code = 'ERROR'
             UNION ALL
             SELECT t.error, t.trace, up.span_id, up.parent_span_id, up.service_name || '/' || t.path FROM spans up
             JOIN t ON up.span_id = t.parent AND up.trace_id = t.trace AND up.duration_ns + length(t.path) > 12
             WHERE length(t.path) < 16)
         SELECT * FROM t",
    ),
    (
        RECURSION,
        "WITH RECURSIVE t AS (
             SELECT trace_id, span_id, parent_span_id FROM spans WHERE service_name = 'a'
             UNION
             SELECT s.trace_id, s.span_id, s.parent_span_id FROM spans s JOIN t ON s.trace_id = t.trace_id AND s.span_id = t.parent_span_id)
         SELECT * FROM t",
    ),
    (
        RECURSION,
        "WITH RECURSIVE t AS (
             SELECT trace_id, service_name, 0 AS n FROM spans
             UNION
             SELECT s.trace_id, s.service_name, t.n + 1 FROM spans s JOIN t ON s.trace_id = t.trace_id AND s.service_name <> t.service_name
             WHERE s.duration_ns > 2 AND t.n < 3)
         SELECT service_name, n, count(*) FROM t GROUP BY 1, 2",
    ),
    // These go from trace to trace.
    (
        ROUNDS,
        "WITH RECURSIVE t AS (
             SELECT trace_id, span_id, 0 AS depth FROM spans WHERE parent_span_id IS NULL
             UNION
             SELECT s.trace_id, s.span_id, t.depth + 1 FROM t JOIN spans s ON s.parent_span_id = t.span_id WHERE t.depth < 3)
         SELECT * FROM t",
    ),
    (
        ROUNDS,
        "WITH RECURSIVE t AS (
             SELECT trace_id, span_id, span_id AS at, 0 AS depth FROM spans WHERE parent_span_id IS NULL
             UNION
             SELECT replace(s.trace_id, '1', '2'), t.span_id, s.span_id, t.depth + 1 FROM t
             JOIN spans s ON s.trace_id = t.trace_id AND s.parent_span_id = t.at WHERE t.depth < 3)
         SELECT * FROM t",
    ),
];

/// What is asked of the spans of traces that something else finds.
const QUESTIONS_AMONG: &[(&str, &str)] = &[
    (
        AMONG,
        "SELECT service_name, span_name, count(*), count(DISTINCT trace_id), sum(duration_ns) FROM spans
         WHERE trace_id IN (SELECT trace_id FROM spans WHERE status_code = 'ERROR') GROUP BY 1, 2",
    ),
    (AMONG, "SELECT * FROM spans WHERE trace_id IN (SELECT trace_id FROM spans WHERE status_code = 'ERROR')"),
    (AMONG, "SELECT count(*) FROM spans WHERE trace_id IN (SELECT trace_id FROM spans WHERE duration_ns > 100)"),
    (
        AMONG,
        "SELECT span_id, attributes['k'] FROM spans WHERE duration_ns > 2 AND attributes['k'] <> 3
         AND trace_id IN (SELECT CASE WHEN duration_ns > 5 THEN trace_id END FROM spans)",
    ),
    (
        AMONG,
        "SELECT span_id FROM spans s WHERE EXISTS (SELECT 1 FROM spans e WHERE e.trace_id = s.trace_id AND e.service_name = 'c')",
    ),
    (AMONG, "SELECT span_id FROM spans WHERE trace_id IN (SELECT trace_id FROM traces WHERE error_count > 1)"),
    (
        AMONG,
        "SELECT span_id FROM spans WHERE trace_id IN (SELECT trace_id FROM spans WHERE span_name = 'operation 1'
             AND trace_id IN (SELECT trace_id FROM spans WHERE status_code = 'ERROR'))",
    ),
    (
        AMONG,
        "SELECT a.span_id, b.span_id FROM (SELECT * FROM spans WHERE trace_id IN (SELECT trace_id FROM spans WHERE status_code = 'ERROR')) a
         JOIN spans b ON a.span_id = b.parent_span_id",
    ),
    (
        AMONG,
        "SELECT trace_id FROM spans WHERE trace_id IN (SELECT trace_id FROM spans WHERE status_code = 'ERROR')
         ORDER BY trace_id DESC, span_id LIMIT 3",
    ),
    (NOT_AMONG, "SELECT span_id FROM spans WHERE trace_id NOT IN (SELECT trace_id FROM spans WHERE status_code = 'ERROR')"),
    (
        NOT_AMONG,
        "SELECT span_id FROM spans WHERE trace_id NOT IN (SELECT CASE WHEN duration_ns > 5 THEN trace_id END FROM spans)",
    ),
    (
        NOT_AMONG,
        "SELECT span_id, trace_id IN (SELECT trace_id FROM spans WHERE status_code = 'ERROR') AS fails FROM spans",
    ),
    (
        NOT_AMONG,
        "SELECT span_id FROM spans s WHERE EXISTS (
             SELECT 1 FROM spans e WHERE e.trace_id = s.trace_id AND e.status_code = 'ERROR' AND e.duration_ns > s.duration_ns)",
    ),
];

#[derive(Debug, Clone)]
struct Drawn {
    trace: u8,
    span: u8,
    parent: u8,
    service: u8,
    minute: u8,
    duration: u8,
    is_error: bool,
}

#[derive(Debug, Clone)]
enum Op {
    Append(Vec<Drawn>),
    Seal,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    (0..6_u8, 1..14_u8, 0..14_u8, 0..3_u8, 0..12_u8, 0..9_u8, prop::bool::weighted(0.2)).prop_map(
        |(trace, span, parent, service, minute, duration, is_error)| Drawn {
            trace,
            span,
            parent,
            service,
            minute,
            duration,
            is_error,
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![3 => prop::collection::vec(drawn(), 1..24).prop_map(Op::Append), 2 => Just(Op::Seal)]
}

fn request(spans: &[Drawn]) -> ExportTraceServiceRequest {
    let resource_spans = spans.iter().map(|drawn| {
        let start = NOON_NS + u64::from(drawn.minute) * 60_000_000_000 + u64::from(drawn.span);
        let parent = match drawn.parent {
            0 => Vec::new(),
            parent => u64::from(parent).to_be_bytes().to_vec(),
        };
        let span = Span {
            // Some ids differ in their upper half only, and some are the least there is.
            trace_id: (u128::from(drawn.trace % 3 + 1) + (u128::from(drawn.trace / 3) << 64)).to_be_bytes().to_vec(),
            span_id: u64::from(drawn.span).to_be_bytes().to_vec(),
            parent_span_id: parent,
            name: format!("operation {}", drawn.span % 4),
            kind: i32::from(drawn.span % 2) + 1,
            start_time_unix_nano: start,
            end_time_unix_nano: start + u64::from(drawn.duration),
            attributes: vec![KeyValue {
                key: "k".into(),
                value: Some(AnyValue { value: Some(Value::IntValue(i64::from(drawn.minute))) }),
                ..Default::default()
            }],
            events: vec![
                Event { name: format!("event {}", drawn.span), ..Default::default() };
                usize::from(drawn.span % 3)
            ],
            status: drawn.is_error.then(|| Status { code: 2, ..Default::default() }),
            ..Default::default()
        };
        let service = Value::StringValue(["a", "b", "c"][usize::from(drawn.service)].into());
        let service = KeyValue {
            key: "service.name".into(),
            value: Some(AnyValue { value: Some(service) }),
            ..Default::default()
        };
        ResourceSpans {
            resource: Some(Resource { attributes: vec![service], ..Default::default() }),
            scope_spans: vec![ScopeSpans { spans: vec![span], ..Default::default() }],
            ..Default::default()
        }
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
}

async fn snapshot_of(ops: &[Op]) -> (tempfile::TempDir, Arc<Store>, Snapshot) {
    let dir = tempfile::tempdir().expect("a directory");
    let settings = StoreSettings { seal_after: Duration::from_secs(3600), ..StoreSettings::default() };
    let store = Store::open(dir.path(), settings).await.expect("a store");
    for op in ops {
        match op {
            Op::Append(spans) => {
                append_export(&store, request(spans).encode_to_vec().into()).await.expect("kept");
            }
            Op::Seal => {
                store.seal().await.expect("sealed");
            }
        }
    }
    let snapshot = store.snapshot().await.expect("a snapshot");
    (dir, store, snapshot)
}

/// What plans are made of wherever it can be.
#[derive(Clone, Copy)]
enum Own {
    Nothing,
    TraceByTrace,
    SpansAmongTraces,
}

fn state(snapshot: &Snapshot, own: Own, batch_rows: usize) -> SessionState {
    let rules = shared::physical_optimizer_rules()
        .into_iter()
        .filter(|rule| !["trace_local", "local_recursion", "among_traces"].contains(&rule.name()));
    let mut rules: Vec<_> = rules.collect();
    match own {
        Own::Nothing => {}
        Own::TraceByTrace => {
            rules.insert(0, Arc::new(TraceLocal::always()));
            rules.insert(0, Arc::new(LocalRecursion::always()));
        }
        Own::SpansAmongTraces => rules.insert(0, Arc::new(AmongTraces::always())),
    }
    let state = shared::state(&EngineSettings::default(), &Arc::default(), &Arc::default(), &Arc::default());
    let state = state.expect("a state");
    let mut state = SessionStateBuilder::new_from_existing(state).with_physical_optimizer_rules(rules).build();
    let config = state.config().clone().with_target_partitions(3).with_batch_size(batch_rows);
    *state.config_mut() = config.with_extension(Arc::new(PinnedSnapshot(snapshot.clone())));
    state
}

async fn planned(state: &SessionState, sql: &str) -> Arc<dyn ExecutionPlan> {
    let plan = state.create_logical_plan(sql).await.expect("planned");
    state.create_physical_plan(&plan).await.expect("planned")
}

async fn answer(state: &SessionState, plan: Arc<dyn ExecutionPlan>) -> Vec<String> {
    let batches = collect(plan, Arc::new(TaskContext::from(state))).await.expect("an answer");
    let mut rows: Vec<String> = batches.iter().flat_map(texts).collect();
    rows.sort();
    rows
}

fn texts(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<_> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).expect("shown")).collect();
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join("|");
    (0..batch.num_rows()).map(row).collect()
}

async fn compare(ops: &[Op], batch_rows: usize, own: Own, questions: &[(&str, &str)]) {
    let (_dir, _store, snapshot) = snapshot_of(ops).await;
    let (plain, local) = (state(&snapshot, Own::Nothing, batch_rows), state(&snapshot, own, batch_rows));
    for (operator, sql) in questions {
        let plan = planned(&local, sql).await;
        let shown = displayable(plan.as_ref()).indent(false).to_string();
        let has_spans = !snapshot.files.is_empty() || !snapshot.fresh.is_empty();
        let is_so = match operator.strip_prefix('!') {
            Some(other) => !shown.contains(other),
            None => shown.contains(operator),
        };
        assert!(!has_spans || is_so, "{sql}\n{shown}");
        let expected = answer(&plain, planned(&plain, sql).await).await;
        assert_eq!(answer(&local, plan).await, expected, "{sql}\n{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn answers_are_those_of_the_plain_plan(
        ops in prop::collection::vec(op(), 1..8),
        batch_rows in prop::sample::select(vec![1_usize, 3, 8, 8192]),
    ) {
        on_threads(async move { compare(&ops, batch_rows, Own::TraceByTrace, QUESTIONS).await });
    }

    #[test]
    fn spans_among_traces_are_those_of_the_plain_plan(
        ops in prop::collection::vec(op(), 1..8),
        batch_rows in prop::sample::select(vec![1_usize, 3, 8192]),
    ) {
        on_threads(async move { compare(&ops, batch_rows, Own::SpansAmongTraces, QUESTIONS_AMONG).await });
    }
}

fn on_threads(work: impl Future<Output = ()> + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_stack_size(64 << 20)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async { tokio::spawn(work).await.expect("compared") });
}
