//! `spanhouse doctor` in a good house, in a bad one, and each of its answers to the question why a trace is not seen, from what a person does to what
//! a person reads.
//!
//! `tests/fixtures/doctor` holds what is said, with what differs from run to run in capitals. `UPDATE_GOLDENS=1` writes it anew, for a person to read.

use std::fmt::Write;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use regex::Regex;
use serde_json::{Value, json};

use crate::otlp_server::{request, span};
use crate::support::{Server, program};

const PROGRAM: &str = env!("CARGO_BIN_EXE_spanhouse");
const S: u64 = 1_000_000_000;

/// Subjects whose lines are about the machine that the tests run on, or about reports that are due there.
const NOT_OF_HOUSE: [&str; 9] =
    ["disk", "file system", "inodes", "temporary", "open files", "memory limit", "memory", "statements", "reports"];

fn spanhouse(arguments: &[&str]) -> Output {
    // What is set where the tests run is not for these.
    let mut command = Command::new(PROGRAM);
    command.env_remove("SPANHOUSE_CONFIG").args(arguments).output().expect("spanhouse starts")
}

fn must(arguments: &[&str]) {
    let output = spanhouse(arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The doctor of a directory without a folder of reports, whose server would take free ports; gives what it says and how it ends.
fn doctor(folder: &Path, more: &[&str]) -> (String, Option<i32>) {
    let dir = folder.to_str().expect("UTF-8");
    let mut arguments = vec!["doctor", "--data-dir", dir, "--reports-dir", "no-reports"];
    for (flag, usual) in [
        ("--otlp-grpc", "127.0.0.1:0"),
        ("--otlp-http", "127.0.0.1:0"),
        ("--postgres", "127.0.0.1:0"),
        ("--admin-listen", "127.0.0.1:0"),
    ] {
        if !more.contains(&flag) {
            arguments.extend([flag, usual]);
        }
    }
    arguments.extend(more);
    let output = spanhouse(&arguments);
    let said = String::from_utf8(output.stdout).expect("UTF-8") + &String::from_utf8(output.stderr).expect("UTF-8");
    (said, output.status.code())
}

/// What is said, with capitals in the place of what differs from run to run.
fn settled(said: &str, folder: &Path) -> String {
    let mut text = said.replace(folder.to_str().expect("UTF-8"), "FOLDER");
    for (pattern, with) in [
        (r"date=\d{4}-\d\d-\d\d/\S+\.parquet", "FILE"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME"),
        (r"\d{4}-\d\d-\d\d", "DAY"),
        (r"process \d+( \([^)]*\))?", "process PID"),
        (r"(127\.0\.0\.1|0\.0\.0\.0):\d+", "$1:PORT"),
        (r"arrived on \d+ or \d+", "arrived on PORT or PORT"),
        (r"\b\d+ (s|min|h|days)\b", "A WHILE"),
        (r"\b\d+(\.\d)? (bytes|KiB|MiB|GiB|TiB)\b", "SIZE"),
        (r"spanhouse \d+\.\d+\.\d+", "spanhouse VERSION"),
    ] {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, with).into_owned();
    }
    text
}

/// Holds a text to the fixture of that name.
fn is_golden(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/doctor").join(name);
    if std::env::var_os("UPDATE_GOLDENS").is_some() {
        fs::write(&path, text).expect("written");
        return;
    }
    let expected = fs::read_to_string(&path).expect("a fixture");
    assert_eq!(text, expected, "{name} (UPDATE_GOLDENS=1 writes it anew)");
}

/// The lines that are not about this machine, and how many were.
fn of_house(text: &str) -> (String, usize) {
    let (mut kept, mut dropped, mut is_of_machine) = (String::new(), 0, false);
    for line in text.lines() {
        if !line.starts_with(' ') {
            let subject = line.chars().skip(2).take(13).collect::<String>();
            is_of_machine = NOT_OF_HOUSE.contains(&subject.trim());
            dropped += usize::from(is_of_machine);
        }
        // How many things are worth a look, which the last line tells, goes by the machine too.
        if !is_of_machine && line.starts_with([' ', '✓', '!', '✗']) {
            kept += line;
            kept.push('\n');
        }
    }
    (kept, dropped)
}

/// What answers a question about a trace or a service, without what else is worth a look.
fn answer(folder: &Path, more: &[&str]) -> String {
    let (said, code) = doctor(folder, more);
    let said = said.split("\nBesides:").next().expect("an answer");
    format!("{}\nexit code {}\n", settled(said, folder).trim_end(), code.expect("a code"))
}

fn now_ns() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_nanos()).expect("before 2554")
}

