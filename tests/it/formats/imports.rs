//! What `import` takes, in which order, how often, and what it says of the rest.

use serde_json::{Value, json};

use super::{FAILURE, Folder, SUCCESS, USAGE};

/// One request with one span, as OTLP JSON.
fn request(id: u32) -> Value {
    let span = json!({"traceId": format!("{id:032x}"), "spanId": "b7ad6b7169203331", "name": "GET /",
        "startTimeUnixNano": "1700000000123456789", "endTimeUnixNano": "1700000001000000000", "kind": 2});
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
}

fn lines(ids: std::ops::Range<u32>) -> String {
    ids.map(|id| request(id).to_string() + "\n").collect()
}

fn count(folder: &Folder) -> Value {
    folder.rows("SELECT count(*) AS n FROM spans")[0]["n"].clone()
}

#[test]
fn an_import_that_is_run_again_takes_only_what_is_new() {
    let folder = Folder::new();
    folder.write("traces.jsonl", lines(1..11));
    folder.done(&["import", "traces.jsonl"]);
    let again = folder.done(&["import", "traces.jsonl"]);
    assert!(
        again.text().contains("10 records imported before and left out; --again imports them again"),
        "{}",
        again.text()
    );
    assert_eq!(count(&folder), 10);
    // The file grows, and is rotated meanwhile.
    folder.write("traces-2026-01-05T09-00-00.000.jsonl", lines(1..14));
    let grown = folder.done(&["import", "traces-2026-01-05T09-00-00.000.jsonl"]);
    assert!(grown.text().starts_with("3 spans in 3 traces from 3 records"), "{}", grown.text());
    assert_eq!(count(&folder), 13);
    let all = folder.done(&["import", "traces.jsonl", "--again"]);
    assert!(all.text().starts_with("10 spans"), "{}", all.text());
    assert_eq!(count(&folder), 23);
}

#[test]
fn an_import_that_was_stopped_goes_on_where_it_was() {
    let folder = Folder::new();
    folder.write("half.jsonl", lines(1..6));
    folder.write("whole.jsonl", lines(1..11));
    folder.done(&["import", "half.jsonl"]);
    // A crash tore the last line of what was noted: its record is taken again, which the log may know or not.
    let noted = folder.read("data/imports");
    assert_eq!(noted.len(), 5 * 33);
    folder.write("data/imports", &noted[..4 * 33 + 7]);
    let rest = folder.done(&["import", "whole.jsonl"]);
    assert!(rest.text().contains("4 records imported before"), "{}", rest.text());
    let ids = folder.rows("SELECT DISTINCT trace_id FROM spans");
    assert_eq!(ids.len(), 10);
    // With a file of its own, an endpoint's import can be repeated as well.
    for _ in 0..2 {
        folder.done(&["import", "half.jsonl", "--ledger", "own"]);
        assert_eq!(folder.read("own").len(), 5 * 33);
    }
}

#[test]
fn refusals_go_to_a_file_with_their_places() {
    let folder = Folder::new();
    let zipkin = json!([{"traceId": "1", "id": "1", "timestamp": 5}, {"traceId": "zz", "id": "2", "timestamp": 5}]);
    folder.write("zipkin.json", zipkin.to_string());
    folder.write("bad.jsonl", format!("{}nonsense\n{}", lines(1..2), lines(2..3)));
    folder.write("picture.png", b"\x89PNG\r\n\x1a\n0000");
    let ran = folder.run(&["import", "zipkin.json", "bad.jsonl", "picture.png", "--refused", "refused.ndjson"]);
    assert_eq!(ran.code, FAILURE);
    let refused = String::from_utf8(folder.read("refused.ndjson")).expect("UTF-8");
    let mut refused: Vec<Value> = refused.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    refused.sort_by_key(|line| line["file"].to_string());
    let of = |place: usize, key: &str| refused[place][key].clone();
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert_eq!((of(0, "file"), of(0, "line"), of(0, "record")), (json!("bad.jsonl"), json!(2), json!(2)));
    assert_eq!(of(1, "file"), "picture.png");
    assert!(of(1, "reason").as_str().is_some_and(|why| why.starts_with("it is neither OTLP protobuf")), "{refused:?}");
    assert_eq!((of(2, "file"), of(2, "spans")), (json!("zipkin.json"), json!(1)));
    assert_eq!(of(2, "reason"), "spans[1]: traceId \"zz\" is no id of up to 32 hex digits");
    assert!(ran.text().contains("refused: 2 records, and 1 span of other records"), "{}", ran.text());
    assert_eq!(count(&folder), 3);
    let unwritable = folder.run(&["import", "zipkin.json", "--refused", "nowhere/refused.ndjson"]);
    assert!(
        unwritable.code == FAILURE && unwritable.err.contains("cannot write nowhere/refused.ndjson"),
        "{}",
        unwritable.err
    );
}

#[test]
fn what_the_collectors_file_exporter_writes_is_taken() {
    let folder = Folder::new();
    let framed = |message: &[u8]| {
        let length = u32::try_from(message.len()).expect("a short message");
        [&length.to_be_bytes()[..], message].concat()
    };
    let json = |id: u32| request(id).to_string().into_bytes();
    let protobuf = |id: u32| spanhouse::otlp::json_to_protobuf(&json(id)).expect("OTLP JSON");
    let packed = |bytes: &[u8]| zstd::encode_all(bytes, 3).expect("zstd");
    // format: json; format: proto; each with compression: zstd; and files that were compressed after their rotation.
    folder.write("traces/traces-2026-01-05T09-00-00.000.json", lines(1..3));
    folder.write("traces/traces-2026-01-06T09-00-00.000.json.zst", packed(lines(3..5).as_bytes()));
    folder.write("traces/traces.json", lines(5..6));
    folder.write("traces/proto", [framed(&protobuf(6)), framed(&protobuf(7))].concat());
    folder.write("traces/zstd", [framed(&packed(&protobuf(8))), framed(&packed(&protobuf(9)))].concat());
    folder.write("traces/deeper/zstd_json", [framed(&packed(&json(10))), framed(&packed(&json(11)))].concat());
    folder.write("traces/.hidden", "no traces");
    let ran = folder.done(&["import", "traces"]);
    assert!(ran.text().starts_with("11 spans in 11 traces from 11 records"), "{}", ran.text());
    assert_eq!(folder.rows("SELECT DISTINCT trace_id FROM spans").len(), 11);
}

#[test]
fn a_format_that_was_given_is_believed() {
    let folder = Folder::new();
    folder.write("one.json", request(1).to_string());
    let wrong = folder.run(&["import", "one.json", "--format", "zipkin"]);
    assert_eq!(wrong.code, FAILURE);
    assert!(
        wrong.err.contains("one.json: line 1, record 1: 1 span refused: spans[0]: it has no timestamp"),
        "{}",
        wrong.err
    );
    let none = folder.run(&["import", "one.json", "--format", "teapot"]);
    assert_eq!(none.code, USAGE);
    assert!(none.err.contains("otlp, jaeger, zipkin, clickhouse, greptimedb, spanhouse"), "{}", none.err);
    folder.write("other.json", "{\"some\": \"thing\"}");
    let other = folder.run(&["import", "other.json"]);
    assert!(
        other.err.contains("other.json: line 1, record 1: refused: there is no resourceSpans in it"),
        "{}",
        other.err
    );
    let directory = folder.run(&["import", "data"]);
    assert!(directory.code == FAILURE && directory.err.contains("data: it is a data directory"), "{}", directory.err);
    assert_eq!(folder.run(&["import", "one.json"]).code, SUCCESS);
}
