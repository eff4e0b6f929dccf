//! The built program's commands, as a shell runs them: output, files and exit codes.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Exit codes that `--help` promises.
const SUCCESS: i32 = 0;
const FAILURE: i32 = 1;
const USAGE: i32 = 2;
const IN_USE: i32 = 3;

/// What a command said and how it ended.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

/// Runs `spanhouse` in `folder`, without settings from this process's environment.
fn spanhouse(folder: &Path, arguments: &[&str]) -> Ran {
    ran(command(folder, arguments).output().expect("spanhouse starts"))
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SPANHOUSE_")) {
        command.env_remove(name);
    }
    command
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

/// One request with one span, as OTLP JSON.
fn request(trace_id: &str) -> Value {
    let span = json!({"traceId": trace_id, "spanId": "b7ad6b7169203331", "name": "GET /",
        "startTimeUnixNano": "1700000000123456789", "endTimeUnixNano": "1700000001000000000", "kind": 2});
    json!({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
}

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";

#[test]
fn help_teaches_every_command_and_the_exit_codes() {
    let folder = folder();
    let help = spanhouse(folder.path(), &["--help"]);
    assert_eq!(help.code, SUCCESS);
    for name in [
        "serve", "import", "export", "replay", "generate", "demo", "sql", "repl", "report", "table", "compact",
        "redact", "config",
    ] {
        assert!(help.out.contains(&format!("\n  {name} ")), "{name} is in {}", help.out);
        let help = spanhouse(folder.path(), &[name, "--help"]);
        assert_eq!(help.code, SUCCESS, "{name}");
        let longest = help.out.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(100), "{name} is wrapped at 100 columns: {}", help.out);
        assert!(name == "config" || help.out.contains("Examples:"), "{name} shows examples");
    }
    assert!(help.out.contains("Exit codes:"));
    assert!(!help.out.contains('\x1b'), "no colour without a terminal");
    let wrong = spanhouse(folder.path(), &["serv"]);
    assert_eq!(wrong.code, USAGE);
    assert!(wrong.err.contains("serve"), "the near command is named: {}", wrong.err);
}

#[test]
fn config_check_tells_all_mistakes_and_show_tells_origins() {
    let folder = folder();
    fs::write(folder.path().join("spanhouse.toml"), "postgras = \"x\"\nseal_after = \"soon\"\n").expect("written");
    let checked = spanhouse(folder.path(), &["config", "check"]);
    assert_eq!(checked.code, USAGE);
    assert!(
        checked.err.contains("spanhouse.toml:1: there is no setting postgras: did you mean postgres?"),
        "{}",
        checked.err
    );
    assert!(checked.err.contains("spanhouse.toml:2: seal_after: \"soon\" is not a duration"), "{}", checked.err);
    assert!(checked.err.contains("2 mistakes."), "{}", checked.err);
    let served = spanhouse(folder.path(), &["serve"]);
    assert_eq!(served.code, USAGE, "{}", served.err);

    fs::write(folder.path().join("other.toml"), "seal_after = \"5m\"\n").expect("written");
    assert_eq!(spanhouse(folder.path(), &["config", "check", "other.toml"]).code, SUCCESS);
    let mut show = command(folder.path(), &["config", "show", "--config", "other.toml", "--log", "warn"]);
    let shown = ran(show.env("SPANHOUSE_POSTGRES", "127.0.0.1:6000").output().expect("spanhouse starts"));
    let line = |name: &str| shown.out.lines().find(|line| line.starts_with(name)).unwrap_or_default().to_owned();
    assert!(line("seal_after").ends_with("# other.toml:1"), "{}", shown.out);
    assert!(line("postgres").contains("\"127.0.0.1:6000\"") && line("postgres").ends_with("# SPANHOUSE_POSTGRES"));
    assert!(line("log =").ends_with("# --log"), "{}", shown.out);
    assert!(line("data_dir").ends_with("# default"));
    // What is shown is a settings file that gives the same.
    fs::write(folder.path().join("again.toml"), &shown.out).expect("written");
    assert_eq!(spanhouse(folder.path(), &["config", "check", "again.toml"]).code, SUCCESS);
}

#[test]
fn generate_repeats_itself_and_its_facts_hold_after_import() {
    let folder = folder();
    let made = |name: &str, seed: &str| {
        let arguments = ["generate", "--spans", "5000", "--seed", seed, "--out", name, "--facts", "facts.json"];
        let ran = spanhouse(folder.path(), &arguments);
        assert_eq!(ran.code, SUCCESS, "{}", ran.err);
        fs::read(folder.path().join(name)).expect("made")
    };
    assert_eq!(made("a.otlp.zst", "3"), made("b.otlp.zst", "3"));
    assert_ne!(made("c.otlp", "3"), made("d.otlp", "4"));
    made("e.jsonl.gz", "3");
    let facts: Value =
        serde_json::from_slice(&fs::read(folder.path().join("facts.json")).expect("facts")).expect("JSON");

    let imported = spanhouse(folder.path(), &["import", "a.otlp.zst", "--data-dir", "data"]);
    assert_eq!(imported.code, SUCCESS, "{}{}", imported.out, imported.err);
    assert!(imported.out.starts_with(&format!("5000 spans in {} traces", facts["traces"])), "{}", imported.out);
    let sql = "SELECT count(*) AS spans, count(DISTINCT trace_id) AS traces, \
               count(*) FILTER (WHERE status_code = 'ERROR') AS errors, \
               count(*) FILTER (WHERE parent_span_id IS NULL) AS roots FROM spans";
    let asked = spanhouse(folder.path(), &["sql", "--data-dir", "data", "--format", "ndjson", sql]);
    let row: Value = serde_json::from_str(&asked.out).unwrap_or_else(|_| panic!("{}{}", asked.out, asked.err));
    for name in ["spans", "traces", "errors", "roots"] {
        assert_eq!(row[name], facts[name], "{name}");
    }
    // The same traces as gzipped JSON lines are the same spans.
    let imported = spanhouse(folder.path(), &["import", "e.jsonl.gz", "--data-dir", "data2"]);
    assert_eq!(imported.code, SUCCESS, "{}{}", imported.out, imported.err);
    assert!(imported.out.starts_with(&format!("5000 spans in {} traces", facts["traces"])), "{}", imported.out);
}

#[test]
fn import_names_what_it_refuses_with_its_place() {
    let folder = folder();
    let lines = [
        request(TRACE_ID).to_string(),
        "{\"resourceSpans\": [{]}".to_owned(),
        request("00000000000000000000000000000000").to_string(),
        json!({"data": [{"traceID": "1"}]}).to_string(),
    ];
    fs::write(folder.path().join("mixed.jsonl"), lines.join("\n")).expect("written");
    fs::write(folder.path().join("text.txt"), "hello\n").expect("written");
    fs::write(folder.path().join("torn.otlp"), [9, 0x0a, 7, 0x12]).expect("written");
    let ran = spanhouse(folder.path(), &["import", "mixed.jsonl", "text.txt", "torn.otlp", "--data-dir", "data"]);
    assert_eq!(ran.code, FAILURE, "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("1 span in 1 trace from 2 records"), "{}", ran.out);
    for wanted in [
        "mixed.jsonl: line 2, record 2: refused: ",
        "mixed.jsonl: line 3, record 3: 1 span refused: ",
        "mixed.jsonl: line 4, record 4: refused: there is no resourceSpans in it: it looks like Jaeger JSON",
        "text.txt: byte 0: refused: it is neither OTLP protobuf, nor JSON, nor Parquet",
        "torn.otlp: byte 0, record 1: refused: the file ends 3 bytes into a record of 9",
    ] {
        assert!(ran.err.contains(wanted), "{wanted:?} is in {}", ran.err);
    }
    let missing = spanhouse(folder.path(), &["import", "nowhere.otlp", "--data-dir", "data"]);
    assert_eq!(missing.code, FAILURE);
    assert!(missing.err.contains("nowhere.otlp"), "{}", missing.err);
}

#[test]
fn import_looks_at_all_files_before_it_takes_any() {
    let folder = folder();
    fs::write(folder.path().join("good.json"), request(TRACE_ID).to_string()).expect("written");
    fs::create_dir(folder.path().join("empty")).expect("made");
    let ran = spanhouse(folder.path(), &["import", "good.json", "missing.json", "empty", "--data-dir", "data"]);
    assert_eq!(ran.code, FAILURE);
    let empty = "empty: there is no file in the directory";
    for wanted in ["cannot read 2 files; nothing was imported", "missing.json: No such file", empty] {
        assert!(ran.err.contains(wanted), "{wanted:?} is in {}", ran.err);
    }
    assert!(!folder.path().join("data").exists());
}

#[test]
fn import_goes_on_after_a_bad_first_line() {
    let folder = folder();
    fs::write(folder.path().join("bad.jsonl"), format!("{{\"oops\n{}\n", request(TRACE_ID))).expect("written");
    let ran = spanhouse(folder.path(), &["import", "bad.jsonl", "--data-dir", "data"]);
    assert_eq!(ran.code, FAILURE, "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("1 span in 1 trace from 1 record in "), "{}", ran.out);
    assert!(ran.err.contains("bad.jsonl: line 1, record 1: refused: "), "{}", ran.err);
}

#[test]
fn a_server_that_is_not_there_is_told_at_once() {
    let folder = folder();
    fs::write(folder.path().join("one.json"), request(TRACE_ID).to_string()).expect("written");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let endpoint = format!("http://127.0.0.1:{port}");
    let started = Instant::now();
    for arguments in [["import", "one.json", "--to", &endpoint], ["generate", "--spans=10", "--to", &endpoint]] {
        let ran = spanhouse(folder.path(), &arguments);
        assert_eq!(ran.code, FAILURE);
        let wanted = format!("error: {endpoint} cannot be reached: nothing listens there (connection refused)");
        assert!(ran.err.contains(&wanted), "{}", ran.err);
    }
    assert!(started.elapsed() < Duration::from_secs(20), "nothing is tried again");
}

/// An OTLP/HTTP endpoint that answers what `status` says to a request's body; gives its URL.
fn otlp_http(status: impl Fn(&[u8]) -> &'static str + Send + Clone + 'static) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1/traces", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        while let Ok((connection, _)) = listener.accept() {
            let status = status.clone();
            std::thread::spawn(move || answer_one(connection, status));
        }
    });
    url
}

