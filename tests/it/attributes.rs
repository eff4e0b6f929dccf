//! Attributes answer the same from the maps of fresh spans and from the columns of files, and a statement reads the columns only.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use datafusion::arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use parquet::file::reader::{FileReader, SerializedFileReader};
use prost::Message;
use spanhouse::engine::{Engine, EngineSettings, Outcome};
use spanhouse::error::Result;
use spanhouse::store::Store;

use crate::store_support::{append, open, open_uncompacted};

const SPANS: u64 = 4_000;
const START_NS: u64 = 1_767_268_800_000_000_000;

/// Statements whose answers may not depend on where the attributes are.
const STATEMENTS: [&str; 28] = [
    "SELECT attributes['route'], count(*) FROM spans GROUP BY 1 ORDER BY 1",
    "SELECT attributes['code'] AS code, count(*) FROM spans GROUP BY code ORDER BY code",
    "SELECT count(*), sum(duration_ns) FROM spans WHERE attributes['code'] >= 500",
    "SELECT count(*), sum(duration_ns) FROM spans WHERE attributes['code'] = '404' OR attributes['code'] = '0404'",
    "SELECT count(*) FROM spans WHERE attributes['code'] <> '404'",
    "SELECT count(*) FROM spans WHERE attributes['code'] IN (404, 503)",
    "SELECT count(*) FROM spans WHERE attributes['code'] IS NULL",
    "SELECT count(*) FROM spans WHERE attributes['code'] IS NOT NULL AND attributes['ok'] = true",
    "SELECT avg(attributes['ratio']), max(CAST(attributes['ratio'] AS DOUBLE)), count(*) FROM spans WHERE attributes['ratio'] < 0.25",
    "SELECT attributes['mixed'], count(*) FROM spans GROUP BY 1 ORDER BY 1",
    "SELECT sum(CAST(attributes['mixed'] AS BIGINT)), count(CAST(attributes['mixed'] AS BOOLEAN)) FROM spans",
    "SELECT sum(attributes['mixed']) FROM spans",
    "SELECT count(*) FROM spans WHERE attributes['mixed'] > 100 OR attributes['mixed'] = 'true'",
    "SELECT attributes['twice'], count(*) FROM spans GROUP BY 1 ORDER BY 1",
    "SELECT count(*) FROM spans WHERE attributes['twice'] > 0",
    "SELECT attributes['nan'], count(*) FROM spans GROUP BY 1 ORDER BY 1",
    "SELECT attributes['list'], count(*) FROM spans GROUP BY 1 ORDER BY 1",
    "SELECT count(attributes['rare']), max(attributes['rare']) FROM spans",
    "SELECT count(attributes['absent']), count(attributes['a b']), count(attributes['Route']) FROM spans",
    "SELECT resource_attributes['host'], scope_attributes['mode'], count(*) FROM spans GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT route, count(*) FROM (SELECT attributes['route'] AS route, duration_ns FROM spans) WHERE route = '/a' GROUP BY 1",
    "SELECT count(*) FROM spans a JOIN spans b ON a.attributes['unique'] = b.attributes['unique'] WHERE a.attributes['code'] = 500",
    "SELECT a.attributes['route'], b.attributes['code'], count(*) FROM spans a JOIN spans b ON a.trace_id = b.trace_id AND a.span_id = b.span_id GROUP BY 1, 2 ORDER BY 1, 2",
    "SELECT q.svc, q.trace_id, count(*) FROM (SELECT upper(service_name) AS service_name, service_name AS svc, trace_id, attributes FROM spans) q WHERE q.attributes['code'] = 500 AND q.svc = 'shop' GROUP BY 1, 2 ORDER BY 2 LIMIT 3",
    "SELECT count(*) FROM events e JOIN spans s ON e.trace_id = s.trace_id WHERE s.attributes['code'] = 500 AND e.attributes['x'] IS NULL",
    "SELECT attributes['route'], attributes['code'], duration_ns FROM spans ORDER BY attributes['unique'] DESC LIMIT 7",
    "SELECT k, count(*) FROM (SELECT unnest(map_keys(attributes)) AS k FROM spans) GROUP BY k ORDER BY k",
    "SELECT length(attribute_types), length(resource_attribute_types), count(*) FROM spans GROUP BY 1, 2 ORDER BY 1, 2",
];

