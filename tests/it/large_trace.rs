//! A trace whose rows take more than the memory of a statement: of all of its spans no more is held than what its tree is made of.

use std::sync::Arc;

use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use spanhouse::engine::{Engine, EngineSettings, Outcome};
use spanhouse::store::Store;

use crate::store_support::{append, explained, open_uncompacted};

const SPANS: u64 = 100_000;
/// Each span has so many children, as long as there are spans.
const CHILDREN: u64 = 8;
const MEMORY_BYTES: usize = 96 << 20;
const STATEMENT_BYTES: usize = 72 << 20;
/// How many times as much those questions get that hold more than a tree.
const MORE: usize = 4;
const REQUEST_SPANS: u64 = 4_000;

const TRACE: &str = "000000000000000000000000000000aa";
const START_NS: u64 = 1_767_268_800_000_000_000;
/// What a span runs longer than its children together.
const OWN_NS: u64 = 1_000;

/// The spans from 1 as the tests have them in mind: not made by what is tested.
struct Drawn {
    start_ns: Vec<u64>,
    duration_ns: Vec<u64>,
    depth: Vec<u64>,
    below: Vec<u64>,
}

fn parent(id: u64) -> u64 {
    (id + CHILDREN - 2) / CHILDREN
}

fn children(id: u64) -> std::ops::Range<u64> {
    let first = (id - 1) * CHILDREN + 2;
    first.min(SPANS + 1)..(first + CHILDREN).min(SPANS + 1)
}

fn is_leaf(id: u64) -> bool {
    children(id).is_empty()
}

impl Drawn {
    /// A span's children run one after the other, and then it runs for a while alone.
    fn new() -> Self {
        let zeros = || vec![0; SPANS as usize + 1];
        let (mut start_ns, mut duration_ns, mut depth, mut below) = (zeros(), zeros(), zeros(), zeros());
        for id in (1..=SPANS).rev() {
            let sum = |of: &[u64]| children(id).map(|child| of[child as usize]).sum::<u64>();
            duration_ns[id as usize] = OWN_NS + sum(&duration_ns);
            below[id as usize] = children(id).count() as u64 + sum(&below);
        }
        start_ns[1] = START_NS;
        for id in 1..=SPANS {
            let mut from = start_ns[id as usize];
            for child in children(id) {
                start_ns[child as usize] = from;
                depth[child as usize] = depth[id as usize] + 1;
                from += duration_ns[child as usize];
            }
        }
        Self { start_ns, duration_ns, depth, below }
    }

    fn span(&self, id: u64) -> Span {
        let text = |key: &str, value: String| KeyValue {
            key: key.to_owned(),
            value: Some(AnyValue { value: Some(Value::StringValue(value)) }),
            ..KeyValue::default()
        };
        // The notes of all spans alone take the memory of all statements.
        let mut attributes = vec![
            text("depth", self.depth[id as usize].to_string()),
            text("note", format!("{:>1000}", format!("{id:016x}"))),
        ];
        if is_leaf(id) {
            attributes.push(text("db.system", "postgresql".to_owned()));
            attributes.push(text("db.name", "shop".to_owned()));
            attributes.push(text("db.statement", format!("SELECT * FROM items WHERE id = {id}")));
        }
        Span {
            trace_id: hex(TRACE),
            span_id: id.to_be_bytes().to_vec(),
            parent_span_id: if id == 1 { Vec::new() } else { parent(id).to_be_bytes().to_vec() },
            name: if is_leaf(id) { "SELECT shop" } else { "step" }.to_owned(),
            kind: if is_leaf(id) { 3 } else { 1 },
            start_time_unix_nano: self.start_ns[id as usize],
            end_time_unix_nano: self.start_ns[id as usize] + self.duration_ns[id as usize],
            attributes,
            ..Span::default()
        }
    }

