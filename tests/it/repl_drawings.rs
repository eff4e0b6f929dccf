//! The shell's drawings, files and live commands on a pipe, over made-up traces that are the same every time.
//!
//! The sessions in the docs are what the shell writes: `UPDATE_GOLDENS=1` writes them anew, for a person to look at.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{Authority, Server, python};

/// What the program gives on a pipe.
struct Done {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(arguments: &[&str], input: &[u8]) -> Done {
    let mut child = Command::new(env!("CARGO_BIN_EXE_spanhouse"))
        .args(arguments)
        .env_remove("PGPASSWORD")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // One that has ended already reads nothing.
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Done { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// The shop of the docs.
struct Shop {
    folder: tempfile::TempDir,
}

impl Shop {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let shop = Self { folder };
        let file = shop.path("shop.otlp");
        assert_eq!(run(&["generate", "--traces", "300", "--out", &file], b"").code, Some(0));
        let imported = run(&["import", "--data-dir", &shop.path("data"), &file], b"");
        assert_eq!(imported.code, Some(0), "{}", imported.err);
        shop
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn shell(&self, input: &str) -> Done {
        run(&["repl", "--data-dir", &self.path("data")], input.as_bytes())
    }

    /// What a script says that must succeed.
    fn says(&self, input: &str) -> String {
        let done = self.shell(input);
        assert_eq!((done.code, done.err.as_str()), (Some(0), ""), "{input}");
        done.out
    }
}

const DRAWINGS: [&str; 4] = [
    "\\map",
    "\\heatmap span_kind = 'SERVER'",
    "\\hist duration_ms span_kind = 'SERVER'",
    "\\hist attributes['http.route']",
];

/// The sessions of the docs: a file, the name between its marks, and what is typed.
const SESSIONS: [(&str, &str, &[&str]); 2] =
    [("docs/repl.md", "drawings", &DRAWINGS), ("README.md", "shell", &["\\heatmap span_kind = 'SERVER'"])];

#[test]
fn the_docs_show_what_the_shell_draws() {
    let shop = Shop::new();
    for (file, name, commands) in SESSIONS {
        let session: String =
            commands.iter().map(|command| format!("spanhouse=> {command}\n{}\n", shop.says(command))).collect();
        let lines = session.trim_end().lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n");
        let (begin, end) = (format!("<!-- session: {name} -->\n"), "<!-- end of session -->");
        let block: String = lines.collect();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
        let docs = fs::read_to_string(&path).expect("docs");
        let (head, rest) = docs.split_once(&begin).expect("the beginning of the session");
        let (shown, tail) = rest.split_once(end).expect("its end");
        if std::env::var_os("UPDATE_GOLDENS").is_some() {
            fs::write(&path, format!("{head}{begin}\n{block}\n{end}{tail}")).expect("written");
            continue;
        }
        assert_eq!(shown.trim_matches('\n'), block.trim_end(), "{file}");
    }
}

#[test]
fn drawings_tell_what_sql_counts() {
    let shop = Shop::new();
    let count = |sql: &str| shop.says(&format!("\\format csv\n{sql};\n")).lines().last().expect("a row").to_owned();
    let map = shop.says("\\map\n");
    let busiest = count(
        "select caller || ',' || callee from service_map() where connection = 'call' group by caller, callee order by sum(calls) desc, 1 limit 1",
    );
    let (caller, callee) = busiest.trim_matches('"').split_once(',').expect("two names");
    assert!(map.contains(caller) && map.contains(callee), "{busiest}: {map}");
    assert!(shop.says("\\map '2100-01-01'\n").contains("no service called another then"));
    let spans = count("select count(*) from spans where span_kind = 'SERVER'");
    let heat = shop.says("\\heatmap span_kind = 'SERVER'\n");
    assert!(heat.starts_with(&format!("Latency of {spans} spans")), "{heat}");
    let hist = shop.says("\\hist duration_ms span_kind = 'SERVER'\n");
    assert!(hist.starts_with(&format!("duration_ms: {spans} values")), "{hist}");
    // The ranges together hold every span.
    let bars: u64 = hist
        .lines()
        .skip(1)
        .map(|line| line.split_once('│').expect("a bar").1)
        .map(|line| line.trim_start_matches(|c: char| !c.is_ascii_digit()))
        .map(|line| {
            line.split_whitespace().next().expect("a number").replace(',', "").parse::<u64>().expect("a number")
        })
        .sum();
    assert_eq!(bars.to_string(), spans, "{hist}");
    let names = shop.says("\\hist service_name\n");
    let largest = count("select service_name from spans group by 1 order by count(*) desc, 1 limit 1");
    assert!(names.lines().nth(1).expect("a bar").starts_with(&largest), "{names}");
    // A column of the tree's is found there.
    assert!(shop.says("\\hist self_ms depth = 0\n").starts_with("self_ms: "));
    let flame = shop.says("\\flame depth = 0\n");
    let roots = count("select count(*) from span_tree where depth = 0 and span_name is not null");
    assert!(flame.starts_with(&format!("Own time of {roots} spans")), "{flame}");
    assert!(shop.says("\\flame service_name = 'nobody'\n").contains("no such spans"));
}

#[test]
fn what_is_wrong_in_a_condition_is_said() {
    let shop = Shop::new();
    for (text, said) in [
        ("\\flame servce_name = 'x'", "column \"servce_name\" does not exist"),
        ("\\heatmap true) or (true", "parentheses do not match"),
        ("\\hist 'open", "a quote is not closed"),
        ("\\tail durtion_ms > 1", "does not exist"),
        ("\\hist nonsense(1)", "nonsense"),
        ("\\map someday", "someday"),
        ("\\i /no/such/file.sql", "there is no file"),
        ("\\o result.xlsx", "does not say what to write"),
        ("\\watch", "no statement to ask"),
        ("\\e", "needs a terminal"),
        ("\\c mysql://x", "no URL of a server"),
        ("\\pset thme dark", "there is no setting thme"),
    ] {
        let done = shop.shell(&format!("{text}\n"));
        assert!(done.code == Some(1) && done.err.contains(said), "{text}: {} {}", done.out, done.err);
        assert!(!done.err.contains('^'), "no place in a text that nobody wrote: {}", done.err);
    }
}

#[test]
fn results_go_to_files_of_every_format() {
    let shop = Shop::new();
    let sql = "select service_name, count(*) as n from spans group by 1 order by 1";
    let wanted = shop.says(&format!("\\format csv\n{sql};\n"));
    let wanted = wanted.split_once("csv.\n").expect("the setting is said").1;
    let rows = wanted.lines().count() - 1;
    for ending in ["csv", "json", "ndjson", "md", "html", "parquet", "txt"] {
        let file = shop.path(&format!("result.{ending}"));
        let out = shop.says(&format!("\\o {file}\n{sql};\n\\o\nselect 1 as shown;\n"));
        assert!(out.contains(&format!("{rows} rows written to {file}")) && out.contains("shown"), "{out}");
        let bytes = fs::read(&file).expect("written");
        match ending {
            "parquet" => assert_eq!(&bytes[..4], b"PAR1"),
            "csv" => assert_eq!(String::from_utf8(bytes).expect("text"), wanted),
            "json" => {
                let value: Vec<serde_json::Value> = serde_json::from_slice(&bytes).expect("JSON");
                assert_eq!(value.len(), rows);
            }
            _ => assert!(String::from_utf8(bytes).expect("text").lines().count() >= rows),
        }
    }
}

#[test]
fn scripts_of_windows_run_from_pipes_and_files() {
    let shop = Shop::new();
    let script =
        "\u{feff}-- a comment\r\nselect 'a\r\nb' as x,\r\n  40 + 2 as y;\r\n\\format csv\r\nselect 1 as z;\r\n";
    let expected = "  x   | y\n------+----\n a\\nb | 42\n(1 row)\nOutput format is csv.\nz\n1\n";
    assert_eq!(shop.says(script), expected);
    fs::write(shop.path("windows.sql"), script).expect("written");
    assert_eq!(shop.says(&format!("\\i {}\r\n", shop.path("windows.sql"))), expected);
    // A file that runs itself ends.
    fs::write(shop.path("itself.sql"), format!("\\i {}\n", shop.path("itself.sql"))).expect("written");
    let done = shop.shell(&format!("\\i {}\n", shop.path("itself.sql")));
    assert!(done.code == Some(1) && done.err.contains("is run by a file that it runs"), "{}", done.err);
}

#[test]
fn a_statement_is_watched_so_many_times() {
    let shop = Shop::new();
    let out = shop.says("\\format csv\nselect 40 + 2 as x \\watch 0.01 c=3\nselect 'end' as e;\n\\watch 0 c=2\n");
    assert_eq!(out.matches("x\n42\n").count(), 3, "{out}");
    assert_eq!(out.matches("e\nend\n").count(), 3, "{out}");
}

#[test]
fn a_plan_that_was_run_is_a_tree_and_the_last_error_is_explained() {
    let shop = Shop::new();
    let out = shop.says("explain analyze select sum(duration_ns) from spans where duration_ms > 1;\n");
    assert!(out.contains("DataSource") && out.contains("of work in") && out.contains(" read,"), "{out}");
    assert!(!out.contains("metrics=[") && out.lines().all(|line| line.chars().count() <= 80), "{out}");
    let raw = shop.says("explain analyze verbose select 1;\n");
    assert!(raw.contains("Plan with Full Metrics"), "{raw}");
    let done = shop.shell("\\errverbose\nselect servce_name from spans;\n\\errverbose\n");
    assert!(
        done.out.starts_with("There was no error.\nERROR:  42703: column \"servce_name\" does not exist\n"),
        "{}",
        done.out
    );
    assert!(
        done.out.contains("HINT:  did you mean \"service_name\"?\n") && done.out.contains("MEANS:  "),
        "{}",
        done.out
    );
}

#[test]
fn a_server_is_asked_as_a_data_directory_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("made");
    let server = Server::start_in(&data, &[]);
    let data = data.to_str().expect("UTF-8");
    let file = folder.path().join("shop.otlp");
    let name = file.to_str().expect("UTF-8");
    assert_eq!(run(&["generate", "--traces", "50", "--out", name], b"").code, Some(0));
    server.import_grpc(&file);
    let url = format!("postgres://tester@127.0.0.1:{}/spanhouse?sslmode=disable", server.postgres_port());
    let asked = |input: &str| run(&["repl", &url], input.as_bytes());
    let script = "select count(*) as n, min(timestamp) as t, true as b, null as x, 1.5::double as d from spans;\n\
                  \\d traces.spans\n\\dt\n\\map\n\\flame\n\\heatmap\n\\hist duration_ms\n\\hist span_kind\n\\run slowest_traces\n";
    let remote = asked(script);
    assert_eq!((remote.code, remote.err.as_str()), (Some(0), ""));
    let counted = run(&["sql", "--data-dir", data, "--format", "csv", "select count(*) from spans"], b"").out;
    assert!(remote.out.contains(counted.lines().nth(1).expect("a number")), "{}", remote.out);
    // The same from the directory that the server has, but for what it calls its types.
    let drawn = "\\map\n\\flame\n\\heatmap\n\\hist duration_ms\n\\hist span_kind\n";
    let local = run(&["repl", "--data-dir", data], drawn.as_bytes());
    assert_eq!((local.code, asked(drawn).out), (Some(0), local.out));
    let id = run(&["sql", "--data-dir", data, "--format", "csv", "select min(trace_id) from spans"], b"").out;
    let trace = format!("\\trace {}\n", id.lines().nth(1).expect("an id"));
    let local = run(&["repl", "--data-dir", data], trace.as_bytes());
    // A server's times have no nanoseconds, of which the column of starts is told.
    let bars = |out: &str| {
        out.lines().map(|line| line.rsplit_once('│').map_or(line, |(bar, _)| bar).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(bars(&asked(&trace).out), bars(&local.out));
    let wrong = asked("begin;\nselect servce_name from spans;\nselect 1;\nrollback;\nselect 41 + 1 as a;\n");
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong.err.contains("LINE 2: select servce_name from spans")
            && wrong.err.contains("did you mean \"service_name\"?"),
        "{}",
        wrong.err
    );
    assert!(
        wrong.err.contains("current transaction is aborted") && wrong.out.contains(" 42\n"),
        "{} {}",
        wrong.out,
        wrong.err
    );
    let nobody = run(&["repl", "postgres://tester@127.0.0.1:1/spanhouse?sslmode=disable"], b"select 1;\n");
    assert!(
        nobody.code == Some(1) && nobody.err.contains("cannot connect to postgres://tester@127.0.0.1:1/spanhouse"),
        "{}",
        nobody.err
    );
    server.stop();
}

#[test]
fn a_terminal_pages_edits_watches_tails_and_connects() {
    let Some(python) = python("a_terminal_pages_edits_watches_tails_and_connects") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("made");
    let server = Server::start_in(&data, &[]);
    let file = folder.path().join("shop.otlp");
    assert_eq!(run(&["generate", "--traces", "50", "--out", file.to_str().expect("UTF-8")], b"").code, Some(0));
    server.import_grpc(&file);
    let url = format!("postgres://tester@127.0.0.1:{}/spanhouse?sslmode=disable", server.postgres_port());
    let program = env!("CARGO_BIN_EXE_spanhouse");
    let out = python.run("shell_live.py", &[program, data.to_str().expect("UTF-8"), &server.otlp_grpc_url(), &url]);
    assert_eq!(out.trim(), "exit code 0");
    server.stop();
}

#[test]
fn terminals_of_any_size_and_colour_are_served() {
    let Some(python) = python("terminals_of_any_size_and_colour_are_served") else { return };
    let shop = Shop::new();
    let out = python.run("shell_sizes.py", &[env!("CARGO_BIN_EXE_spanhouse"), &shop.path("data")]);
    assert_eq!(out.trim(), "exit code 0");
}

#[test]
fn a_server_that_encrypts_shows_its_certificate_and_asks_for_a_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (Authority::new(folder.path(), "ours"), Authority::new(folder.path(), "theirs"));
    let data = folder.path().join("data");
    fs::create_dir(&data).expect("made");
    let data_dir = data.to_str().expect("UTF-8");
    let added =
        run(&["user", "add", "ada", "--role", "reader", "--password-file", "-", "--data-dir", data_dir], b"pencil");
    assert_eq!(added.code, Some(0), "{}", added.err);
    let (certificate, key) = ours.server();
    let tls = [("SPANHOUSE_TLS_CERT", certificate.as_str()), ("SPANHOUSE_TLS_KEY", key.as_str())];
    let server = Server::start_in(&data, &tls);
    let port = server.postgres_port();
    let asked = |login: &str, parameters: &str| {
        run(&["repl", &format!("postgres://{login}@localhost:{port}/spanhouse?{parameters}")], b"select 40 + 2 as a;\n")
    };
    let trusting = format!("sslmode=verify-full&sslrootcert={}", ours.certificate());
    let done = asked("ada:pencil", &trusting);
    assert!(done.code == Some(0) && done.out.contains(" 42\n"), "{}", done.err);
    for (login, parameters, said) in [
        ("ada:chalk", trusting.clone(), "password authentication failed"),
        ("ada", trusting.clone(), "password missing"),
        (
            "ada:pencil",
            format!("sslmode=require&sslrootcert={}", theirs.certificate()),
            "sslrootcert=FILE names the authority",
        ),
        ("ada:pencil", "sslmode=prefer&sslrootcert=/no/such/file".to_owned(), "cannot be used"),
    ] {
        let done = asked(login, &parameters);
        assert!(done.code == Some(1) && done.err.contains(said), "{parameters}: {} {}", done.out, done.err);
        assert!(!done.err.contains("pencil") && !done.err.contains("chalk"), "{}", done.err);
    }
    if let Some(python) = python("a_server_that_encrypts_shows_its_certificate_and_asks_for_a_password") {
        let url = format!("postgres://ada@localhost:{port}/spanhouse?{trusting}");
        let out = python.run("shell_password.py", &[env!("CARGO_BIN_EXE_spanhouse"), &url, "pencil"]);
        assert_eq!(out.trim(), "exit code 0");
    }
    server.stop();
}
