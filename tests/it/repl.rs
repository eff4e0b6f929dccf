//! The shell as its users meet it: the real program on a pipe and in a terminal.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use spanhouse::otlp::json_to_protobuf;

use crate::store_support::{append, open, request};
use crate::support::python;

/// A data directory with `spans` spans, closed.
fn data(spans: u64) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("directory");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let store = open(dir.path()).await;
        append(&store, request(1..spans + 1)).await.expect("kept");
        store.close().await.expect("closed");
    });
    dir
}

/// Adds spans with attributes.
fn add_attributes(dir: &Path) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let store = open(dir).await;
        let spans = json_to_protobuf(include_bytes!("../fixtures/pg.otlp.json")).expect("OTLP JSON");
        append(&store, spans.into()).await.expect("kept");
        store.close().await.expect("closed");
    });
}

fn shell(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
    command.args(["repl", "--data-dir"]).arg(dir);
    command
}

/// Runs a script through a pipe.
fn script(dir: &Path, arguments: &[&str], text: &str) -> (Option<i32>, String, String) {
    let mut child = shell(dir)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    (status.code(), String::from_utf8(stdout).expect("text"), String::from_utf8(stderr).expect("text"))
}

#[test]
fn a_script_shows_results_and_nothing_else() {
    let dir = data(10);
    let (code, out, err) =
        script(dir.path(), &[], "-- how many?\nselect\n  count(*) as n\nfrom spans;\nselect ';' as x");
    assert_eq!(out, " n\n----\n 10\n(1 row)\n x\n---\n ;\n(1 row)\n");
    assert_eq!((code, err.as_str()), (Some(0), ""));
}

#[test]
fn a_script_goes_on_after_an_error_names_its_line_and_fails() {
    let dir = data(1);
    let text = "select 1 as a;\n\nselect nope\nfrom spans;\n\\nope\nselect 2 as b;\n";
    let (code, out, err) = script(dir.path(), &["--format", "csv"], text);
    assert_eq!((code, out.as_str()), (Some(1), "a\n1\nb\n2\n"), "{err}");
    assert!(err.contains("LINE 3: select nope") && err.contains("LINE 5: \\nope"), "{err}");
    let (code, out, _) = script(dir.path(), &["--format", "csv", "--stop-on-error"], text);
    assert_eq!((code, out.as_str()), (Some(1), "a\n1\n"));
}

#[test]
fn commands_answer_on_a_pipe() {
    let dir = data(3);
    let (code, out, err) =
        script(dir.path(), &[], "\\d spans\n\\format json\nselect 1 as a;\n\\queries\n\\q\nselect 'after the end';\n");
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("duration_ms") && out.contains("double precision"), "{out}");
    assert!(out.contains("service_dependencies") && !out.contains("after the end"), "{out}");
    let rows = out.split("Output format is json.\n").nth(1).expect("the setting is said");
    let rows = &rows[..rows.find(']').expect("an array") + 1];
    assert_eq!(serde_json::from_str::<serde_json::Value>(rows).expect("JSON"), serde_json::json!([{"a": 1}]));
}

#[test]
fn every_command_does_what_its_help_says() {
    let dir = data(2);
    let cases = [
        ("\\d", "service_edges"),
        ("\\d spans", "duration_ms"),
        ("\\dt", "service_edges"),
        ("\\dn", "information_schema"),
        ("\\df quant*", "quantileexact"),
        ("\\df red", "width interval DEFAULT '5 minutes'"),
        ("\\queries", "slowest_traces"),
        ("\\run slowest_traces", "(2 rows)"),
        // Of the folder in which tests run.
        ("\\report", "daily_service_health"),
        ("\\format csv\nselect 1 as a, 2 as b;", "a,b\n1,2\n"),
        ("\\format", "table"),
        ("\\map", "no service called another then"),
        ("\\flame", "own time"),
        ("\\heatmap", "Latency of 2 spans"),
        ("\\hist duration_ms", "2 values"),
        ("select 1 as a \\watch c=2", "(1 row)"),
        ("\\o\nselect 1 as a;", "(1 row)"),
        ("\\i /dev/null\nselect 1 as a;", "(1 row)"),
        ("\\c", "This reads"),
        ("\\errverbose", "There was no error."),
        ("\\pset null ∅\nselect null as a;", "∅"),
        ("\\x on\nselect 1 as a;", "RECORD 1"),
        ("\\timing on\nselect 1;", "Time: "),
        ("select 40 + 2 as a\n\\g", "42"),
        ("select 40 + 2 as a\n\\gx", "RECORD 1"),
        ("select 40 + 2\n\\p\n;", "select 40 + 2\n"),
        ("select nonsense\n\\r\nselect 1 as a;", "(1 row)"),
        ("\\h", "quantile"),
        ("\\?", "\\timing"),
        ("\\q\nselect nonsense;", ""),
    ];
    for (text, expected) in cases {
        let (code, out, err) = script(dir.path(), &[], &format!("{text}\n"));
        assert_eq!((code, err.as_str()), (Some(0), ""), "{text}: {out}");
        assert!(out.contains(expected), "{text}: {out}");
    }
    let (_, help, _) = script(dir.path(), &[], "\\?\n");
    let listed = help.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| word.starts_with('\\'));
    for command in listed {
        let tried = cases.iter().any(|(text, _)| text.split_whitespace().any(|word| word == command));
        // These need an id, a terminal, and somebody to stop them.
        let has_own = ["\\trace", "\\e", "\\tail"].contains(&command);
        assert!(tried || has_own, "{command} has no case");
    }
}

#[test]
fn a_trace_is_drawn_from_the_start_of_its_id() {
    let dir = data(1);
    let (_, id, _) = script(dir.path(), &["--format", "csv"], "select trace_id from spans;");
    let id = id.lines().nth(1).expect("an id").to_owned();
    let (code, out, err) = script(dir.path(), &[], &format!("\\trace {}\n", &id[..20]));
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with(&format!("Trace {id}\n")) && out.contains('█'), "{out}");
    let (code, _, err) = script(dir.path(), &[], &format!("\\trace {}\n\\trace 0x1\n", "f".repeat(32)));
    assert_eq!(code, Some(1));
    assert!(err.contains("there is no trace ffff") && err.contains("is no trace id"), "{err}");
}

#[test]
fn a_terminal_completes_cancels_and_remembers() {
    let test = "a_terminal_completes_cancels_and_remembers";
    let Some(python) = python(test) else { return };
    // So many that five of them joined do not end before they are cancelled.
    let dir = data(300);
    add_attributes(dir.path());
    let folder = dir.path().to_str().expect("UTF-8");
    let out = python.run("shell_in_a_terminal.py", &[env!("CARGO_BIN_EXE_spanhouse"), "repl", "--data-dir", folder]);
    assert_eq!(out.trim(), "exit code 0");
}
