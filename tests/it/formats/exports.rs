//! What `export` writes: OTLP as it came in, and the other formats to the letter.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use serde_json::{Value, json};
use spanhouse::otlp::json_to_protobuf;

use super::{FAILURE, Flat, Folder, SUCCESS, USAGE, delimited, fixtures, flat, is_kept};
use crate::support::shared_data;

/// Spans by hand: two traces, overlapping siblings, all types of attributes, an event and a link.
fn by_hand() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/formats")
}

fn with_spans() -> Folder {
    let folder = Folder::new();
    folder.done(&["import", by_hand().join("spans.jsonl").to_str().expect("UTF-8")]);
    folder
}

/// The spans of requests that the store keeps.
fn kept(requests: &[ExportTraceServiceRequest]) -> Vec<Flat> {
    flat(requests).into_iter().filter(|flat| is_kept(&flat.span)).collect()
}

/// The requests of JSON lines or of one document, as their bytes in protobuf.
fn requests(json: &str) -> Vec<Vec<u8>> {
    match json_to_protobuf(json.as_bytes()) {
        Ok(protobuf) => vec![protobuf],
        Err(_) => json.lines().filter_map(|line| json_to_protobuf(line.as_bytes()).ok()).collect(),
    }
}

fn decoded(protobuf: &[u8]) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(protobuf).expect("protobuf")
}

fn assert_same(came: &[Flat], wanted: &[Flat], what: &str) {
    assert_eq!(came.len(), wanted.len(), "{what}");
    for (came, wanted) in came.iter().zip(wanted) {
        assert_eq!(came, wanted, "{what}");
    }
}

#[test]
fn otlp_comes_back_as_it_went_in() {
    let Some(shared) = shared_data("otlp_comes_back_as_it_went_in") else { return };
    let folder = Folder::new();
    // A request that is there twice is stored once.
    let (mut seen, mut wanted, mut files) = (HashSet::new(), Vec::new(), Vec::new());
    let sample = (shared.join("trainticket.sample.jsonl"), json!({"format": "OTLP/JSON"}));
    for (path, entry) in fixtures(&shared).into_iter().chain([sample]) {
        let bytes = std::fs::read(&path).expect("readable");
        let of_file = match entry["format"].as_str().unwrap_or_default() {
            "OTLP/JSON" => requests(&String::from_utf8_lossy(&bytes)),
            "OTLP protobuf" if ExportTraceServiceRequest::decode(&*bytes).is_ok() => vec![bytes],
            _ => continue,
        };
        files.push(path.to_str().expect("UTF-8").to_owned());
        wanted.extend(
            of_file.into_iter().filter(|request| seen.insert(request.clone())).map(|request| decoded(&request)),
        );
    }
    assert!(files.len() > 40, "{}", files.len());
    // Some of them hold what must be refused.
    let arguments: Vec<&str> = ["import"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let ran = folder.run(&arguments);
    assert!(ran.code == FAILURE && ran.text().contains("spans in"), "{}{}", ran.text(), ran.err);
    let wanted = kept(&wanted);
    assert!(wanted.len() > 2_000, "{}", wanted.len());
    assert_same(&folder.exported(), &wanted, "otlp");

    let json = folder.done(&["export", "--format", "otlp-json"]).text();
    let lines: Vec<ExportTraceServiceRequest> =
        json.lines().flat_map(requests).map(|request| decoded(&request)).collect();
    assert_same(&flat(&lines), &wanted, "otlp-json");
    folder.done(&["export", "--output", "all.otlp.zst"]);
    let plain = zstd::decode_all(&*folder.read("all.otlp.zst")).expect("zstd");
    assert_same(&flat(&delimited(&plain)), &wanted, "otlp.zst");
    // Parquet is taken again, and loses nothing either.
    folder.done(&["export", "--output", "all.parquet"]);
    let other = Folder::new();
    other.done(&["import", folder.path("all.parquet").to_str().expect("UTF-8")]);
    assert_same(&other.exported(), &wanted, "parquet");
}

/// The files were written by other programs than ours from the same spans, after the formats' descriptions.
#[test]
fn each_format_is_written_as_it_is_described() {
    let folder = with_spans();
    let (written, wanted) = (
        |format: &str| folder.done(&["export", "--format", format]),
        |file: &str| std::fs::read_to_string(by_hand().join(file)).expect("readable"),
    );
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    assert_eq!(by_key(written("jaeger").json()), by_key(json(&wanted("jaeger.json"))));
    let events = written("perfetto").text();
    assert_eq!(json(&events), json(&wanted("perfetto.json")));
    // A double does not tell the last digits of a time.
    let times = |text: &str| -> Vec<String> {
        text.split("\"ts\":").skip(1).map(|rest| rest.split(',').next().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(times(&events), times(&wanted("perfetto.json")));
    assert_eq!(written("folded").text(), wanted("stacks.folded"));
    let rows = |format: &str| {
        let sql = folder.done(&["sql", "--format", format, "SELECT * FROM spans"]);
        (sorted_lines(&written(format).text()), sorted_lines(&sql.text()))
    };
    for format in ["csv", "ndjson"] {
        let (exported, asked) = rows(format);
        assert_eq!(exported, asked, "{format}");
    }
}

/// Tags have no order.
fn by_key(mut document: Value) -> Value {
    for trace in document["data"].as_array_mut().expect("traces") {
        for span in trace["spans"].as_array_mut().expect("spans") {
            span["tags"].as_array_mut().expect("tags").sort_by_key(|tag| tag["key"].to_string());
        }
    }
    document
}

fn sorted_lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn spans_are_chosen_by_trace_time_and_predicate() {
    let folder = with_spans();
    let ids = |arguments: &[&str]| {
        let ran = folder.done(&[&["export", "--format", "ndjson"], arguments].concat());
        let mut ids: Vec<String> = ran
            .text()
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line).expect("JSON")["span_id"].as_str().expect("an id")[15..].to_owned()
            })
            .collect();
        ids.sort();
        ids.concat()
    };
    assert_eq!(ids(&[]), "1234569");
    assert_eq!(ids(&["--trace", "0000000000000000A3CE929D0E0E4736"]), "9");
    assert_eq!(ids(&["--where", "service_name = 'web' AND span_kind = 'CLIENT'"]), "23");
    assert_eq!(
        ids(&["--where", "service_name = 'web' OR service_name = 'mail'", "--from", "2026-01-05T09:00:00.02Z"]),
        "39"
    );
    assert_eq!(ids(&["--from", "2026-01-05 09:00:00.015", "--to", "2026-01-05T09:00:00.020Z"]), "4");
    assert_eq!(ids(&["--where", "trace_id IN (SELECT trace_id FROM spans WHERE span_kind = 'CONSUMER')"]), "9");
    let folded = folder.done(&["export", "--format", "folded", "--where", "root_name = 'send'"]);
    assert_eq!(folded.text(), "send 2\n");
}