#[tokio::test(flavor = "multi_thread")]
async fn attributes_answer_the_same_from_maps_and_from_columns() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open(dir.path()).await;
    append(&store, export(0..SPANS)).await.expect("kept");
    let engine = || Engine::new(store.clone(), EngineSettings::default()).expect("an engine");
    let mut expected = Vec::new();
    for statement in STATEMENTS {
        expected.push(answer(&engine(), statement).await.expect("an answer"));
    }
    store.seal().await.expect("sealed");
    let columns = columns_of(&data_files(dir.path())[0]);
    for column in ["attributes.route", "attributes.code:int", "attributes.mixed:double", "scope_attributes.mode"] {
        assert!(columns.iter().any(|name| name == column), "{column} is no column: {columns:?}");
    }
    for (statement, expected) in STATEMENTS.iter().zip(&expected) {
        assert_eq!(answer(&engine(), statement).await.expect("an answer"), *expected, "{statement}");
    }
    for (statement, expected) in known() {
        assert_eq!(cells(&answer(&engine(), statement).await.expect("an answer")), expected, "{statement}");
    }
}

/// The bytes of the maps are destroyed: whoever reads them notices.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_over_frequent_attributes_reads_their_columns_and_not_the_maps() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open(dir.path()).await;
    append(&store, export(0..SPANS)).await.expect("kept");
    store.seal().await.expect("sealed");
    // Without memory of columns, and a first time: nothing was read before.
    let engine = || {
        let settings = EngineSettings { column_cache_bytes: 0, ..EngineSettings::default() };
        Engine::new(store.clone(), settings).expect("an engine")
    };
    let statements = [
        "SELECT attributes['route'], count(*) FROM spans GROUP BY 1 ORDER BY 1",
        "SELECT count(*), sum(duration_ns) FROM spans WHERE attributes['code'] >= 500 AND resource_attributes['host'] = 'h1'",
        "SELECT route, sum(CAST(code AS BIGINT)) FROM (SELECT attributes['route'] AS route, attributes['code'] AS code FROM spans) WHERE code > 200 GROUP BY route ORDER BY route",
        "SELECT count(*) FROM spans a JOIN spans b ON a.trace_id = b.trace_id AND a.attributes['unique'] = b.attributes['unique'] WHERE b.attributes['code'] = 500",
        "SELECT attributes['unique'], duration_ms FROM spans WHERE attributes['route'] = '/a' ORDER BY duration_ms DESC, 1 LIMIT 5",
        "SELECT count(attributes['unique']) FROM spans WHERE attributes['nowhere'] IS NULL",
        "SELECT quantile(0.5)(attributes['code']), avg(attributes['ratio']) FROM spans WHERE attributes['ok'] = true",
    ];
    let mut expected = Vec::new();
    for statement in statements {
        expected.push(answer(&engine(), statement).await.expect("an answer"));
    }
    for file in data_files(dir.path()) {
        destroy_maps(&file);
    }
    for (statement, expected) in statements.iter().zip(&expected) {
        let said = answer(&engine(), statement).await;
        assert_eq!(said.as_ref().expect("the maps are not read"), expected, "{statement}");
    }
    answer(&engine(), "SELECT max(cardinality(map_keys(attributes))) FROM spans").await.expect_err("the maps are gone");
}