/// A span as OTLP has it in JSON.
fn otlp_span(trace: &str, id: &str, parent: &str, start_ns: u64) -> Value {
    json!({ "traceId": trace, "spanId": id, "parentSpanId": parent, "name": "pay", "kind": 2,
        "startTimeUnixNano": start_ns.to_string(), "endTimeUnixNano": (start_ns + 1_000).to_string() })
}

fn otlp_request(service: &str, spans: &[Value]) -> Value {
    json!({ "resourceSpans": [{ "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": service } }] },
        "scopeSpans": [{ "spans": spans }] }] })
}

/// Imports requests into a data directory that no server has.
fn import(folder: &Path, requests: &[Value], more: &[&str]) {
    let file = tempfile::NamedTempFile::with_suffix(".jsonl").expect("a file");
    fs::write(file.path(), requests.iter().map(|request| format!("{request}\n")).collect::<String>()).expect("written");
    let (file, dir) = (file.path().to_str().expect("UTF-8"), folder.to_str().expect("UTF-8"));
    must(&[&["import", "--again", "--data-dir", dir, file], more].concat());
}

const HERE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const AHEAD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OLD: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const ELSEWHERE: &str = "cccccccccccccccccccccccccccccccc";
const UNSAMPLED: &str = "dddddddddddddddddddddddddddddddd";
const NOWHERE: &str = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";

/// A directory with some traces, none of which is quite as one would have it.
fn some_traces() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let now = now_ns();
    let recent = now - 60 * S;
    let mut linking = otlp_span(HERE, "00f067aa0ba902b8", "00f067aa0ba902b7", recent);
    // The flags tell that they were set, and that the sender did not sample it.
    linking["links"] = json!([{ "traceId": UNSAMPLED, "spanId": "00f067aa0ba902ff", "flags": 0x100 }]);
    let mut sampled = otlp_span(HERE, "00f067aa0ba902b9", "00f067aa0ba902aa", recent);
    sampled["traceState"] = "ot=th:c".into();
    let requests = [
        otlp_request("cart", &[otlp_span(HERE, "00f067aa0ba902b7", "", recent), linking]),
        otlp_request("shop", &[sampled, otlp_span(AHEAD, "00f067aa0ba902c1", "", now + 5_400 * S)]),
        otlp_request("billing", &[otlp_span(OLD, "00f067aa0ba902c2", "", now - 200_000 * S)]),
        otlp_request(
            "unknown_service:java",
            &[otlp_span(OLD, "00f067aa0ba902c3", "00f067aa0ba902c2", now - 200_000 * S)],
        ),
    ];
    import(folder.path(), &requests, &[]);
    folder
}