#[test]
fn mistakes_are_told_and_leave_no_file() {
    let folder = with_spans();
    let told = |arguments: &[&str]| {
        let ran = folder.run(&[&["export"], arguments].concat());
        assert_ne!(ran.code, SUCCESS, "{arguments:?}");
        assert!(ran.out.is_empty(), "{}", ran.text());
        (ran.code, ran.err)
    };
    let (code, err) = told(&["--format", "csv", "--where", "service_name = 'a' ANDD x", "-o", "no.csv"]);
    assert!(code == FAILURE && err.contains("line 1: service_name = 'a' ANDD x\n"), "{err}");
    assert_eq!(
        err.lines().find(|line| line.trim() == "^").map(str::len),
        Some("line 1: service_name = 'a' ".len() + 1),
        "{err}"
    );
    let (_, err) = told(&["--format", "csv", "--where", "servce_name = 'a'"]);
    assert!(err.contains("servce_name") && err.contains("line 1: servce_name = 'a'\n"), "{err}");
    let (_, err) = told(&["--format", "csv", "--where", "true) OR (true"]);
    assert!(err.contains("syntax error at or near \")\""), "{err}");
    let (code, err) = told(&["--format", "jaeger", "--trace", "ffffffffffffffffffffffffffffffff", "-o", "no.json"]);
    assert!(code == FAILURE && err.contains("there is no span of trace ffffffffffffffffffffffffffffffff"), "{err}");
    let usage: [(&[&str], &str); 5] = [
        (&[], "there is neither a format nor a file's name"),
        (&["-o", "no.json"], "the name no.json does not tell a format"),
        (&["--format", "csv", "--trace", "abc"], "--trace abc: a trace id is 32 hex digits"),
        (&["--format", "csv", "--from", "soon"], "--from \"soon\" is not a time"),
        (&["--format", "teapot"], "otlp, otlp-json, jaeger, csv, ndjson, parquet, perfetto, folded"),
    ];
    for (arguments, wanted) in usage {
        let (code, err) = told(arguments);
        assert!(code == USAGE && err.contains(wanted), "{arguments:?}: {err}");
    }
    assert!(!folder.path("no.csv").exists() && !folder.path("no.json").exists());
    let left: Vec<_> = std::fs::read_dir(folder.0.path()).expect("readable").collect();
    assert_eq!(left.len(), 1, "only the data directory: {left:?}");
}

/// Trace events as Chrome's format describes them, read by a stack machine of its own: on a thread, spans lie inside one another or apart.
#[test]
fn trace_events_nest_and_hold_every_span() {
    let Some(shared) = shared_data("trace_events_nest_and_hold_every_span") else { return };
    let folder = Folder::new();
    folder.done(&["import", shared.join("trainticket.sample.jsonl").to_str().expect("UTF-8")]);
    let document = folder.done(&["export", "--format", "perfetto"]).json();
    let events = document["traceEvents"].as_array().expect("events");
    let spans: Vec<&Value> = events.iter().filter(|event| event["ph"] == "X").collect();
    assert_eq!(spans.len(), 1_998);
    let processes = events.iter().filter(|event| event["ph"] == "M" && event["name"] == "process_name").count();
    assert_eq!(folder.rows("SELECT count(DISTINCT service_name) AS n FROM spans")[0]["n"], processes);
    let logs = events.iter().filter(|event| event["ph"] == "i").count();
    assert_eq!(folder.rows("SELECT count(*) AS n FROM events")[0]["n"], logs);
    // A double has a quarter of a microsecond at these times.
    let slack = 0.5;
    let mut open: HashMap<(u64, u64), Vec<f64>> = HashMap::new();
    for span in spans {
        let number = |key: &str| span[key].as_f64().expect("a number");
        let (start, end) = (number("ts"), number("ts") + number("dur"));
        let track = open.entry((number("pid") as u64, number("tid") as u64)).or_default();
        while track.last().is_some_and(|last| *last <= start + slack) {
            track.pop();
        }
        assert!(track.last().is_none_or(|last| end <= last + slack), "{span}");
        track.push(end);
    }
}