/// What is learnt while a statement runs: the bound of the best rows so far, and the keys of a join's other side.
const LEARNING: [&str; 17] = [
    "SELECT attributes['unique'] FROM spans ORDER BY attributes['unique'] DESC NULLS LAST LIMIT 3",
    "SELECT attributes['unique'], span_id FROM spans ORDER BY attributes['unique'], span_id LIMIT 3",
    "SELECT attributes['unique'], span_id FROM spans ORDER BY 1 NULLS FIRST, 2 LIMIT 5",
    "SELECT attributes['route'], span_id FROM spans ORDER BY 1 DESC NULLS LAST, 2 DESC LIMIT 4",
    "SELECT attributes['mixed'], span_id FROM spans ORDER BY 1, 2 LIMIT 6",
    "SELECT CAST(attributes['code'] AS BIGINT), span_id FROM spans ORDER BY 1 DESC NULLS LAST, 2 LIMIT 6",
    "SELECT attributes['nowhere'], attributes['code'], span_id FROM spans ORDER BY 1, 2, 3 LIMIT 3",
    "SELECT count(*), sum(duration_ns) FROM spans s JOIN (VALUES ('request 002500'), ('request 000001'), ('7')) v(r) ON s.attributes['unique'] = v.r",
    "SELECT v.r, count(s.span_id) FROM (VALUES ('/a'), ('/nowhere'), (NULL)) v(r) LEFT JOIN spans s ON s.attributes['route'] = v.r GROUP BY 1 ORDER BY 1",
    "SELECT count(*), count(v.r) FROM spans s LEFT JOIN (VALUES ('/a'), (NULL)) v(r) ON s.attributes['route'] = v.r",
    "SELECT count(*) FROM spans s JOIN (VALUES ('7'), ('some'), ('1204')) v(r) ON s.attributes['mixed'] = v.r",
    "SELECT count(*) FROM spans s JOIN (VALUES (404), (500)) v(r) ON CAST(s.attributes['code'] AS BIGINT) = v.r",
    "SELECT count(*) FROM spans WHERE attributes['unique'] IN (SELECT attributes['unique'] FROM spans ORDER BY span_id DESC LIMIT 9)",
    "SELECT count(*) FROM spans s JOIN (VALUES ('request 000001'), (NULL)) v(r) ON s.attributes['unique'] IS NOT DISTINCT FROM v.r",
    "SELECT count(*) FROM spans WHERE attributes['code'] NOT IN (SELECT attributes['code'] FROM spans WHERE attributes['code'] = '404')",
    "SELECT attributes['code'] FROM spans WHERE attributes['route'] = '/b' INTERSECT SELECT attributes['code'] FROM spans WHERE attributes['route'] = '/a' ORDER BY 1",
    "SELECT count(*) FROM spans s JOIN (VALUES ('h1', '/b')) v(h, r) ON s.resource_attributes['host'] = v.h AND s.attributes['route'] = v.r",
];

