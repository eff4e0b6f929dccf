//! Tables that pyarrow and deltalake wrote, with the schemas of ClickHouse, of GreptimeDB and of nobody.

use serde_json::{Value, json};

use super::{FAILURE, Folder, SUCCESS};
use crate::support::python;

/// What the tables of ClickHouse and GreptimeDB say.
fn wanted() -> Value {
    json!([
        {"timestamp": "2026-01-05T09:00:00.123456789Z", "duration_ns": 5_000_001, "span_id": "00000000000000a1",
         "parent_span_id": null, "trace_state": null, "span_name": "GET /", "service_name": "shop", "span_kind": "SERVER",
         "status_code": "UNSET", "status_message": null, "host": "h1", "route": "/", "scope_name": "io.shop",
         "scope_version": "1.0", "events": [], "links": ["00000000000000b1"]},
        {"timestamp": "2026-01-05T09:00:00.123457789Z", "duration_ns": 17, "span_id": "00000000000000a2",
         "parent_span_id": "00000000000000a1", "trace_state": "a=b", "span_name": "SELECT", "service_name": "shop",
         "span_kind": "CLIENT", "status_code": "ERROR", "status_message": "gone", "host": "h1", "route": null,
         "scope_name": "io.db", "scope_version": null,
         "events": [["2026-01-05T09:00:00.123457799Z", "exception", "E"]], "links": []}
    ])
}

fn told(folder: &Folder) -> Value {
    let rows = folder.rows(
        "SELECT timestamp, duration_ns, span_id, parent_span_id, trace_state, span_name, service_name, span_kind, status_code, \
         status_message, resource_attributes['host.name'] AS host, attributes['http.route'] AS route, scope_name, \
         scope_version, events, links FROM spans WHERE trace_id = '0af7651916cd43dd8448eb211c80319c' ORDER BY timestamp",
    );
    let of_event = |event: &Value| json!([event["timestamp"], event["name"], event["attributes"]["exception.type"]]);
    let list =
        |list: &Value, of: &dyn Fn(&Value) -> Value| list.as_array().expect("a list").iter().map(of).collect::<Value>();
    rows.into_iter()
        .map(|mut row| {
            row["events"] = list(&row["events"], &of_event);
            row["links"] = list(&row["links"], &|link| link["span_id"].clone());
            row
        })
        .collect()
}

#[test]
fn tables_of_clickhouse_and_greptimedb_are_known_by_their_columns() {
    let Some(python) = python("tables_of_clickhouse_and_greptimedb_are_known_by_their_columns") else { return };
    let files = Folder::new();
    python.run("tables_of_spans.py", &[files.0.path().to_str().expect("UTF-8")]);
    for name in ["clickhouse.parquet", "clickhouse_binary.parquet", "greptime.parquet", "greptime_binary.parquet"] {
        let folder = Folder::new();
        let ran = folder.done(&["import", files.path(name).to_str().expect("UTF-8")]);
        assert!(ran.text().starts_with("2 spans in 1 trace from 1 record"), "{name}: {}", ran.text());
        assert_eq!(told(&folder), wanted(), "{name}");
    }
}

#[test]
fn any_table_is_taken_with_a_mapping_and_refused_without() {
    let Some(python) = python("any_table_is_taken_with_a_mapping_and_refused_without") else { return };
    let folder = Folder::new();
    python.run("tables_of_spans.py", &[folder.0.path().to_str().expect("UTF-8")]);
    let map = "trace=trace_id,id=span_id,parent=parent_span_id,op=span_name,began_us=timestamp_us,took=duration_ms,\
               kind=span_kind,tags=attributes,service=service_name";
    let unknown = folder.run(&["import", "own.parquet"]);
    assert_eq!(unknown.code, FAILURE);
    let wanted = "own.parquet: byte 0: refused: it is a table with columns that are not known: trace, id, parent, op, began_us, \
                  took, kind, tags, service (say what they are with --map";
    assert!(unknown.err.contains(wanted), "{}", unknown.err);
    assert_eq!(folder.rows("SELECT count(*) AS n FROM spans")[0]["n"], 0, "a wrong file changes nothing");

    let check = |source: &str, arguments: &[&str]| {
        let other = Folder::new();
        let path = folder.path(source);
        other.done(&[&["import", path.to_str().expect("UTF-8")], arguments].concat());
        let rows = other.rows(
            "SELECT span_id, parent_span_id, span_name, service_name, span_kind, timestamp, duration_ms, attributes, \
             attribute_types FROM spans ORDER BY timestamp",
        );
        let wanted = json!([
            {"span_id": "00000000000000a1", "parent_span_id": null, "span_name": "GET /", "service_name": "shop",
             "span_kind": "SERVER", "timestamp": "2026-01-05T09:00:00.123456Z", "duration_ms": 5,
             "attributes": {"http.route": "/", "n": "3"}, "attribute_types": "si"},
            {"span_id": "00000000000000a2", "parent_span_id": "00000000000000a1", "span_name": "SELECT",
             "service_name": "shop", "span_kind": "CLIENT", "timestamp": "2026-01-05T09:00:00.123457Z",
             "duration_ms": 0.017, "attributes": {}, "attribute_types": null}
        ]);
        assert_eq!(Value::Array(rows), wanted, "{source}");
    };
    check("own.parquet", &["--map", map]);
    // The partition's column is in the table's log only.
    check("lake", &["--map", map]);
    let lines = map.split(',').map(|pair| pair.split_once('=').expect("a pair"));
    let toml: String = lines.map(|(column, field)| format!("{column} = \"{field}\"\n")).collect();
    folder.write("columns.toml", toml);
    check("own.parquet", &["--map-file", folder.path("columns.toml").to_str().expect("UTF-8")]);

    let broken = folder.run(&["import", "broken.parquet", "--map", map, "--refused", "refused.ndjson"]);
    assert_eq!(broken.code, FAILURE);
    assert!(broken.err.contains("broken.parquet: row 2: 1 span refused: it has no trace_id"), "{}", broken.err);
    let refused: Value = serde_json::from_slice(&folder.read("refused.ndjson")).expect("a line of JSON");
    assert_eq!((&refused["row"], &refused["reason"]), (&json!(2), &json!("it has no trace_id")));
    assert_eq!(folder.rows("SELECT span_id FROM spans").len(), 1, "the other row is there");
    let wrong = folder.run(&["import", "own.parquet", "--map", "tracy=trace_id"]);
    assert!(wrong.err.contains("there is no column \"tracy\" (did you mean trace?)"), "{}", wrong.err);
    assert_eq!(folder.run(&["import", "own.parquet", "--map", "trace=trace_idd"]).code, super::USAGE);
    let ran = folder.run(&["import", "own.parquet", "--format", "clickhouse"]);
    assert!(ran.code == FAILURE && ran.err.contains("no column is the timestamp of its spans"), "{}", ran.err);
    assert_ne!(ran.code, SUCCESS);
}