/// Reads one request and answers it with the status for its body.
fn answer_one(mut connection: std::net::TcpStream, status: impl Fn(&[u8]) -> &'static str) -> Option<()> {
    let mut request = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let length = connection.read(&mut chunk).ok().filter(|length| *length > 0)?;
        request.extend(&chunk[..length]);
        let Some(end) = request.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let body = &request[end + 4..];
        let length: usize = head.split("content-length: ").nth(1)?.lines().next()?.parse().ok()?;
        if body.len() >= length {
            let answer = format!("HTTP/1.1 {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", status(body));
            return connection.write_all(answer.as_bytes()).ok();
        }
    }
}

#[test]
fn an_import_that_fails_names_the_first_record_lost() {
    let folder = folder();
    let lines: Vec<String> = (1..=20).map(|id| request(&format!("{id:032x}")).to_string()).collect();
    fs::write(folder.path().join("many.jsonl"), lines.join("\n")).expect("written");
    let endpoint = otlp_http(|body| {
        // The first record's answer is the last one to come.
        if body.windows(16).any(|id| id == [&[0; 15][..], &[1]].concat()) {
            std::thread::sleep(Duration::from_millis(500));
        }
        "500 Internal Server Error"
    });
    let ran = spanhouse(folder.path(), &["import", "many.jsonl", "--to", &endpoint]);
    assert_eq!(ran.code, FAILURE, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("error: many.jsonl: line 1, record 1: the server answers 500"), "{}", ran.err);
}

