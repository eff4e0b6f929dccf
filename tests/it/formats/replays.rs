//! `replay` against a real server.

use std::path::Path;

use serde_json::Value;

use super::{FAILURE, Flat, Folder, USAGE, flat};
use crate::support::Server;

fn spans_file() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats/spans.jsonl");
    file.to_str().expect("UTF-8").to_owned()
}

/// The spans of the file.
fn original() -> Vec<Flat> {
    let text = std::fs::read_to_string(spans_file()).expect("readable");
    let requests = text.lines().map(|line| {
        let protobuf = spanhouse::otlp::json_to_protobuf(line.as_bytes()).expect("OTLP JSON");
        prost::Message::decode(&*protobuf).expect("protobuf")
    });
    flat(&requests.collect::<Vec<_>>())
}

#[test]
fn a_replay_sends_what_was_and_moves_all_times_alike() {
    let folder = Folder::new();
    let server = Server::start_in(&folder.path("data"), &[]);
    let url = server.otlp_grpc_url();
    let ran = folder.done(&["replay", &spans_file(), "--to", &url, "--speed", "max"]);
    assert!(ran.text().starts_with("7 spans sent in 2 requests"), "{}", ran.text());
    assert_eq!(folder.exported(), original());
    // The first request's last span ended at 09:00:00.1; now it ends on another day.
    let http = format!("{}/v1/traces", server.otlp_http_url());
    folder.done(&["replay", &spans_file(), "--to", &http, "--speed", "1000", "--shift-to", "2026-02-05T10:00:00.1Z"]);
    let moved = flat(&super::delimited(&folder.done(&["export", "--format", "otlp", "--from", "2026-02-01"]).out));
    let shift_ns = (31 * 24 + 1) * 3_600_000_000_000_u64;
    let mut wanted = original();
    for flat in &mut wanted {
        flat.span.start_time_unix_nano += shift_ns;
        flat.span.end_time_unix_nano += shift_ns;
        flat.span.events.iter_mut().for_each(|event| event.time_unix_nano += shift_ns);
    }
    let by_id = |spans: &[Flat]| {
        let mut spans = spans.to_vec();
        spans.sort_by_key(|flat| flat.span.span_id.clone());
        spans
    };
    assert_eq!(by_id(&moved), by_id(&wanted));
}

#[test]
fn new_ids_make_traces_of_their_own() {
    let folder = Folder::new();
    let server = Server::start_in(&folder.path("data"), &[]);
    for _ in 0..2 {
        let url = server.otlp_grpc_url();
        folder.done(&["replay", &spans_file(), "--to", &url, "--speed", "max", "--new-ids"]);
    }
    let rows = folder.rows("SELECT trace_id, count(*) AS n FROM spans GROUP BY 1 ORDER BY 2");
    let counts: Vec<u64> = rows.iter().map(|row| row["n"].as_u64().expect("a count")).collect();
    assert_eq!(counts, [1, 1, 6, 6]);
    assert!(rows.iter().all(|row| row["trace_id"] != "4bf92f3577b34da6a3ce929d0e0e4736"), "{rows:?}");
    // The trees are those of before, and the link leads to the other trace.
    let trees =
        folder.rows("SELECT array_to_string(path, ' > ') AS path, count(*) AS n FROM span_tree GROUP BY 1 ORDER BY 1");
    let trees: Vec<String> =
        trees.iter().map(|row| format!("{} {}", row["n"], row["path"].as_str().expect("a path"))).collect();
    let wanted = [
        "2 GET /order",
        "4 GET /order > POST",
        "4 GET /order > POST > Reserve",
        "2 GET /order > POST > Reserve > SELECT",
        "2 send",
    ];
    assert_eq!(trees, wanted);
    let linked = folder.rows("SELECT count(*) AS n FROM links l JOIN spans s ON s.trace_id = l.linked_trace_id AND s.span_id = l.linked_span_id");
    assert_eq!(linked[0]["n"], Value::from(2));
}

#[test]
fn what_cannot_be_replayed_is_told() {
    let folder = Folder::new();
    folder.write("bad.jsonl", "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"kind\":\"TEAPOT\"}]}]}]}\n{}\n");
    let server = Server::start_in(&folder.path("data"), &[]);
    let ran = folder.run(&["replay", "bad.jsonl", "--to", &server.otlp_grpc_url()]);
    assert_eq!(ran.code, FAILURE);
    assert!(ran.err.contains("bad.jsonl: line 1, record 1: refused: "), "{}", ran.err);
    let wrong: [&[&str]; 3] = [&["--speed", "0"], &["--speed", "fast"], &["--shift-to", "soon"]];
    for arguments in wrong {
        let ran = folder.run(&[&["replay", "bad.jsonl", "--to", "http://127.0.0.1:1"], arguments].concat());
        assert_eq!(ran.code, USAGE, "{arguments:?}: {}", ran.err);
    }
    let far = folder.run(&["replay", &spans_file(), "--to", "http://127.0.0.1:1"]);
    assert!(far.code == FAILURE && far.err.contains("http://127.0.0.1:1 cannot be reached"), "{}", far.err);
}
