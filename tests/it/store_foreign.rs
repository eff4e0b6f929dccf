//! The table as a stranger sees it: the Python packages `deltalake`, `polars` and `duckdb` count the same spans, and read each field of
//! each span as it was sent.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use datafusion::arrow::array::{Array, AsArray, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use serde_json::json;
use spanhouse::otlp::decode_export;

use crate::store_support::{append, open};
use crate::support::{python, shared_data};

/// As many spans as tell: several row groups would take the test long.
const SPANS: usize = 40_000;

#[test]
fn deltalake_polars_and_duckdb_count_the_same_spans() {
    let test = "deltalake_polars_and_duckdb_count_the_same_spans";
    let Some(data) = shared_data(test) else { return };
    let Some(python) = python(test) else { return };
    let dir = tempfile::tempdir().expect("directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    let expected = runtime.block_on(async {
        let store = open(dir.path()).await;
        let mut expected = Expected::default();
        for payload in requests(&data.join("trainticket.otlp.zst")) {
            let batch = decode_export(&payload).expect("spans").batch;
            expected.add(&batch.to_record_batch().expect("expanded"));
            store.append(payload, batch).await.expect("kept");
            // Several commits and files, as a server makes them.
            if expected.rows > SPANS / 2 && store.status().sealings == 0 {
                store.seal().await.expect("sealed");
            }
            if expected.rows >= SPANS {
                break;
            }
        }
        store.close().await.expect("closed");
        expected
    });
    let table = dir.path().join("table");
    let said = python.run("read_table.py", &[table.to_str().expect("a plain path")]);
    let seen: serde_json::Value = serde_json::from_str(&said).expect("json");
    let Expected { rows, traces, spans, parents, duration_ns, attributes, events } = expected;
    let (traces, spans) = (traces.len(), spans.len());
    assert_eq!(seen["deltalake"], serde_json::json!([rows, traces, spans, duration_ns, attributes]));
    let dates = seen["polars"][7].clone();
    assert_eq!(
        seen["polars"],
        serde_json::json!([rows, traces, spans, parents, duration_ns, attributes, events, dates])
    );
    for duckdb in ["duckdb_dataset", "duckdb_files"] {
        let counts = serde_json::json!([rows, traces, spans, parents, duration_ns, attributes, events, dates]);
        assert_eq!(seen[duckdb], counts, "{duckdb}");
    }
}

/// What the decoded batches hold, counted without the table.
#[derive(Default)]
struct Expected {
    rows: usize,
    traces: HashSet<Vec<u8>>,
    spans: HashSet<Vec<u8>>,
    parents: usize,
    duration_ns: i64,
    attributes: usize,
    events: usize,
}

impl Expected {
    fn add(&mut self, batch: &RecordBatch) {
        let column = |name: &str| batch.column_by_name(name).expect("a column");
        let ids =
            |name: &str| column(name).as_fixed_size_binary().iter().flatten().map(<[u8]>::to_vec).collect::<Vec<_>>();
        self.rows += batch.num_rows();
        self.traces.extend(ids("trace_id"));
        self.spans.extend(ids("span_id"));
        self.parents += column("parent_span_id").len() - column("parent_span_id").null_count();
        self.duration_ns += column("duration_ns").as_primitive::<Int64Type>().values().iter().sum::<i64>();
        self.attributes +=
            column("attributes").as_map().value_offsets().windows(2).map(|w| (w[1] - w[0]) as usize).sum::<usize>();
        self.events +=
            column("events").as_list::<i32>().value_offsets().windows(2).map(|w| (w[1] - w[0]) as usize).sum::<usize>();
    }
}

/// The messages of a length-delimited file, one after the other.
fn requests(path: &Path) -> impl Iterator<Item = Bytes> {
    let mut file = BufReader::new(zstd::Decoder::new(File::open(path).expect("the data")).expect("zstd"));
    std::iter::from_fn(move || {
        let mut len = 0;
        for shift in (0..).step_by(7) {
            let mut byte = [0];
            if file.read(&mut byte).expect("a byte") == 0 {
                return None;
            }
            len |= usize::from(byte[0] & 0x7f) << shift;
            if byte[0] < 0x80 {
                break;
            }
        }
        let mut message = vec![0; len];
        file.read_exact(&mut message).expect("a message");
        Some(message.into())
    })
}

/// Sealings of a few spans each, which compaction makes into a file a day.
const SEALINGS: u64 = 4;
const SEALED_SPANS: u64 = 60;