/// Spans with the key in a column of text, in one of numbers, without it, and fresh: beside all of them fresh.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_learnt_of_an_attribute_leaves_out_no_row_that_counts() {
    let no_key = |span: &mut Span| span.attributes.retain(|attribute| attribute.key != "unique");
    let other_type = |span: &mut Span| {
        no_key(span);
        span.attributes.push(attribute("unique", Value::IntValue(span.span_id[7].into())));
    };
    let parts = [
        export(0..1000),
        export_with(1000..1300, &no_key),
        export_with(1300..1600, &other_type),
        export(2000..3000),
        export(1600..2000),
    ];
    let (fresh, stored) = (tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory"));
    let (fresh, stored) = (open_uncompacted(fresh.path()).await, open_uncompacted(stored.path()).await);
    for (number, part) in parts.into_iter().enumerate() {
        append(&fresh, part.clone()).await.expect("kept");
        append(&stored, part).await.expect("kept");
        if number < 4 {
            stored.seal().await.expect("sealed");
        }
    }
    let engine = |store: &Arc<Store>, column_cache_bytes| {
        let settings = EngineSettings { column_cache_bytes, ..EngineSettings::default() };
        Engine::new(store.clone(), settings).expect("an engine")
    };
    let fresh = engine(&fresh, 0);
    let stored = [engine(&stored, 0), engine(&stored, 64 << 20)];
    for statement in LEARNING {
        let expected = answer(&fresh, statement).await.expect("an answer");
        for stored in &stored {
            assert_eq!(answer(stored, statement).await.expect("an answer"), expected, "{statement}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_left_out_by_what_is_learnt_of_an_attribute() {
    let dir = tempfile::tempdir().expect("directory");
    let store = open_uncompacted(dir.path()).await;
    for first in [3000, 0, 1000, 2000] {
        append(&store, export(first..first + 1000)).await.expect("kept");
        store.seal().await.expect("sealed");
    }
    for column_cache_bytes in [0, 64 << 20] {
        let settings = EngineSettings { column_cache_bytes, ..EngineSettings::default() };
        let engine = Engine::new(store.clone(), settings).expect("an engine");
        let best =
            "SELECT attributes['unique'], span_id FROM spans ORDER BY attributes['unique'] DESC NULLS LAST LIMIT 3";
        let joined = "SELECT count(*) FROM spans s JOIN (VALUES ('request 002500'), ('request 002600')) v(r) ON s.attributes['unique'] = v.r";
        for statement in [best, joined] {
            let plan = answer(&engine, &format!("EXPLAIN {statement}")).await.expect("a plan");
            assert!(plan.contains("predicate=DynamicFilter"), "{plan}");
        }
        let run = answer(&engine, &format!("EXPLAIN ANALYZE {joined}")).await.expect("a plan");
        assert!(run.contains("row_groups_pruned_statistics=4 total → 1 matched"), "{run}");
        assert_eq!(cells(&answer(&engine, joined).await.expect("an answer")), [["2"]]);
    }
}

/// The answer to a statement, as a table in text.
pub async fn answer(engine: &Arc<Engine>, statement: &str) -> Result<String> {
    let session = engine.session();
    let statement = session.prepare(statement).await?.remove(0);
    let Outcome::Rows(rows) = session.execute(&statement, &[]).await? else { panic!("no rows") };
    let batches: Vec<_> = rows.stream.try_collect().await?;
    Ok(pretty_format_batches(&batches).expect("text").to_string())
}

/// The cells of such a table, row by row.
pub fn cells(table: &str) -> Vec<Vec<String>> {
    let rows = table.lines().filter_map(|line| line.strip_prefix('|')?.strip_suffix('|'));
    rows.skip(1).map(|row| row.split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What is known of the answers to some of [`STATEMENTS`] from how the spans are made.
fn known() -> Vec<(&'static str, Vec<Vec<String>>)> {
    let code = |id: u64| (!id.is_multiple_of(10)).then(|| [200, 404, 500, 503][id as usize / 100 % 4]);
    let duration = |id: u64| id % 977 * 1000;
    let having = |wanted: &dyn Fn(u64) -> bool| (0..SPANS).filter(|id| wanted(*id)).collect::<Vec<_>>();
    let count = |wanted: &dyn Fn(u64) -> bool| vec![vec![having(wanted).len().to_string()]];
    let with_sum = |wanted: &dyn Fn(u64) -> bool| {
        let ids = having(wanted);
        vec![vec![ids.len().to_string(), ids.iter().map(|id| duration(*id)).sum::<u64>().to_string()]]
    };
    let group = |value: &str, ids: Vec<u64>| vec![value.to_owned(), ids.len().to_string()];
    let coded = |wanted: u64| having(&|id| code(id) == Some(wanted));
    let routes = ["/a", "/a/route/that/is/longer/than/a/view", "/b"].into_iter().zip([0, 2, 1]);
    let halves = |host: &str, mode: &str| vec![host.to_owned(), mode.to_owned(), (SPANS / 2).to_string()];
    vec![
        (STATEMENTS[0], routes.map(|(route, rest)| group(route, having(&|id| id % 3 == rest))).collect()),
        (
            STATEMENTS[1],
            [200, 404, 500, 503]
                .map(|number| group(&number.to_string(), coded(number)))
                .into_iter()
                .chain([group("", having(&|id| code(id).is_none()))])
                .collect(),
        ),
        (STATEMENTS[2], with_sum(&|id| code(id) >= Some(500))),
        (STATEMENTS[3], with_sum(&|id| code(id) == Some(404))),
        (STATEMENTS[4], count(&|id| code(id).is_some_and(|code| code != 404))),
        (STATEMENTS[5], count(&|id| [Some(404), Some(503)].contains(&code(id)))),
        (STATEMENTS[6], count(&|id| code(id).is_none())),
        (STATEMENTS[7], count(&|id| code(id).is_some() && !id.is_multiple_of(5))),
        (STATEMENTS[13], vec![group("1", having(&|id| id % 2 == 1)), group("none", having(&|id| id % 2 == 0))]),
        (STATEMENTS[18], vec![vec!["0".to_owned(), SPANS.to_string(), "0".to_owned()]]),
        (STATEMENTS[19], vec![halves("h0", "fast"), halves("h1", "slow")]),
        (STATEMENTS[20], vec![group("/a", having(&|id| id % 3 == 0))]),
        (STATEMENTS[21], count(&|id| code(id) == Some(500))),
    ]
}

fn data_files(dir: &Path) -> Vec<PathBuf> {
    let below =
        |dir: &Path| fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    let dates: Vec<PathBuf> = below(&dir.join("table"));
    let dates = dates.into_iter().filter(|path| path.to_string_lossy().contains("date="));
    dates.flat_map(|date| -> Vec<PathBuf> { below(&date) }).collect()
}

fn columns_of(file: &Path) -> Vec<String> {
    let reader = SerializedFileReader::new(fs::File::open(file).expect("a file")).expect("parquet");
    let root = reader.metadata().file_metadata().schema_descr().root_schema().clone();
    root.get_fields().iter().map(|field| field.name().to_owned()).collect()
}

fn destroy_maps(file: &Path) {
    let mut bytes = fs::read(file).expect("bytes");
    let reader = SerializedFileReader::new(Bytes::from(bytes.clone())).expect("parquet");
    for row_group in reader.metadata().row_groups() {
        for column in row_group.columns() {
            let parts = column.column_path().parts();
            if parts.len() > 1 && parts[0].ends_with("attributes") {
                let (start, len) = column.byte_range();
                bytes[start as usize..(start + len) as usize].fill(0xff);
            }
        }
    }
    fs::write(file, bytes).expect("written");
}

/// An export of the spans with these numbers, which have attributes of each kind, frequent and seldom ones.
pub fn export(ids: Range<u64>) -> Bytes {
    export_with(ids, &|_| {})
}

/// The same spans, changed.
fn export_with(ids: Range<u64>, change: &dyn Fn(&mut Span)) -> Bytes {
    let span = |id| {
        let mut span = span(id);
        change(&mut span);
        span
    };
    let scopes = [0, 1].map(|scope| ScopeSpans {
        scope: Some(InstrumentationScope {
            name: format!("scope {scope}"),
            attributes: vec![attribute("mode", string(["fast", "slow"][scope as usize]))],
            ..Default::default()
        }),
        spans: ids.clone().filter(|id| id % 2 == scope).map(span).collect(),
        ..Default::default()
    });
    let resource_spans = scopes.into_iter().enumerate().map(|(n, scope)| ResourceSpans {
        resource: Some(Resource {
            attributes: vec![
                attribute("service.name", string("shop")),
                attribute("host", string(&format!("h{n}"))),
                attribute("pid", Value::IntValue(n as i64)),
            ],
            ..Default::default()
        }),
        scope_spans: vec![scope],
        ..Default::default()
    });
    ExportTraceServiceRequest { resource_spans: resource_spans.collect() }.encode_to_vec().into()
}

fn span(id: u64) -> Span {
    let mut attributes = vec![
        attribute("route", string(["/a", "/b", "/a/route/that/is/longer/than/a/view"][id as usize % 3])),
        attribute("unique", string(&format!("request {id:06}"))),
        attribute("ratio", Value::DoubleValue((id % 8) as f64 / 8.0)),
        attribute("ok", Value::BoolValue(!id.is_multiple_of(5))),
        attribute(
            "mixed",
            match id % 4 {
                0 => Value::IntValue(id as i64),
                1 => Value::DoubleValue(id as f64 / 2.0),
                2 => Value::BoolValue(id.is_multiple_of(3)),
                _ => string("some"),
            },
        ),
        attribute("nan", Value::DoubleValue(if id.is_multiple_of(7) { f64::NAN } else { -0.0 })),
        attribute("a b", string("x")),
    ];
    if !id.is_multiple_of(10) {
        attributes.push(attribute("code", Value::IntValue([200, 404, 500, 503][id as usize / 100 % 4])));
    }
    // The second value counts for nothing, wherever the first one is.
    attributes.push(attribute("twice", if id.is_multiple_of(2) { string("none") } else { Value::IntValue(1) }));
    attributes.push(attribute("twice", Value::IntValue(7)));
    let list = ArrayValue { values: vec![AnyValue { value: Some(Value::IntValue(1)) }] };
    attributes.push(attribute("list", if id.is_multiple_of(2) { Value::ArrayValue(list) } else { string("no list") }));
    if id % 1000 == 17 {
        attributes.push(attribute("rare", Value::BytesValue(vec![id as u8])));
        attributes.push(attribute("seldom", string("seen")));
    }
    Span {
        trace_id: u128::from(1 + id / 20).to_be_bytes().to_vec(),
        span_id: (id + 1).to_be_bytes().to_vec(),
        name: "request".to_owned(),
        start_time_unix_nano: START_NS + id * 1_000_000,
        end_time_unix_nano: START_NS + id * 1_000_000 + id % 977 * 1000,
        attributes,
        ..Default::default()
    }
}

fn string(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}
