//! The audit log of real servers and commands, and what verifying it says of every change.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::otlp_server::{request, span};
use crate::support::Server;

fn spanhouse(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
    command.args(arguments).arg("--data-dir").arg(folder).output().expect("it starts")
}

fn verified(folder: &Path) -> (Option<i32>, String) {
    let output = spanhouse(folder, &["audit", "verify"]);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(said).expect("UTF-8"))
}

/// Kind, user, what, rows and outcome of all lines, as SQL tells them beside a server or without one.
fn lines(folder: &Path) -> Vec<String> {
    let statement = "SELECT kind || '|' || coalesce(user_name, '') || '|' || what || '|' || coalesce(CAST(rows AS VARCHAR), '') || '|' || outcome \
                     FROM system.audit ORDER BY n";
    let output = spanhouse(folder, &["sql", "--format", "csv", statement]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.lines().skip(1).map(|line| line.trim_matches('"').to_owned()).collect()
}

fn file(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder.join("audit")).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.into_iter().find(|path| path.extension().is_some_and(|of| of == "jsonl")).expect("a file")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_ask_and_what_is_done_is_noted_in_a_chain() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(folder.path(), &[("SPANHOUSE_AUDIT", "statements")]);
    server.post_traces(request((1..=5).map(span).collect())).await;
    let client = server.postgres().await;
    client.simple_query("SELECT span_id FROM spans; SELECT CAST('x' AS integer)").await.expect_err("no number");
    assert_eq!(client.query("SELECT span_name FROM spans LIMIT 2", &[]).await.expect("rows").len(), 2);
    client.simple_query("SELEC 1").await.expect_err("a mistake");
    drop(client);
    let beside = lines(folder.path());
    assert_eq!(beside[0].split('|').take(3).collect::<Vec<_>>(), ["act", "", "start"]);
    server.stop();
    let noted = lines(folder.path());
    let of = |kind: &str| noted.iter().filter(|line| line.starts_with(kind)).map(String::as_str).collect::<Vec<_>>();
    assert_eq!(of("connection"), ["connection|test|connect||ok", "connection|test|disconnect||ok"]);
    let statements = [
        "statement|test|SELECT span_id FROM spans|5|ok",
        "statement|test|SELECT CAST('x' AS integer)|0|22P02",
        "statement|test|SELECT span_name FROM spans LIMIT 2|2|ok",
        "statement|test|SELEC 1|0|42601",
    ];
    assert_eq!(of("statement"), statements);
    assert_eq!(of("act"), ["act||start||ok", "act||stop||ok"]);

    // Commands go on with the same chain.
    assert!(spanhouse(folder.path(), &["compact"]).status.success());
    assert!(lines(folder.path()).last().is_some_and(|line| line.starts_with("act|") && line.contains("|compact|")));
    let (code, said) = verified(folder.path());
    assert_eq!(code, Some(0), "{said}");
    let hash = said.trim_end().rsplit(' ').next().expect("a hash").to_owned();
    assert_eq!(spanhouse(folder.path(), &["audit", "verify", "--expect", &hash]).status.code(), Some(0));
    assert_eq!(spanhouse(folder.path(), &["audit", "verify", "--expect", &"0".repeat(64)]).status.code(), Some(4));

    // A word changed, and a line taken out: the first line that does not fit is told.
    let (path, whole) = (file(folder.path()), fs::read_to_string(file(folder.path())).expect("readable"));
    fs::write(&path, whole.replacen("span_id FROM", "span_id from", 1)).expect("written");
    let (code, said) = verified(folder.path());
    let changed = 1 + whole.lines().position(|line| line.contains("span_id FROM")).expect("the statement");
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains(&format!(".jsonl:{}: it does not hold the hash", changed + 1)), "{said}");
    let without: Vec<_> =
        whole.lines().enumerate().filter(|(at, _)| *at != 1).map(|(_, line)| format!("{line}\n")).collect();
    fs::write(&path, without.concat()).expect("written");
    let (code, said) = verified(folder.path());
    assert_eq!(code, Some(4), "{said}");
    assert!(said.contains(".jsonl:2: its number is 3, and the line before has 1"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_default_only_refused_statements_are_noted_and_off_notes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(folder.path(), &[]);
    let client = server.postgres().await;
    client.simple_query("SELECT 1").await.expect("a row");
    client.simple_query("DROP TABLE spans").await.expect_err("nobody may");
    server.stop();
    let noted = ["act||start||ok", "refusal|test|DROP TABLE spans||42501", "act||stop||ok"];
    assert_eq!(lines(folder.path()), noted);
    let other = tempfile::tempdir().expect("a folder");
    Server::start_in(other.path(), &[("SPANHOUSE_AUDIT", "off")]).stop();
    assert!(!other.path().join("audit").exists());
    assert_eq!(verified(other.path()).0, Some(0));
}

/// A server that is killed leaves a chain that the next one goes on with.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_a_whole_chain() {
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..2 {
        let server = Server::start_in(folder.path(), &[("SPANHOUSE_AUDIT", "statements")]);
        server.postgres().await.simple_query("SELECT 1").await.expect("a row");
        server.kill_9();
    }
    let (code, said) = verified(folder.path());
    assert_eq!(code, Some(0), "{said}");
    let asked = lines(folder.path()).into_iter().filter(|line| line == "statement|test|SELECT 1|1|ok").count();
    assert_eq!(asked, 2);
}

/// Commands beside a running server write into its chain: who ran them, and what they changed.
#[tokio::test(flavor = "multi_thread")]
async fn commands_beside_a_server_go_on_with_its_chain() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start_in(folder.path(), &[]);
    let client = server.postgres().await;
    let password = folder.path().join("password");
    fs::write(&password, "pencil").expect("written");
    let password = password.to_str().expect("UTF-8");
    for arguments in [
        &["user", "add", "ada", "--password-file", password][..],
        &["token", "add", "shop", "--spans-per-second", "5"],
        &["user", "grant", "ada", "ingest"],
        &["token", "drop", "shop"],
        &["user", "drop", "ada"],
    ] {
        assert!(spanhouse(folder.path(), arguments).status.success(), "{arguments:?}");
        client.simple_query("DROP TABLE spans").await.expect_err("nobody may");
    }
    assert!(!spanhouse(folder.path(), &["user", "drop", "ada"]).status.success(), "what fails changes nothing");
    drop(client);
    server.stop();
    let id = Command::new("id").arg("-un").output().expect("id runs");
    let own = String::from_utf8(id.stdout).expect("UTF-8");
    let own = match std::env::var("SUDO_USER") {
        Ok(by) if own.trim() == "root" => format!("{by} as root"),
        _ => own.trim().to_owned(),
    };
    // The server notes by itself that it has taken users and tokens, whenever it comes to look.
    let noted: Vec<_> = lines(folder.path()).into_iter().filter(|line| !line.contains("|access|")).collect();
    let refused = "refusal|test|DROP TABLE spans||42501".to_owned();
    let mut expected = vec!["act||start||ok".to_owned()];
    for what in ["user add", "token add", "user grant", "token drop", "user drop"] {
        expected.extend([format!("act|{own}|{what}||ok"), refused.clone()]);
    }
    expected.push("act||stop||ok".to_owned());
    assert_eq!(noted, expected);
    let whole = fs::read_to_string(file(folder.path())).expect("readable");
    assert!(whole.contains("shop: ingest, 5 spans a second") && !whole.contains("pencil"), "{whole}");
    let (code, said) = verified(folder.path());
    assert_eq!(code, Some(0), "{said}");
}