#[test]
fn deltalake_polars_and_duckdb_read_each_field_of_a_compacted_table_as_it_was_sent() {
    let test = "deltalake_polars_and_duckdb_read_each_field_of_a_compacted_table_as_it_was_sent";
    let Some(python) = python(test) else { return };
    let dir = tempfile::tempdir().expect("directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    let sent: Vec<serde_json::Value> = runtime.block_on(async {
        let store = open(dir.path()).await;
        let mut sent = Vec::new();
        for sealing in 0..SEALINGS {
            let numbers = 1 + sealing * SEALED_SPANS..1 + (sealing + 1) * SEALED_SPANS;
            append(&store, export(sealing, numbers.clone())).await.expect("kept");
            store.seal().await.expect("sealed");
            sent.extend(numbers.map(|number| sent_span(sealing, number)));
        }
        let files = store.status().table_files;
        store.compact().await.expect("compacted");
        assert!(files > 2 && store.status().table_files == 2, "{files} files became {:?}", store.status());
        store.close().await.expect("closed");
        sent
    });
    let table = dir.path().join("table");
    let said = python.run("read_spans.py", &[table.to_str().expect("a plain path")]);
    let mut seen: serde_json::Value = serde_json::from_str(&said).expect("json");
    let columns = seen["columns"].take();
    for column in [
        "attributes.http.route",
        "attributes.http.response.status_code",
        "attributes.http.response.status_code:int",
        "attributes.ratio:double",
        "attributes.cached:bool",
        "resource_attributes.host.name",
        "scope_attributes.part:int",
    ] {
        assert!(columns.as_array().expect("names").contains(&json!(column)), "no column {column}: {columns}");
    }
    assert!(!columns.to_string().contains("rare"), "a rare key lies in the map: {columns}");
    for reader in ["deltalake", "polars", "duckdb_dataset", "duckdb_files"] {
        let rows = seen[reader].as_array().unwrap_or_else(|| panic!("{reader} saw nothing"));
        assert_eq!(rows.len(), sent.len(), "{reader}");
        for (row, span) in rows.iter().zip(&sent) {
            assert_eq!(row, span, "{reader}");
        }
    }
}

const MIDNIGHT_NS: u64 = 1_767_312_000_000_000_000;

/// When a span starts, before and after a midnight, and how long it takes, to the nanosecond.
fn times(number: u64) -> (u64, u64) {
    let start_ns = MIDNIGHT_NS - 100_000_000_000 + number * 1_000_000_007;
    (start_ns, number * 1000 + 1)
}

/// What most spans have, of several types, and what one of sixty has.
fn attributes(number: u64) -> serde_json::Map<String, serde_json::Value> {
    let status = if number.is_multiple_of(5) { json!("none") } else { json!(200 + number % 3) };
    let mut attributes = json!({
        "http.route": format!("/route/{}", number % 3),
        "http.response.status_code": status,
        "ratio": number as f64 / 8.0,
        "cached": number.is_multiple_of(2),
    });
    if number % 60 == 7 {
        attributes["rare"] = json!("caf\u{e9} \"quoted\"");
        attributes["rare.int"] = json!(9_007_199_254_740_993_i64);
        attributes["rare.double"] = json!(-0.125);
        attributes["rare.bool"] = json!(true);
        attributes["rare.list"] = json!(["a", 1]);
    }
    match attributes {
        serde_json::Value::Object(attributes) => attributes,
        _ => unreachable!(),
    }
}

/// A span as `read_spans.py` prints it.
fn sent_span(sealing: u64, number: u64) -> serde_json::Value {
    let (start_ns, duration_ns) = times(number);
    let mut attributes = attributes(number);
    let (route, rare) = (attributes["http.route"].clone(), attributes.get("rare").cloned());
    if let Some(list) = attributes.get_mut("rare.list") {
        // What is no scalar is JSON text to other programs.
        *list = json!(list.to_string());
    }
    json!([
        format!("{number:016x}"),
        format!("{:032x}", 1 + number % 7),
        start_ns,
        start_ns + duration_ns,
        duration_ns,
        format!("operation {}", number % 5),
        format!("service {sealing}"),
        route,
        rare,
        attributes,
        { "service.name": format!("service {sealing}"), "host.name": format!("host {sealing}") },
        { "part": sealing },
    ])
}

fn export(sealing: u64, numbers: std::ops::Range<u64>) -> Bytes {
    let span = |number: u64| {
        let (start_ns, duration_ns) = times(number);
        Span {
            trace_id: u128::from(1 + number % 7).to_be_bytes().to_vec(),
            span_id: number.to_be_bytes().to_vec(),
            name: format!("operation {}", number % 5),
            start_time_unix_nano: start_ns,
            end_time_unix_nano: start_ns + duration_ns,
            attributes: key_values(attributes(number)),
            ..Span::default()
        }
    };
    let of_resource = json!({ "service.name": format!("service {sealing}"), "host.name": format!("host {sealing}") });
    let object = |value: serde_json::Value| value.as_object().expect("an object").clone();
    let scope = InstrumentationScope {
        attributes: key_values(object(json!({ "part": sealing }))),
        ..InstrumentationScope::default()
    };
    let scope_spans =
        vec![ScopeSpans { scope: Some(scope), spans: numbers.map(span).collect(), ..ScopeSpans::default() }];
    let resource = Some(Resource { attributes: key_values(object(of_resource)), ..Resource::default() });
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

fn key_values(attributes: serde_json::Map<String, serde_json::Value>) -> Vec<KeyValue> {
    let value = |value| Some(any_value(&value));
    attributes.into_iter().map(|(key, of_key)| KeyValue { key, value: value(of_key), ..KeyValue::default() }).collect()
}

fn any_value(value: &serde_json::Value) -> AnyValue {
    let value = match value {
        serde_json::Value::Bool(value) => Value::BoolValue(*value),
        serde_json::Value::Number(value) if value.is_i64() => Value::IntValue(value.as_i64().expect("an integer")),
        serde_json::Value::Number(value) => Value::DoubleValue(value.as_f64().expect("a number")),
        serde_json::Value::Array(values) => {
            Value::ArrayValue(ArrayValue { values: values.iter().map(any_value).collect() })
        }
        other => Value::StringValue(other.as_str().expect("text").to_owned()),
    };
    AnyValue { value: Some(value) }
}
