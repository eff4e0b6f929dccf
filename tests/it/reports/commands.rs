//! The commands of reports as people and scripts run them, from an empty folder on.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

pub(super) const SUCCESS: i32 = 0;
const FAILURE: i32 = 1;
const USAGE: i32 = 2;

/// What a command said and how it ended.
pub(super) struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A folder with a data directory of real-looking traces, and the folder of reports `reports`.
pub(super) struct Place {
    folder: TempDir,
}

impl Place {
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    pub fn with_traces() -> Self {
        let place = Self::empty();
        let made = place.spanhouse(&["generate", "--spans", "2000", "--seed", "5", "--out", "a.otlp"]);
        assert_eq!(made.code, SUCCESS, "{}", made.err);
        let imported = place.spanhouse(&["import", "a.otlp"]);
        assert_eq!(imported.code, SUCCESS, "{}", imported.err);
        place
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn report(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path().join("reports")).expect("made");
        fs::write(self.path().join("reports").join(name), text).expect("written");
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
        command.current_dir(self.path()).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SPANHOUSE_")) {
            command.env_remove(name);
        }
        command
    }

    pub fn spanhouse(&self, arguments: &[&str]) -> Ran {
        self.with_input(arguments, "")
    }

    fn with_input(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self.command(arguments).spawn().expect("spanhouse starts");
        child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("it ends");
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn rows(&self, arguments: &[&str]) -> Vec<Value> {
        let ran = self.spanhouse(&[arguments, &["--format", "ndjson"]].concat());
        assert_eq!(ran.code, SUCCESS, "{arguments:?}: {}", ran.err);
        ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// All the time that generated traces may lie in.
pub(super) const EVER: [&str; 4] = ["--from", "2000-01-01", "--to", "2100-01-01"];

const REQUESTS: &str = "\
-- title = \"Requests\"
-- window = \"1 day\"
-- outputs = [\"html\", \"csv\"]
-- [parameters.service]
-- type = \"text\"
-- default = \"%\"
-- description = \"services whose name is LIKE this\"
-- [parameters.least]
-- type = \"integer\"
-- default = 1
-- [[charts]]
-- kind = \"bar\"
-- x = \"service_name\"
-- y = [\"requests\"]
-- [[alerts]]
-- name = \"busy\"
-- column = \"requests\"
-- above = 0
-- group_by = [\"service_name\"]
-- [[deliveries]]
-- to = \"directory\"
-- path = \"delivered\"
SELECT service_name, count(*) AS requests
FROM spans
WHERE timestamp >= :from AND timestamp < :to AND service_name LIKE :service
GROUP BY 1 HAVING count(*) >= :least ORDER BY 1
";

#[test]
fn help_teaches_every_command_of_reports() {
    let place = Place::empty();
    for name in ["list", "check", "run", "history", "show", "init"] {
        let help = place.spanhouse(&["report", name, "--help"]);
        assert_eq!(help.code, SUCCESS, "{name}");
        assert!(help.out.contains("Examples:") && help.out.contains("--reports-dir"), "{name}: {}", help.out);
        let longest = help.out.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(100), "{name} is wrapped at 100 columns: {}", help.out);
    }
    let missing = place.spanhouse(&["report", "list"]);
    assert_eq!(missing.code, FAILURE);
    assert!(missing.err.contains("there is no folder of reports ./reports"), "{}", missing.err);
    assert!(missing.err.contains("spanhouse report init"), "{}", missing.err);
}

#[test]
fn a_new_user_gets_from_an_empty_folder_to_a_delivered_report() {
    let place = Place::with_traces();
    let listed = place.spanhouse(&["report", "init", "--list"]);
    assert!(listed.out.contains("daily_service_health  Daily service health"), "{}", listed.out);
    let written = place.spanhouse(&["report", "init", "daily_service_health"]);
    assert_eq!(written.code, SUCCESS, "{}", written.err);
    assert!(written.out.contains("reports/daily_service_health.sql"), "{}", written.out);
    let again = place.spanhouse(&["report", "init", "daily_service_health"]);
    assert_eq!(again.code, FAILURE);
    assert!(again.err.contains("is there already"), "{}", again.err);
    let all = place.spanhouse(&["report", "init"]);
    assert_eq!(all.code, SUCCESS, "{}", all.err);
    let checked = place.spanhouse(&["report", "check", "daily_service_health"]);
    assert_eq!((checked.code, checked.out.as_str()), (SUCCESS, "1 report checked: no mistakes.\n"), "{}", checked.err);

    let path = place.path().join("reports/daily_service_health.sql");
    let text = fs::read_to_string(&path).expect("readable");
    let delivery = "-- deliveries = [{ to = \"directory\", path = \"delivered\" }]";
    fs::write(&path, format!("{delivery}\n{text}")).expect("written");
    let ran = place.spanhouse(&[&["report", "run", "daily_service_health"], &EVER[..]].concat());
    assert_eq!(ran.code, SUCCESS, "{}", ran.err);
    assert!(ran.out.contains("service_name"), "{}", ran.out);
    assert!(ran.err.contains("directory delivered after 1 attempt"), "{}", ran.err);
    let delivered = files_below(&place.path().join("delivered"));
    assert!(delivered.iter().any(|file| file.ends_with(".html")), "{delivered:?}");
}

fn files_below(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path.display().to_string()] }).collect()
}

#[test]
fn a_run_by_hand_is_kept_told_and_shown() {
    let place = Place::with_traces();
    place.report("requests.sql", REQUESTS);
    let by_sql = place.rows(&["sql", "SELECT service_name, count(*) AS requests FROM spans GROUP BY 1 ORDER BY 1"]);
    let rows = place.rows(&[&["report", "run", "requests"], &EVER[..]].concat());
    assert_eq!(rows, by_sql);
    let one = place.rows(&[&["report", "run", "requests", "service=gateway", "-p", "least=1"], &EVER[..]].concat());
    assert_eq!(one, by_sql.iter().filter(|row| row["service_name"] == "gateway").cloned().collect::<Vec<_>>());

    let history = place.rows(&["report", "history", "requests"]);
    assert_eq!(history.len(), 2);
    assert!(history.iter().all(|run| run["status"] == "succeeded" && run["cause"] == "manual"), "{history:?}");
    let shown = place.spanhouse(&["report", "show", "requests"]);
    assert_eq!(shown.code, SUCCESS, "{}", shown.err);
    let run = history[0]["run"].as_str().expect("an id");
    for part in [
        run,
        "succeeded",
        "2000-01-01T00:00:00Z to 2100-01-01T00:00:00Z",
        "service=gateway",
        "requests.html",
        "directory: delivered",
    ] {
        assert!(shown.out.contains(part), "{part} is in {}", shown.out);
    }
    let shown = place.spanhouse(&["report", "show", history[1]["run"].as_str().expect("an id")]);
    assert!(shown.out.contains("service=%"), "{}", shown.out);
    let listed = place.rows(&["report", "list"]);
    assert_eq!((&listed[0]["report"], &listed[0]["last_status"]), (&"requests".into(), &"succeeded".into()));
    let unknown = place.spanhouse(&["report", "show", "nothing"]);
    assert_eq!(unknown.code, FAILURE);
    assert!(unknown.err.contains("report history"), "{}", unknown.err);
}

/// A receiver that fails, and says again what it was sent; gives its address.
fn echoing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).expect("a request");
            let said = String::from_utf8_lossy(&bytes[..read]).lines().next().unwrap_or_default().to_owned();
            let head =
                format!("HTTP/1.1 400 Bad Request\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", said.len());
            // Who has heard enough may have gone.
            let _ = stream.write_all((head + &said).as_bytes());
        }
    });
    address
}