#[test]
fn an_import_that_is_tried_again_says_so() {
    let folder = folder();
    let lines: Vec<String> = (1..=20).map(|id| request(&format!("{id:032x}")).to_string()).collect();
    fs::write(folder.path().join("many.jsonl"), lines.join("\n")).expect("written");
    let started = Instant::now();
    let endpoint = otlp_http(move |_| match started.elapsed().as_secs() {
        0..6 => "503 Service Unavailable",
        _ => "200 OK",
    });
    let ran = spanhouse(folder.path(), &["import", "many.jsonl", "--to", &endpoint]);
    assert_eq!(ran.code, SUCCESS, "{}{}", ran.out, ran.err);
    assert!(ran.out.starts_with("20 spans in 20 traces from 20 records"), "{}", ran.out);
    let told = ran.err.matches(&format!("trying again to send to {endpoint}: the server answers 503")).count();
    let seconds = usize::try_from(started.elapsed().as_secs()).expect("a short time");
    assert!((1..=seconds / 3).contains(&told), "{told} in {seconds} s: {}", ran.err);
}

#[test]
fn a_reader_that_goes_is_no_failure() {
    let folder = folder();
    fs::write(folder.path().join("one.json"), request(TRACE_ID).to_string()).expect("written");
    let commands: [&[&str]; 4] = [
        &["config", "check"],
        &["config", "show"],
        &["import", "one.json", "--data-dir", "data"],
        &["generate", "--spans", "100", "--out", "made.otlp"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let closed = command(folder.path(), arguments).stdout(writer).output().expect("spanhouse starts");
        let ran = ran(closed);
        assert_eq!((ran.code, ran.err.as_str()), (SUCCESS, ""), "{arguments:?}");
    }
    // Mistakes are told to nobody and keep their exit code.
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let wrong = command(folder.path(), &["config", "check", "--log-size", "1B"]).stderr(writer).output();
    assert_eq!(ran(wrong.expect("spanhouse starts")).code, USAGE);
}

#[test]
fn a_wrong_command_line_has_its_own_exit_code() {
    let folder = folder();
    fs::write(folder.path().join("one.json"), request(TRACE_ID).to_string()).expect("written");
    let commands: [&[&str]; 4] = [
        &["generate", "--out", "z.foo"],
        &["generate", "--out", "z.otlp", "--start", "some day"],
        &["generate", "--to", "ftp://x"],
        &["import", "one.json", "--to", "ftp://x"],
    ];
    for arguments in commands {
        let ran = spanhouse(folder.path(), arguments);
        assert_eq!(ran.code, USAGE, "{arguments:?}: {}", ran.err);
    }
}

#[test]
fn sql_writes_every_format() {
    let folder = folder();
    fs::write(folder.path().join("one.json"), request(TRACE_ID).to_string()).expect("written");
    assert_eq!(spanhouse(folder.path(), &["import", "one.json", "--data-dir", "data"]).code, SUCCESS);
    let sql = "SELECT trace_id, timestamp, span_kind, trace_state, duration_ns FROM spans";
    let asked = |format: &str| {
        let ran = spanhouse(folder.path(), &["sql", "--data-dir", "data", "--format", format, sql]);
        assert_eq!(ran.code, SUCCESS, "{}", ran.err);
        ran.out
    };
    assert_eq!(
        asked("csv"),
        format!(
            "trace_id,timestamp,span_kind,trace_state,duration_ns\n{TRACE_ID},2023-11-14 22:13:20.123456789+00,SERVER,,876543211\n"
        )
    );
    let rows: Value = serde_json::from_str(&asked("json")).expect("JSON");
    assert_eq!(rows[0]["timestamp"], "2023-11-14T22:13:20.123456789Z");
    assert_eq!(rows[0]["trace_state"], Value::Null);
    assert!(asked("table").ends_with("(1 row)\n"));
    assert!(asked("markdown").starts_with("| trace_id | timestamp |"));
    let written = ["sql", "--data-dir", "data", "--format", "parquet", "--output", "out.parquet", sql];
    assert_eq!(spanhouse(folder.path(), &written).code, SUCCESS);
    assert!(fs::read(folder.path().join("out.parquet")).expect("written").starts_with(b"PAR1"));
    fs::write(folder.path().join("plain"), "as any file").expect("written");
    let mode = |name: &str| fs::metadata(folder.path().join(name)).expect("a file").permissions().mode();
    assert_eq!(mode("out.parquet"), mode("plain"), "whoever may read other files may read this one");

    let wrong = spanhouse(folder.path(), &["sql", "--data-dir", "data", "SELECT nope FROM spans"]);
    assert_eq!(wrong.code, FAILURE);
    let marked = "line 1: SELECT nope FROM spans\n               ^\n";
    assert!(wrong.err.contains(marked), "{}", wrong.err);
    for statement in ["PREPARE a AS SELECT 1", "COPY (SELECT 1) TO STDOUT", "FETCH 1 FROM c"] {
        let told = spanhouse(folder.path(), &["sql", "--data-dir", "data", statement]);
        assert!(told.err.contains("is for clients of the Postgres wire"), "{}", told.err);
        assert!(told.err.contains("hint: run the query itself") || told.err.contains("hint: run the statement itself"));
    }
    let nowhere = spanhouse(folder.path(), &["sql", "--data-dir", "nowhere", "SELECT 1"]);
    assert_eq!(nowhere.code, FAILURE);
    assert!(nowhere.err.contains("there is no data directory nowhere"), "{}", nowhere.err);
    fs::create_dir(folder.path().join("empty")).expect("made");
    let empty = spanhouse(folder.path(), &["repl", "--data-dir", "empty"]);
    assert_eq!(empty.code, FAILURE);
    assert!(empty.err.contains("empty is no spanhouse data directory"), "{}", empty.err);
    for told in [nowhere.err, empty.err] {
        assert!(told.contains("hint: ") && told.contains("--data-dir"), "{told}");
    }
}

/// Starts `serve` on free ports and gives its addresses.
fn serve(folder: &Path) -> (std::process::Child, Value) {
    let ports = ["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--postgres", "127.0.0.1:0"];
    let arguments =
        [&["serve", "--data-dir", "data", "--seal-after", "1h", "--admin-listen", "127.0.0.1:0"][..], &ports].concat();
    let mut child = command(folder, &arguments).spawn().expect("spanhouse starts");
    let give_up = Instant::now() + Duration::from_secs(120);
    loop {
        let text = fs::read(folder.join("data/server.json")).unwrap_or_default();
        if let Ok(addresses) = serde_json::from_slice(&text) {
            return (child, addresses);
        }
        if let Some(status) = child.try_wait().expect("a child of ours") {
            let mut said = String::new();
            if let Some(mut err) = child.stderr.take() {
                err.read_to_string(&mut said).expect("readable");
            }
            panic!("the server ended at its start with {status}: {said}");
        }
        assert!(Instant::now() < give_up, "the server does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn terminate(child: &std::process::Child) {
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
    assert!(killed.success());
}

#[test]
fn a_server_keeps_others_out_and_sealed_data_behind() {
    let folder = folder();
    let (child, addresses) = serve(folder.path());
    let second = spanhouse(
        folder.path(),
        &[
            "serve",
            "--data-dir",
            "data",
            "--otlp-grpc",
            "127.0.0.1:0",
            "--otlp-http",
            "off",
            "--postgres",
            "off",
            "--admin-listen",
            "off",
        ],
    );
    assert_eq!(second.code, IN_USE, "{}", second.err);
    assert!(second.err.contains(&format!("is in use by process {}", child.id())), "{}", second.err);
    let taken = addresses["otlp_grpc"].as_str().expect("an address");
    let port = spanhouse(
        folder.path(),
        &[
            "serve",
            "--data-dir",
            "other",
            "--otlp-grpc",
            taken,
            "--otlp-http",
            "off",
            "--postgres",
            "off",
            "--admin-listen",
            "off",
        ],
    );
    assert_eq!(port.code, IN_USE, "{}", port.err);
    assert!(port.err.contains("(--otlp-grpc) is in use"), "{}", port.err);

    // An import into the directory goes to its server; a reader sees what the server acknowledged.
    fs::write(folder.path().join("one.json"), request(TRACE_ID).to_string()).expect("written");
    let imported = spanhouse(folder.path(), &["import", "one.json", "--data-dir", "data"]);
    assert_eq!(imported.code, SUCCESS, "{}{}", imported.out, imported.err);
    assert!(imported.err.contains(&format!("sending to it at http://{taken}")), "{}", imported.err);
    let count = ["sql", "--data-dir", "data", "--format", "csv", "SELECT count(*) AS n FROM spans"];
    assert_eq!(spanhouse(folder.path(), &count).out, "n\n1\n");

    terminate(&child);
    let ended = ran(child.wait_with_output().expect("ended"));
    assert_eq!(ended.code, SUCCESS, "{}", ended.err);
    assert!(ended.out.contains(&format!("OTLP/gRPC   http://{taken}")), "{}", ended.out);
    for line in ["opened the store", "sealed fresh spans"] {
        assert_eq!(ended.err.matches(line).count(), 1, "{line} in {}", ended.err);
    }
    assert!(!folder.path().join("data/server.json").exists());
    assert_eq!(spanhouse(folder.path(), &count).out, "n\n1\n");
    let table = fs::read_dir(folder.path().join("data/table")).expect("a table");
    let partitions =
        table.filter(|entry| entry.as_ref().expect("an entry").file_name().to_string_lossy().starts_with("date="));
    assert_eq!(partitions.count(), 1, "the span was sealed");
}

/// What `spanhouse table` says, as its three results in JSON.
fn table(folder: &Path) -> [Vec<Value>; 3] {
    let ran = spanhouse(folder, &["table", "--data-dir", "data", "--format", "json"]);
    assert_eq!(ran.code, SUCCESS, "{}", ran.err);
    let results = serde_json::Deserializer::from_str(&ran.out).into_iter::<Vec<Value>>();
    let results: Vec<Vec<Value>> = results.collect::<Result<_, _>>().expect("JSON");
    results.try_into().expect("three results")
}

fn figure(store: &[Value], name: &str) -> u64 {
    let figure = store.iter().find(|figure| figure["name"] == name).unwrap_or_else(|| panic!("{name} in {store:?}"));
    figure["value"].as_u64().expect("a number")
}

#[test]
fn table_and_compact_tell_what_lies_in_a_directory_beside_its_server_and_without() {
    let folder = folder();
    let folder = folder.path();
    let generate = |number: &str| {
        let file = format!("{number}.otlp");
        let arguments =
            ["generate", "--spans", "2000", "--seed", number, "--out", &file, "--start", "2026-01-01T10:00:00Z"];
        assert_eq!(spanhouse(folder, &arguments).code, SUCCESS);
        file
    };
    let files: Vec<String> = ["1", "2", "3", "4", "5"].into_iter().map(generate).collect();
    // Each import seals its spans into a file of their own.
    for file in &files[..4] {
        assert_eq!(spanhouse(folder, &["import", file, "--data-dir", "data"]).code, SUCCESS);
    }
    let (child, _) = serve(folder);
    assert_eq!(spanhouse(folder, &["import", &files[4], "--data-dir", "data"]).code, SUCCESS);
    let [store, days, attributes] = table(folder);
    assert_eq!((figure(&store, "table_rows"), figure(&store, "fresh_rows")), (8000, 2000), "beside a server");
    assert_eq!(days.iter().map(|day| day["rows"].as_u64().expect("rows")).sum::<u64>(), 8000);
    assert!(days.iter().all(|day| day["date"] == "2026-01-01" && day["index_bytes"].as_u64() > Some(0)), "{days:?}");
    let of = |map: &str, key: &str| attributes.iter().find(|one| one["map"] == map && one["key"] == key).cloned();
    assert_eq!(of("attributes", "http.response.status_code").expect("a column")["types"], "int", "{attributes:?}");
    let refused = spanhouse(folder, &["compact", "--data-dir", "data"]);
    assert_eq!(refused.code, IN_USE, "{}", refused.err);
    terminate(&child);
    assert_eq!(ran(child.wait_with_output().expect("ended")).code, SUCCESS);

    let [store, ..] = table(folder);
    assert_eq!((figure(&store, "table_rows"), figure(&store, "fresh_rows")), (10_000, 0));
    let files_before = figure(&store, "table_files");
    let compacted = spanhouse(folder, &["compact", "--data-dir", "data"]);
    assert_eq!(compacted.code, SUCCESS, "{}", compacted.err);
    let [store, days, _] = table(folder);
    assert_eq!((figure(&store, "table_rows"), figure(&store, "table_files")), (10_000, 1), "{files_before} before");
    assert_eq!(days[0]["files"], 1);
    assert!(compacted.out.contains(" became ") && compacted.out.contains("spans"), "{}", compacted.out);
    let again = spanhouse(folder, &["compact", "--data-dir", "data"]);
    assert!(again.out.starts_with("0 files of 0 bytes became 0 files"), "{}", again.out);
}

#[test]
fn the_demo_answers_the_shipped_questions_and_exits() {
    let folder = folder();
    // A server's own table, which made-up spans stay out of.
    let table = folder.path().join("of-a-server");
    let ran = ran(command(folder.path(), &["demo", "--spans", "3000", "--dir", "demo", "--exit"])
        .env("SPANHOUSE_TABLE_URL", format!("file://{}", table.display()))
        .output()
        .expect("spanhouse starts"));
    assert!(!table.exists(), "the demo wrote into it");
    assert_eq!(ran.code, SUCCESS, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("Sent 3000 spans"), "{}", ran.out);
    for question in spanhouse::engine::library() {
        assert!(ran.out.contains(&format!("({})", question.name)), "{} is answered", question.name);
    }
    let slowest = ran.out.split("(slowest_traces)").nth(1).expect("an answer");
    let rows = slowest.lines().skip_while(|line| !line.starts_with("--")).skip(1);
    assert_eq!(rows.take_while(|line| !line.starts_with('…')).count(), 8, "{slowest}");
    let traces: u64 =
        ran.out.split("3000 spans in ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a count");
    assert!(slowest.contains(&format!("… and {} more rows", traces - 8)), "{slowest}");
    let count = ["sql", "--data-dir", "demo", "--format", "csv", "SELECT count(*) AS n FROM spans"];
    assert_eq!(spanhouse(folder.path(), &count).out, "n\n3000\n");
}
