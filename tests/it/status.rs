//! `spanhouse status` beside servers that are well and not, and without one.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::otlp_server::{request, span};
use crate::support::Server;

fn status(folder: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
    command.arg("status").args(more).arg("--data-dir").arg(folder).output().expect("it starts")
}

/// Level and text of a subject.
fn note(output: &Output, subject: &str) -> (String, String) {
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let notes = answer["notes"].as_array().expect("notes");
    let note = notes.iter().find(|note| note["subject"] == subject).unwrap_or_else(|| panic!("{subject} in {answer}"));
    let text = |name: &str| note[name].as_str().expect("a text").to_owned();
    (text("level"), text("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_judged_by_what_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(folder.path(), &[]);
    server.post_traces(request(vec![span(1), span(2)])).await;
    let told = status(folder.path(), &[]);
    let text = String::from_utf8(told.stdout).expect("UTF-8");
    assert_eq!(told.status.code(), Some(0), "{text}");
    assert!(text.starts_with("OK    server"), "{text}");
    let json = status(folder.path(), &["--json"]);
    assert_eq!(note(&json, "ingest"), ("ok".into(), "2 spans of 1 request since the start".into()));
    assert_eq!(note(&json, "refused").0, "ok");
    assert!(!server.try_post_traces(b"no protobuf".to_vec()).await);
    let json = status(folder.path(), &["--json"]);
    assert_eq!(note(&json, "refused"), ("warn".into(), "requests refused since the start: 1 bad_input".into()));

    server.stop();
    let json = status(folder.path(), &["--json"]);
    assert_eq!(json.status.code(), Some(0));
    assert_eq!(note(&json, "server").0, "warn");
    assert!(note(&json, "table").1.starts_with("2 spans in 1 file"), "{json:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_was_killed_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(folder.path(), &[]);
    server.kill_9();
    let json = status(folder.path(), &["--json"]);
    assert_eq!(note(&json, "server").1, "no server runs on this data directory");
    assert_eq!(status(&folder.path().join("none"), &[]).status.code(), Some(1));
}