#[test]
fn a_secret_is_in_nothing_that_a_run_leaves_or_says() {
    const PLANTED: &str = "pl4nted-t0ken";
    let place = Place::with_traces();
    let hook =
        "deliveries = [{ to = \"webhook\", url = { env = \"HOOK\" }, sign_with = { file = \"key\" }, attempts = 1 }]";
    place.report("hook.sql", &format!("-- {hook}\nSELECT 1 AS x"));
    fs::write(place.path().join("key"), PLANTED).expect("written");
    let url = format!("http://{}/services/{PLANTED}", echoing());
    let run = |arguments: &[&str]| {
        let output = place.command(arguments).env("HOOK", &url).env("RUST_LOG", "trace").output().expect("it starts");
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
        (output.status.code(), said.concat())
    };
    let (code, said) = run(&["report", "run", "hook"]);
    assert_eq!(code, Some(FAILURE), "{said}");
    assert!(said.contains("webhook failed after 1 attempt") && said.contains("400"), "{said}");
    let mut told = said;
    for arguments in [
        &["report", "show", "hook"][..],
        &["report", "history"],
        &["report", "list"],
        &["sql", "SELECT * FROM system.report_runs"],
        &["sql", "SELECT * FROM system.alerts"],
    ] {
        let (code, said) = run(arguments);
        assert_eq!(code, Some(SUCCESS), "{arguments:?}: {said}");
        told.push_str(&said);
    }
    for file in files_below(&place.path().join("spanhouse-data")) {
        told.push_str(&String::from_utf8_lossy(&fs::read(&file).expect("a file")));
    }
    assert!(told.contains("hook@"), "it was looked at");
    assert!(!told.contains(PLANTED), "{told}");
}