#[test]
fn each_reason_why_a_trace_is_not_seen_is_told() {
    let folder = some_traces();
    let dir = folder.path().to_str().expect("UTF-8");
    must(&["tenant", "add", "acme", "--data-dir", dir]);
    import(
        folder.path(),
        &[otlp_request("cart", &[otlp_span(ELSEWHERE, "00f067aa0ba902c4", "", now_ns())])],
        &["--tenant", "acme"],
    );
    let upper = HERE.to_uppercase();
    let header = format!("00-{NOWHERE}-00f067aa0ba902b7-00");
    let mut said = String::new();
    for (case, arguments) in [
        ("it is stored, and a part of it has not come", vec!["--trace", HERE]),
        ("it was typed in upper case", vec!["--trace", &upper]),
        ("with dashes", vec!["--trace", "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"]),
        ("in base64", vec!["--trace", "S/kvNXezTaajzpKdDg5HNg=="]),
        ("it is the id of a span", vec!["--trace", "00f067aa0ba902b8"]),
        ("it is the id of a span that is not here", vec!["--trace", "00f067aa0ba90fff"]),
        ("its sender's clock is ahead", vec!["--trace", AHEAD]),
        ("it is older than what one asks for", vec!["--trace", OLD]),
        ("it is nowhere, and no server runs", vec!["--trace", NOWHERE]),
        ("a span says that it was sampled away", vec!["--trace", UNSAMPLED]),
        ("its traceparent says so", vec!["--trace", &header]),
        ("it is another tenant's", vec!["--trace", ELSEWHERE]),
        ("the same asked of the tenant", vec!["--trace", ELSEWHERE, "--tenant", "acme"]),
        ("it is the default tenant's", vec!["--trace", AHEAD, "--tenant", "acme"]),
        ("it is no id", vec!["--trace", "checkout"]),
        ("a service that is here and samples", vec!["--service", "shop"]),
        ("a service that is silent", vec!["--service", "billing"]),
        ("a service of another case", vec!["--service", "CART"]),
        ("a service that is nowhere", vec!["--service", "inventory"]),
    ] {
        writeln!(said, "## {case}\n\n{}", answer(folder.path(), &arguments)).expect("a text");
    }
    is_golden("answers.txt", &said);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_has_taken_refused_and_let_expire_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(folder.path(), &[("SPANHOUSE_RETENTION", "1h"), ("SPANHOUSE_SEAL_AFTER", "1h")]);
    let recent = span_of(2, now_ns());
    // Spans of 2023, which are past their retention when they come, and one without an id.
    let mut nameless = span(3);
    nameless.trace_id.clear();
    server.post_traces(request(vec![span(1), recent])).await;
    assert!(server.try_post_traces(request(vec![nameless])).await, "a request with a refused span is answered");
    let mut said = String::new();
    for (case, trace) in
        [("it is fresh", id(2)), ("it has expired", id(1)), ("it may have been refused, or has expired", id(3))]
    {
        writeln!(said, "## {case}\n\n{}", answer(folder.path(), &["--trace", &trace])).expect("a text");
    }
    is_golden("beside_a_server.txt", &said);
}

fn id(number: u128) -> String {
    format!("{number:032x}")
}

fn span_of(number: u64, start_ns: u64) -> opentelemetry_proto::tonic::trace::v1::Span {
    opentelemetry_proto::tonic::trace::v1::Span {
        start_time_unix_nano: start_ns,
        end_time_unix_nano: start_ns + 1_000,
        ..span(number)
    }
}

