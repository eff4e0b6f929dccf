//! Rules for sensitive data: what they take out of requests is in no file of the server, whatever way the request came.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::Status;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use prost::Message;
use serde_json::json;
use tonic::transport::Endpoint;

use crate::otlp_server::{EXPORT, request_of, send, span, text, unary};
use crate::support::Server;

/// What may be nowhere: a text without compression-friendly neighbours, so that a search finds it.
const SECRETS: [&str; 4] = ["hunter2-of-ann", "ann@example.org", "4111 1111 1111 1111", "4111111111111111"];

const RULES: &str = r#"
[[rule]]
name = "passwords"
action = "delete"
keys = ["*.password"]

[[rule]]
name = "users"
action = "hash"
keys = ["user.id"]
key_env = "RULES_TEST_KEY"

[[rule]]
name = "ready-made"
action = "mask"
patterns = ["card", "email", "token"]
"#;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

/// A request with a secret in each place that an attribute or a text can have.
fn secrets(number: u64) -> ExportTraceServiceRequest {
    let [password, mail, card, digits] = SECRETS;
    let list = KeyValueList { values: vec![text("password", password), text("to", mail)] };
    let array = ArrayValue { values: vec![AnyValue { value: Some(Value::StringValue(card.into())) }] };
    let mut span = span(number);
    span.name = format!("GET /users/{mail}");
    span.attributes = vec![
        text("db.password", password),
        text("user.id", "ann-the-user"),
        text("note", &format!("paid with {card}")),
        attribute("number", Value::IntValue(digits.parse().expect("a number"))),
        attribute("bytes", Value::BytesValue(mail.as_bytes().to_vec())),
        attribute("form", Value::KvlistValue(list)),
        attribute("list", Value::ArrayValue(array)),
        text("kept", "order 17"),
    ];
    let attributes = vec![text("exception.message", &format!("no user {mail}"))];
    span.events =
        vec![Event { time_unix_nano: span.start_time_unix_nano, name: mail.into(), attributes, ..Event::default() }];
    let attributes = vec![text("link.password", password)];
    span.links = vec![Link { trace_id: vec![9; 16], span_id: vec![9; 8], attributes, ..Link::default() }];
    span.status = Some(Status { code: 2, message: format!("{card} was refused") });
    let mut request = request_of("shop", vec![span]);
    let of_resource = &mut request.resource_spans[0];
    of_resource.resource.as_mut().expect("a resource").attributes.push(text("owner", mail));
    let scope = of_resource.scope_spans[0].scope.get_or_insert_default();
    scope.attributes.push(text("scope.password", password));
    request
}