#[test]
fn a_dry_run_keeps_nothing() {
    let place = Place::with_traces();
    place.report("requests.sql", REQUESTS);
    let arguments = [&["report", "run", "requests", "--dry-run", "--format", "html", "-o", "page.html"], &EVER[..]];
    let ran = place.spanhouse(&arguments.concat());
    assert_eq!((ran.code, ran.out.as_str()), (SUCCESS, ""), "{}", ran.err);
    assert!(ran.err.contains("firing (warning) service_name=") && ran.err.contains("A dry run"), "{}", ran.err);
    let page = fs::read_to_string(place.path().join("page.html")).expect("a page");
    assert!(page.contains("<svg") && page.contains("gateway"), "a page with a chart");
    assert!(!place.path().join("delivered").exists());
    assert_eq!(place.rows(&["report", "history"]).len(), 0);
}

#[test]
fn what_cannot_be_run_says_why() {
    let place = Place::with_traces();
    place.report("requests.sql", REQUESTS);
    place.report("broken.sql", "-- titel = \"x\"\nSELECT 1");
    let endless = "SELECT count(*) AS n FROM generate_series(1, 1000000000000) AS t(g) WHERE g % 7 = 8";
    place.report("endless.sql", &format!("-- timeout = \"200ms\"\n{endless}"));
    for (arguments, code, expected) in [
        (&["run", "reqests"][..], FAILURE, "did you mean requests?"),
        (&["run", "broken"], FAILURE, "broken.sql:1: there is no key titel: did you mean title?"),
        (&["run", "requests", "servise=x"], FAILURE, "has no parameter \"servise\""),
        (&["run", "requests", "least=many"], FAILURE, "wants a whole number, not \"many\""),
        (&["run", "requests", "least"], USAGE, "write PARAMETER=VALUE"),
        (&["run", "requests", "--from", "soon"], USAGE, "\"soon\" is not a time"),
        (&["run", "requests", "--from", "2026-01-02", "--to", "2026-01-01"], FAILURE, "ends before it begins"),
        (&["run", "endless", "--from", "2026-01-01"], FAILURE, "report endless has no window"),
        (&["run", "endless"], FAILURE, "report endless timed out: "),
        (&["run", "requests", "--format", "pdf"], USAGE, "html, png"),
        (&["history", "nothing"], FAILURE, "there is no report \"nothing\""),
        (&["init", "nothing"], FAILURE, "there is no ready-made report \"nothing\""),
    ] {
        let ran = place.spanhouse(&[&["report"], arguments].concat());
        assert_eq!(ran.code, code, "{arguments:?}: {}", ran.err);
        assert!(ran.err.contains(expected), "{arguments:?}: {}", ran.err);
    }
    let history = place.rows(&["report", "history", "endless"]);
    assert_eq!(history.len(), 1, "a run that fails is a run");
    assert_eq!(history[0]["status"], "timed_out");
}

