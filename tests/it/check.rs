//! `spanhouse check` as a person uses it: on a sound directory, beside a server, on a damaged one, and to repair it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::store_support::{append, open, request, until_free};
use crate::support::Server;

/// What a command says, and its exit code.
fn spanhouse(dir: &Path, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_spanhouse"))
        .arg(arguments[0])
        .arg("--data-dir")
        .arg(dir)
        .args(&arguments[1..])
        .output()
        .expect("spanhouse starts");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).expect("UTF-8")).concat();
    (output.status.code().expect("a code"), text)
}

fn count(dir: &Path) -> String {
    let (code, text) = spanhouse(dir, &["sql", "--format", "csv", "SELECT count(*) AS n FROM spans"]);
    assert_eq!(code, 0, "{text}");
    text.lines().nth(1).expect("a row").to_owned()
}

fn files_below(dir: &Path, end: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries
        .flat_map(|path| if path.is_dir() { files_below(&path, end) } else { vec![path] })
        .filter(|path| path.to_string_lossy().ends_with(end))
        .collect();
    files.sort();
    files
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).expect("a file");
    bytes[at] ^= 1;
    std::fs::write(file, bytes).expect("damaged");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_told_and_moved_aside_and_the_rest_is_served() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = open(dir.path()).await;
    append(&store, request(1..101)).await.expect("kept");
    store.close().await.expect("closed");
    drop(store);
    let store = open(dir.path()).await;
    for first in [101, 151, 201] {
        append(&store, request(first..first + 50)).await.expect("kept");
    }
    drop(store);
    until_free(dir.path()).await;
    let (code, text) = spanhouse(dir.path(), &["check"]);
    assert_eq!((code, text.contains("everything is what was written")), (0, true), "{text}");
    assert!(text.contains("3 requests; 3 with 150 spans not in the table yet"), "{text}");
    assert!(text.contains("2 of 2 files agree with the rows"), "{text}");

    flip(&files_below(&dir.path().join("wal"), ".wal")[0], 100);
    let data_file = files_below(&dir.path().join("table"), ".parquet")
        .into_iter()
        .find(|file| !file.to_string_lossy().contains("_delta_log"))
        .expect("a data file");
    flip(&data_file, 1000);
    let (code, text) = spanhouse(dir.path(), &["check"]);
    assert_eq!((code, text.matches("BAD  ").count()), (1, 2), "{text}");
    assert!(
        text.contains("lost: 1 request") && text.contains("50 spans") && text.contains("unknown_service"),
        "{text}"
    );
    let (code, text) = spanhouse(dir.path(), &["check", "--json"]);
    let report: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((code, report["findings"].as_array().map(Vec::len)), (1, Some(2)), "{text}");
    assert_eq!((&report["findings"][0]["part"], &report["findings"][1]["part"]), (&"log".into(), &"data_file".into()));
    let off = ["--otlp-grpc", "off", "--otlp-http", "off", "--postgres", "off", "--admin-listen", "off"];
    let (code, text) = spanhouse(dir.path(), &[&["serve"][..], &off].concat());
    assert_eq!((code, text.contains("spanhouse check --repair")), (4, true), "{text}");

    let (code, text) = spanhouse(dir.path(), &["check", "--repair"]);
    assert_eq!((code, text.matches("REPAIRED  ").count(), text.matches("kept as ").count()), (0, 2, 2), "{text}");
    let (code, text) = spanhouse(dir.path(), &["check"]);
    assert_eq!(code, 0, "{text}");
    // A request of 50 spans, and half of the spans in the table: those of one day.
    assert_eq!(count(dir.path()), "150");
    let (code, text) = spanhouse(dir.path(), &["table", "--format", "csv"]);
    assert_eq!((code, text.contains("quarantined_files,2,")), (0, true), "{text}");

    let server = Server::start_in(dir.path(), &[]);
    server.post_traces(request(1_001..1_011).to_vec()).await;
    assert_eq!(spanhouse(dir.path(), &["check"]).0, 0, "beside a server");
    let (code, text) = spanhouse(dir.path(), &["check", "--repair"]);
    assert_eq!((code, text.contains("stop the server")), (3, true), "{text}");
    assert_eq!(count(dir.path()), "160");
    server.stop();
}