/// The same as OTLP JSON.
fn secrets_as_json() -> serde_json::Value {
    let [password, mail, card, digits] = SECRETS;
    let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
    let span = json!({
        "traceId": "00000000000000000000000000000003",
        "spanId": "0000000000000003",
        "name": format!("GET /users/{mail}"),
        "startTimeUnixNano": "1700000000000000000",
        "endTimeUnixNano": "1700000000000000001",
        "attributes": [
            text("db.password", password),
            text("user.id", "ann-the-user"),
            text("note", &format!("paid with {card}")),
            { "key": "number", "value": { "intValue": digits } },
            { "key": "bytes", "value": { "bytesValue": "YW5uQGV4YW1wbGUub3Jn" } },
            { "key": "form", "value": { "kvlistValue": { "values": [text("password", password), text("to", mail)] } } },
            { "key": "list", "value": { "arrayValue": { "values": [{ "stringValue": card }] } } },
            text("kept", "order 17"),
        ],
        "events": [{
            "timeUnixNano": "1700000000000000000",
            "name": mail,
            "attributes": [text("exception.message", &format!("no user {mail}"))],
        }],
        "links": [{
            "traceId": "09090909090909090909090909090909",
            "spanId": "0909090909090909",
            "attributes": [text("link.password", password)],
        }],
        "status": { "code": 2, "message": format!("{card} was refused") },
    });
    let resource = json!({ "attributes": [text("service.name", "shop"), text("owner", mail)] });
    let scope = json!({ "attributes": [text("scope.password", password)] });
    json!({ "resourceSpans": [{ "resource": resource, "scopeSpans": [{ "scope": scope, "spans": [span] }] }] })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The files in which one of the secrets, or who `user.id` is, stands.
fn with_secrets(folder: &Path) -> Vec<PathBuf> {
    let has = |path: &PathBuf| {
        let bytes = fs::read(path).expect("readable");
        SECRETS
            .iter()
            .chain(&["ann-the-user"])
            .any(|secret| bytes.windows(secret.len()).any(|part| part == secret.as_bytes()))
    };
    files(folder).into_iter().filter(has).collect()
}

/// Sends the secrets as protobuf over HTTP and gRPC, and as JSON.
async fn send_all(server: &Server) {
    server.post_traces(secrets(1).encode_to_vec()).await;
    let channel =
        Endpoint::from_shared(server.otlp_grpc_url()).expect("an address").connect().await.expect("a connection");
    unary(channel, EXPORT, secrets(2).encode_to_vec(), None).await.expect("taken");
    let json = secrets_as_json().to_string().into_bytes();
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http();
    let url = format!("{}/v1/traces", server.otlp_http_url());
    let answer = send(client, "POST", url, &[("content-type", "application/json")], json).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

fn sql(folder: &Path, statement: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_spanhouse"))
        .args(["sql", "--format", "ndjson", "--data-dir"])
        .arg(folder)
        .arg(statement)
        .output()
        .expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_holds_what_rules_take_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let rules = folder.path().join("rules.toml");
    fs::write(&rules, RULES).expect("written");
    let data = folder.path().join("data");
    let rules = rules.to_str().expect("a plain path");
    let environment = [
        ("SPANHOUSE_INGEST_RULES", rules),
        ("RULES_TEST_KEY", "a key for this test only"),
        ("SPANHOUSE_SEAL_AFTER", "1h"),
    ];
    fs::create_dir(&data).expect("a folder");
    let server = Server::start_in(&data, &environment);
    send_all(&server).await;
    let client = server.postgres().await;
    let counted = "SELECT reason, outcome, count FROM system.ingest WHERE what = 'values' ORDER BY reason";
    let counts: Vec<(String, String, i64)> = client
        .query(counted, &[])
        .await
        .expect("counts")
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2)))
        .collect();
    // In each request: four keys that end with .password; one user; and ten texts with a pattern.
    let expected = [("passwords", "deleted", 12), ("ready-made", "masked", 30), ("users", "hashed", 3)];
    assert_eq!(counts, expected.map(|(rule, outcome, count)| (rule.to_owned(), outcome.to_owned(), count)));

    assert!(
        files(&data.join("wal")).iter().any(|file| fs::metadata(file).expect("a file").len() > 1000),
        "a log with spans"
    );
    assert_eq!(with_secrets(&data), Vec::<PathBuf>::new());
    server.kill_9();
    // The log is read again without any rules: what it holds is what is shown.
    let server = Server::start_in(&data, &[("SPANHOUSE_SEAL_AFTER", "1h")]);
    server.stop();
    assert!(files(&data.join("table")).iter().any(|file| file.extension().is_some_and(|of| of == "parquet")));
    assert_eq!(with_secrets(&data), Vec::<PathBuf>::new());
    let shown = sql(&data, "SELECT * FROM spans");
    assert_eq!(shown.lines().count(), 3);
    for secret in SECRETS.iter().chain(&["ann-the-user"]) {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert!(shown.contains("order 17") && shown.contains("paid with ***"), "{shown}");
    // HMAC-SHA-256 of the user under the key, as Python's hmac has it.
    assert!(shown.contains("e2ff6a0f6e49343fb1063c1139f98256e7e1e82606295dc8c2da69f48395609a"), "{shown}");
}

/// The search finds what is there.
#[tokio::test(flavor = "multi_thread")]
async fn without_rules_the_log_holds_what_was_sent() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(folder.path(), &[("SPANHOUSE_SEAL_AFTER", "1h")]);
    let sent = secrets(1).encode_to_vec();
    server.post_traces(sent.clone()).await;
    assert!(!with_secrets(&folder.path().join("wal")).is_empty());
    let logged = files(&folder.path().join("wal")).into_iter().map(|file| fs::read(file).expect("readable"));
    assert!(
        logged.into_iter().any(|bytes| bytes.windows(sent.len()).any(|part| part == sent)),
        "the request's own bytes"
    );
}

#[test]
fn a_mistake_in_the_rules_is_told_before_anything_is_served() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("rules.toml"), "[[rule]]\nname = \"a\"\naction = \"erase\"\nkeys = [\"x\"]\n")
        .expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_spanhouse"))
        .args(["serve", "--ingest-rules", "rules.toml", "--data-dir", "data", "--admin-listen", "off"])
        .args(["--otlp-grpc", "127.0.0.1:0", "--otlp-http", "off", "--postgres", "off"])
        .current_dir(folder.path())
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("rules.toml:3: unknown variant `erase`"), "{said}");
    assert!(!folder.path().join("data").join("wal").exists());
}