#[test]
fn check_tells_every_mistake_by_file_and_line() {
    let place = Place::empty();
    place.report("requests.sql", REQUESTS);
    let checked = place.spanhouse(&["report", "check"]);
    assert_eq!((checked.code, checked.out.as_str()), (SUCCESS, "1 report checked: no mistakes.\n"), "{}", checked.err);
    assert!(!place.path().join("spanhouse-data").exists(), "checking makes no data directory");

    place.report("columns.sql", &REQUESTS.replace("AS requests", "AS calls"));
    place.report("header.sql", "-- shedule = \"0 7 * * *\"\n-- timeout = \"soon\"\nSELECT 1");
    place.report("statement.sql", "-- title = \"x\"\nSELECT service_nam\nFROM spans");
    place.report("unused.sql", "-- window = \"1 day\"\nSELECT 1 AS x");
    place.report("keeps.sql", "-- record = { table = \"kept\" }\nSELECT 1 AS x");
    place.report("reads.sql", "SELECT x FROM reports.kept");
    place.report("Bad Name.sql", "SELECT 1");
    place.report("silences.toml", "[[silence]]\n");
    let checked = place.spanhouse(&["report", "check"]);
    assert_eq!(checked.code, FAILURE);
    for expected in [
        "reports/Bad Name.sql: a report is named by its file",
        "reports/columns.sql:14: y: the result has no column \"requests\": ",
        "reports/columns.sql:17: column: the result has no column \"requests\": ",
        "reports/header.sql:1: there is no key shedule: did you mean schedule?",
        "reports/header.sql:2: timeout: \"soon\" is not a duration",
        "reports/silences.toml:1: ",
        "reports/statement.sql:2: ",
        "warning: ./reports/unused.sql:1: the statement has neither :from nor :to",
        "warning: ./reports/reads.sql:1: relation \"reports.kept\" does not exist",
        "7 mistakes.",
    ] {
        assert!(checked.err.contains(expected), "{expected} is in {}", checked.err);
    }
    let one = place.spanhouse(&["report", "check", "requests", "unused"]);
    assert_eq!((one.code, one.out.as_str()), (SUCCESS, "2 reports checked: no mistakes.\n"), "{}", one.err);
    let one = place.spanhouse(&["report", "check", "header"]);
    assert_eq!(one.code, FAILURE);
    assert!(one.err.ends_with("2 mistakes.\n"), "{}", one.err);
}

#[test]
fn the_shell_lists_and_asks_reports() {
    let place = Place::with_traces();
    let without = place.with_input(&["repl"], "\\report x\n");
    assert!(without.err.contains("there is no folder of reports"), "{}", without.err);
    place.report("requests.sql", REQUESTS);
    let listed = place.with_input(&["repl"], "\\report\n\\?\n");
    assert_eq!(listed.code, SUCCESS, "{}", listed.err);
    for part in ["requests  Requests", "from=", "service=%", "services whose name is LIKE this", "\\report [NAME"] {
        assert!(listed.out.contains(part), "{part} is in {}", listed.out);
    }
    let script = "\\report requests from=2000-01-01 to='2100-01-01 00:00' service=gateway\n";
    let asked = place.with_input(&["repl", "--format", "csv"], script);
    assert_eq!(asked.code, SUCCESS, "{}", asked.err);
    assert!(asked.out.starts_with("service_name,requests\ngateway,"), "{}", asked.out);
    // Times without an offset are those of the report's zone, wherever they are given, and a day may have 23 hours.
    let header = "-- schedule = { cron = \"0 7 * * *\", time_zone = \"Europe/Berlin\" }\n-- window = \"1 day\"\n";
    let sql = "SELECT CAST(extract(epoch FROM :from) AS BIGINT) AS a, CAST(extract(epoch FROM :to) AS BIGINT) AS b";
    place.report("zone.sql", &format!("{header}{sql}"));
    let (given, expected) = (["from=2026-03-29", "to='2026-03-30 00:00'"], "a,b\n1774738800,1774821600\n");
    let shell = place.with_input(&["repl", "--format", "csv"], &format!("\\report zone {}\n", given.join(" ")));
    assert_eq!(shell.out, expected, "{}", shell.err);
    let shell = place.with_input(&["repl", "--format", "csv"], "\\report zone to=2026-03-30\n");
    assert_eq!(shell.out, expected, "the window ends where it is said: {}", shell.err);
    let run = place.spanhouse(&["report", "run", "zone", "--format", "csv", "--from", "2026-03-29", "to=2026-03-30"]);
    assert_eq!(run.out, expected, "{}", run.err);
    let wrong = place.with_input(&["repl"], "\\report requests nope=1\n\\report nothing\n");
    assert_eq!(wrong.code, FAILURE);
    assert!(
        wrong.err.contains("has no parameter \"nope\"") && wrong.err.contains("there is no report \"nothing\""),
        "{}",
        wrong.err
    );
}