    fn request(&self, ids: impl Iterator<Item = u64>) -> Vec<u8> {
        let service = AnyValue { value: Some(Value::StringValue("big".to_owned())) };
        let service = KeyValue { key: "service.name".to_owned(), value: Some(service), ..KeyValue::default() };
        let resource = Some(Resource { attributes: vec![service], ..Resource::default() });
        let scope_spans = vec![ScopeSpans { spans: ids.map(|id| self.span(id)).collect(), ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
        ExportTraceServiceRequest { resource_spans }.encode_to_vec()
    }

    /// What is asked, and the answer that follows from how the trace is made.
    fn questions(&self) -> Vec<(String, String)> {
        let all = || 1..=SPANS;
        let depths: u64 = self.depth.iter().sum();
        let deepest = self.depth.iter().max().copied().unwrap_or(0);
        let leaves = all().filter(|id| is_leaf(*id)).count() as u64;
        let calls_of = |id: u64| children(id).filter(|child| is_leaf(*child)).count() as u64;
        let callers: Vec<u64> = all().map(calls_of).filter(|calls| *calls >= 5).collect();
        let total_ns = self.duration_ns[1];
        let widths: u64 = all().map(|id| 2 * self.below[id as usize] + 1).sum();
        let of_tree = |from: &str| {
            format!(
                "SELECT count(*), sum(depth), max(depth), sum(nset_right - nset_left), sum(child_count), round(sum(self_ms) * 1000),
                    round(sum(critical_ms) * 1000), sum(cardinality(attributes)), count(*) FILTER (WHERE attributes['depth'] = depth::text),
                    count(*) FILTER (WHERE trim(attributes['note']) = span_id)
                FROM {from}"
            )
        };
        let tree = format!(
            "{SPANS} {depths} {deepest} {widths} {} {SPANS} {SPANS} {} {SPANS} {SPANS}",
            SPANS - 1,
            2 * SPANS + 3 * leaves
        );
        vec![
            (of_tree("span_tree"), tree.clone()),
            (of_tree(&format!("span_tree WHERE trace_id = '{TRACE}'")), tree),
            (
                "SELECT count(*) FROM (SELECT * FROM span_tree) WHERE path[1] = 'step' AND root_name = 'step' AND attributes['depth'] = '2'".to_owned(),
                (CHILDREN * CHILDREN).to_string(),
            ),
            (
                format!("SELECT count(*), max(depth), sum(nset_left) FROM trace_tree('{TRACE}')"),
                format!("{SPANS} {deepest} {}", {
                    // Left and right numbers together are all up to twice the count.
                    (SPANS * (2 * SPANS + 1) - widths) / 2
                }),
            ),
            (format!("SELECT count(*), count(DISTINCT nset_left) FROM waterfall('{TRACE}')"), format!("{SPANS} {SPANS}")),
            (
                format!("SELECT sum(calls), round(sum(self_ms) * 1000) FROM latency_breakdown('{TRACE}')"),
                format!("{SPANS} {SPANS}"),
            ),
            (format!("SELECT count(*), round(sum(critical_ms) * 1000) FROM critical_path('{TRACE}')"), format!("{SPANS} {SPANS}")),
            (
                "SELECT service_name, parent_name, call, system, parents, max_repeats, calls, sequential FROM n_plus_one()".to_owned(),
                format!(
                    "big step SELECT * FROM items WHERE id = ? postgresql {} {} {} 1.0",
                    callers.len(),
                    callers.iter().max().copied().unwrap_or(0),
                    callers.iter().sum::<u64>()
                ),
            ),
            (
                "SELECT string_agg(service_name || ' ' || in_degree || ' ' || out_degree || ' ' || requests || ' ' || on_critical_path, ', ' ORDER BY service_name) FROM service_nodes()".to_owned(),
                format!("big 0 1 1 true, postgresql:shop 1 0 {leaves} true"),
            ),
            (
                "SELECT span_count, max_depth, duration_ns, complete, critical_path FROM traces".to_owned(),
                format!("{SPANS} {deepest} {total_ns} true [big]"),
            ),
        ]
    }
}

fn hex(id: &str) -> Vec<u8> {
    (0..id.len()).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).expect("hex")).collect()
}

/// The only row of an answer.
async fn row(engine: &Arc<Engine>, sql: &str) -> String {
    let session = engine.session();
    let statement = session.prepare(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).remove(0);
    let Outcome::Rows(rows) = session.execute(&statement, &[]).await.expect("started") else { panic!("no rows") };
    let batches: Vec<_> = rows.stream.try_collect().await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    let batches: Vec<_> = batches.into_iter().filter(|batch| batch.num_rows() > 0).collect();
    let [batch] = batches.as_slice() else { panic!("{} batches: {sql}", batches.len()) };
    assert_eq!(batch.num_rows(), 1, "{sql}");
    let cell = |column| {
        let shown = ArrayFormatter::try_new(column, &FormatOptions::default()).expect("shown");
        let text = shown.value(0).to_string();
        text.strip_suffix(".0")
            .filter(|whole| whole.parse::<u64>().is_ok_and(|number| number > 1))
            .map_or(text.clone(), str::to_owned)
    };
    batch.columns().iter().map(|column| cell(column.as_ref())).collect::<Vec<_>>().join(" ")
}

async fn keep(store: &Store, drawn: &Drawn, ids: impl Fn(u64) -> bool) {
    let ids: Vec<u64> = (1..=SPANS).filter(|id| ids(*id)).collect();
    for some in ids.chunks(REQUEST_SPANS as usize) {
        append(store, drawn.request(some.iter().copied()).into()).await.expect("kept");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_it_is_answered_wherever_it_lies() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_uncompacted(folder.path()).await;
    let settings = EngineSettings {
        memory_bytes: MEMORY_BYTES,
        statement_memory_bytes: STATEMENT_BYTES,
        column_cache_bytes: 0,
        ..EngineSettings::default()
    };
    let engine = Engine::new(store.clone(), settings.clone()).expect("an engine");
    let roomy = EngineSettings {
        memory_bytes: MORE * MEMORY_BYTES,
        statement_memory_bytes: MORE * STATEMENT_BYTES,
        ..settings
    };
    let roomy = Engine::new(store.clone(), roomy).expect("an engine");
    let room =
        |asked: &str| if asked.contains("n_plus_one") || asked.contains("service_nodes") { &roomy } else { &engine };
    let drawn = Drawn::new();
    let questions = drawn.questions();
    // Of each pair of neighbours one is in a file and one is fresh; then both are in files, one each.
    keep(&store, &drawn, |id| id % 2 == 0).await;
    store.seal().await.expect("sealed");
    keep(&store, &drawn, |id| id % 2 == 1).await;
    for (asked, answer) in &questions {
        assert_eq!(&row(room(asked), asked).await, answer, "half of it fresh: {asked}");
    }
    store.seal().await.expect("sealed");
    for (asked, answer) in &questions {
        assert_eq!(&row(room(asked), asked).await, answer, "in two files: {asked}");
    }
    // Not everything was in memory.
    let ran = explained(&engine, &format!("ANALYZE {}", questions[1].0)).await;
    let tree = ran.lines().find(|line| line.contains("TraceTreeExec")).unwrap_or_else(|| panic!("a tree in {ran}"));
    assert!(tree.contains("spilled_rows=") && !tree.contains("spilled_rows=0"), "{tree}");
}