#[test]
fn who_does_not_see_a_trace_is_told() {
    let folder = some_traces();
    let dir = folder.path().to_str().expect("UTF-8");
    let secret = tempfile::NamedTempFile::new().expect("a file");
    fs::write(secret.path(), "pencil\n").expect("written");
    let file = secret.path().to_str().expect("UTF-8");
    for user in ["ada", "bob", "eve"] {
        must(&["user", "add", user, "--role", "reader", "--password-file", file, "--data-dir", dir]);
    }
    must(&["user", "grant", "ada", "--services", "shop", "--data-dir", dir]);
    must(&["user", "grant", "bob", "--services", "billing", "--data-dir", dir]);
    is_golden("rights.txt", &answer(folder.path(), &["--trace", HERE]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_house_is_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(folder.path(), &[("SPANHOUSE_SEAL_AFTER", "1h")]);
    server.post_traces(request(vec![span_of(1, now_ns()), span_of(2, now_ns())])).await;
    let (said, code) = doctor(folder.path(), &[]);
    let (house, of_machine) = of_house(&settled(&said, folder.path()));
    is_golden("good_house.txt", &house);
    if cfg!(target_os = "linux") {
        assert!(of_machine >= 6, "disk, file system, open files, memory, statements, reports: {said}");
        assert!(said.contains(" open files "), "{said}");
    }
    // What the machine of the tests lacks is no fault of the house.
    assert_eq!(code, Some(i32::from(said.contains('✗'))), "{said}");
    drop(server);
}

#[test]
fn a_bad_house_is_told_what_is_wrong_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    import(
        folder.path(),
        &[otlp_request("billing", &[otlp_span(OLD, "00f067aa0ba902c2", "", now_ns() - 200_000 * S)])],
        &[],
    );
    let table = folder.path().join("table");
    let files = parquet_files(&table);
    fs::remove_file(files.first().expect("a data file")).expect("removed");
    let reports = tempfile::tempdir().expect("a folder");
    fs::write(reports.path().join("slow.sql"), "-- title = \"Slow\"\n-- shedule = \"daily\"\nSELECT 1\n")
        .expect("written");
    let (cert, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    fs::write(&cert, "no certificate\n").expect("written");
    fs::write(&key, "no key\n").expect("written");
    let taken = TcpListener::bind("0.0.0.0:0").expect("a port");
    let address = format!("0.0.0.0:{}", taken.local_addr().expect("an address").port());
    let path = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let more = ["--postgres", &address, "--otlp-http", "0.0.0.0:0", "--plaintext", "anywhere"];
    let tls = ["--tls-cert", &path(&cert), "--tls-key", &path(&key)];
    let dir = path(folder.path());
    let arguments = [
        "doctor",
        "--data-dir",
        &dir,
        "--reports-dir",
        &path(reports.path()),
        "--otlp-grpc",
        "off",
        "--admin-listen",
        "off",
    ];
    let output = spanhouse(&[&arguments[..], &more, &tls].concat());
    let said = String::from_utf8(output.stdout).expect("UTF-8").replace(&path(reports.path()), "REPORTS");
    let (house, _) = of_house(&settled(&said, folder.path()));
    is_golden("bad_house.txt", &house);
    assert_eq!(output.status.code(), Some(1), "{said}");
}

fn parquet_files(below: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(below).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut found: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { parquet_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .collect();
    found.sort();
    found
}

#[test]
fn the_command_that_it_gives_sends_a_span_that_it_then_finds() {
    if program(&["curl"], "the_command_that_it_gives_sends_a_span_that_it_then_finds").is_none() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(folder.path(), &[]);
    let (said, code) = doctor(folder.path(), &["--json"]);
    let told: Value = serde_json::from_str(&said).expect("JSON");
    let notes = told["notes"].as_array().expect("notes");
    let note = notes.iter().find(|note| note["subject"] == "senders").expect("senders");
    assert_eq!((&note["level"], told["answer"].is_null()), (&json!("warn"), true), "{note}");
    assert_eq!(told["ok"], json!(code == Some(0)));
    assert!(note["text"].as_str().is_some_and(|text| text.starts_with("nothing arrived on ")), "{note}");
    let advice = note["advice"].as_str().expect("advice");
    let line = |start: &str| {
        advice.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start} in {advice}"))
    };
    let sent = Command::new("sh").args(["-c", line("curl ")]).output().expect("a shell");
    assert_eq!(String::from_utf8_lossy(&sent.stdout).trim(), "{}", "{}", String::from_utf8_lossy(&sent.stderr));
    let trace = line("and one that looks for it:").rsplit_once(' ').expect("an id").1;
    let (found, code) = doctor(folder.path(), &["--trace", trace]);
    assert!(found.contains("✓ trace         it is here: 1 span of doctor") && code == Some(0), "{found}");
    let generate = line("over gRPC: ").strip_prefix("over gRPC: spanhouse ").expect("a command");
    must(&generate.split(' ').collect::<Vec<_>>());
    let (said, _) = doctor(folder.path(), &[]);
    assert!(said.contains("✓ senders       "), "{said}");
    drop(server);
}

#[test]
fn what_keeps_a_server_from_its_start_is_told_with_exit_code_2() {
    let folder = tempfile::tempdir().expect("a folder");
    let (said, code) = doctor(folder.path(), &["--seal-after", "soon", "--query-memory", "1KiB"]);
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(said.matches("✗ settings").count(), 2, "{said}");
    let missing = folder.path().join("none");
    let (said, code) = doctor(&missing, &[]);
    assert!(said.contains("! directory     there is no data directory "), "{said}");
    assert_eq!(code, Some(i32::from(said.contains('✗'))), "{said}");
    let (said, code) = doctor(&missing, &["--trace", HERE]);
    assert!(said.starts_with("✗ trace         nothing is known of it") && code == Some(1), "{said}");
}
