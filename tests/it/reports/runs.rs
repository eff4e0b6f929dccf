//! A server that runs reports and is killed: what was due runs once, what died is marked, and all can be read whether or not a server runs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::Server;

/// A debug build on a busy machine takes some seconds for a run.
const GIVE_UP: Duration = Duration::from_secs(120);

/// Counts until the end of the day.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000000000) AS t(g) WHERE g % 7 = 8";

/// A data directory and a reports folder beside it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a folder") };
        std::fs::create_dir_all(place.reports_dir()).expect("a folder of reports");
        std::fs::create_dir_all(place.data_dir().join("reports")).expect("a folder of journals");
        place
    }

    fn data_dir(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    fn reports_dir(&self) -> std::path::PathBuf {
        self.folder.path().join("reports")
    }

    fn delivered_dir(&self) -> std::path::PathBuf {
        self.folder.path().join("delivered")
    }

    fn report(&self, name: &str, header: &str, sql: &str) {
        let header: String = header.lines().map(|line| format!("-- {line}\n")).collect();
        std::fs::write(self.reports_dir().join(format!("{name}.sql")), format!("{header}{sql}\n")).expect("written");
    }

    /// Notes that reports have had the schedule of New Year's Day for long, so that the last one was missed whatever day it is.
    fn new_years_day_was_missed(&self, names: &[&str]) {
        let line = |name: &&str| {
            format!(
                "{{\"event\":\"scheduled\",\"report\":\"{name}\",\"schedule\":\"0 0 1 1 * UTC\",\"at_ms\":1577880000000}}\n"
            )
        };
        let lines: String = names.iter().map(line).collect();
        std::fs::write(self.data_dir().join("reports/runs.ndjson"), lines).expect("written");
    }

    fn start(&self) -> Server {
        let reports = self.reports_dir();
        Server::start_in(&self.data_dir(), &[("SPANHOUSE_REPORTS_DIR", reports.to_str().expect("a path"))])
    }

    /// Asks without a server.
    fn sql(&self, statement: &str) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_spanhouse"))
            .args(["sql", "--format", "csv", "--data-dir"])
            .arg(self.data_dir())
            .arg(statement)
            .output()
            .expect("spanhouse starts");
        assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        text.lines().skip(1).collect::<Vec<_>>().join("\n")
    }
}

const NEW_YEARS_DAY: &str = "schedule = { cron = \"0 0 1 1 *\" }";

/// Asks the server until the answer is `expected`.
async fn wait_for(server: &Server, statement: &str, expected: &str) {
    let client = server.postgres().await;
    let give_up = Instant::now() + GIVE_UP;
    loop {
        let row = client.query_one(statement, &[]).await.expect("an answer");
        let answer: Option<String> = row.get(0);
        if answer.as_deref() == Some(expected) {
            return;
        }
        assert!(Instant::now() < give_up, "{statement} is {answer:?} and not {expected:?} after {GIVE_UP:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

const STATUSES: &str = "SELECT string_agg(report || ' ' || cause || ' ' || status, ', ' ORDER BY report, started_at) FROM system.report_runs";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_mid_run_marks_it_and_runs_nothing_twice() {
    let place = Place::new();
    let delivery = format!("[[deliveries]]\nto = \"directory\"\npath = \"{}\"", place.delivered_dir().display());
    place.report("endless", &format!("{NEW_YEARS_DAY}\n{delivery}"), ENDLESS);
    place.report("quick", &format!("{NEW_YEARS_DAY}\noutputs = [\"csv\"]\n{delivery}"), "SELECT 42 AS answer");
    place.new_years_day_was_missed(&["endless", "quick"]);
    let server = place.start();
    wait_for(&server, STATUSES, "endless missed running, quick missed succeeded").await;
    let delivered = "SELECT deliveries -> 0 ->> 'status' FROM system.report_runs WHERE report = 'quick'";
    wait_for(&server, delivered, "delivered").await;
    server.kill_9();
    // Without a server everybody can tell.
    assert_eq!(place.sql(STATUSES), "\"endless missed died, quick missed succeeded\"");
    let files = files_below(&place.delivered_dir());
    let server = place.start();
    wait_for(&server, STATUSES, "endless missed died, quick missed succeeded").await;
    let told = "SELECT (deliveries -> 0 ->> 'status') || ' ' || CAST(ended_at IS NOT NULL AS TEXT) FROM system.report_runs WHERE report = 'endless'";
    wait_for(&server, told, "delivered true").await;
    let more = files_below(&place.delivered_dir());
    assert!(files.iter().any(|file| file.ends_with("quick.csv")) && files.iter().all(|file| more.contains(file)));
    assert!(more.iter().any(|file| file.starts_with("endless/")), "that it died was told: {more:?}");
    server.stop();
    // A third start finds nothing to do.
    let journal = std::fs::read_to_string(place.data_dir().join("reports/runs.ndjson")).expect("the journal");
    let server = place.start();
    wait_for(&server, STATUSES, "endless missed died, quick missed succeeded").await;
    server.stop();
    assert_eq!(std::fs::read_to_string(place.data_dir().join("reports/runs.ndjson")).expect("the journal"), journal);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_died_says_so_though_its_report_is_gone() {
    let place = Place::new();
    place.report("endless", NEW_YEARS_DAY, ENDLESS);
    place.new_years_day_was_missed(&["endless"]);
    let server = place.start();
    wait_for(&server, STATUSES, "endless missed running").await;
    server.kill_9();
    std::fs::remove_file(place.reports_dir().join("endless.sql")).expect("removed");
    let server = place.start();
    wait_for(&server, STATUSES, "endless missed died").await;
    let why = "SELECT error || ': ' || CAST(ended_at IS NOT NULL AS TEXT) FROM system.report_runs";
    let expected =
        "its process ended before it did; the report is not there any more, and nothing of the run is delivered: true";
    wait_for(&server, why, expected).await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_planned_does_not_run_when_a_server_starts() {
    let place = Place::new();
    place.report("a_wrong", NEW_YEARS_DAY, "SELECT nope FROM spans");
    place.report("right", NEW_YEARS_DAY, "SELECT 42 AS answer");
    place.new_years_day_was_missed(&["a_wrong", "right"]);
    let server = place.start();
    wait_for(&server, STATUSES, "right missed succeeded").await;
    // Once it is right it makes up for what it missed: its schedule was not noted as over.
    place.report("a_wrong", NEW_YEARS_DAY, "SELECT 43 AS answer");
    wait_for(&server, STATUSES, "a_wrong missed succeeded, right missed succeeded").await;
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_by_hand_beside_a_server_is_alone_and_is_marked_when_it_is_killed() {
    let place = Place::new();
    let delivery = format!(
        "[[deliveries]]\nto = \"directory\"\npath = \"{}\"\nwhen = \"failed\"",
        place.delivered_dir().display()
    );
    place.report("endless", &format!("timeout = \"1h\"\n{delivery}"), ENDLESS);
    let server = place.start();
    let by_hand = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_spanhouse"));
        command.args(["report", "run", "endless", "--data-dir"]).arg(place.data_dir());
        command.arg("--reports-dir").arg(place.reports_dir());
        command
    };
    let mut first = by_hand().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("spanhouse starts");
    wait_for(&server, STATUSES, "endless manual running").await;
    let second = by_hand().output().expect("spanhouse starts");
    assert!(!second.status.success());
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("report endless is running already"), "{said}");
    let journal = || std::fs::read_to_string(place.data_dir().join("reports/runs.ndjson")).expect("the journal");
    assert!(!journal().contains("\"ended\""));
    first.kill().expect("a running process");
    first.wait().expect("an ended process");
    wait_for(&server, STATUSES, "endless manual died").await;
    // The server notes it without being started again, and tells who wants to know.
    let told =
        "SELECT (deliveries -> 0 ->> 'status') || ' ' || CAST(ended_at IS NOT NULL AS TEXT) FROM system.report_runs";
    wait_for(&server, told, "delivered true").await;
    assert!(journal().contains("its process ended before it did"));
    assert_eq!(files_below(&place.delivered_dir()).iter().filter(|file| file.starts_with("endless/")).count(), 1);
    server.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_ends_its_runs_and_keeps_what_its_clients_send() {
    let place = Place::new();
    place.report("endless", NEW_YEARS_DAY, ENDLESS);
    place.new_years_day_was_missed(&["endless"]);
    let server = place.start();
    wait_for(&server, STATUSES, "endless missed running").await;
    server.stop();
    let ended = place.sql("SELECT status, error FROM system.report_runs");
    assert_eq!(ended, "died,the server was stopped while it ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_journal_is_named_and_the_server_serves() {
    let place = Place::new();
    place.report("quick", NEW_YEARS_DAY, "SELECT 42 AS answer");
    place.new_years_day_was_missed(&["quick"]);
    let journal = place.data_dir().join("reports/runs.ndjson");
    let whole = std::fs::read_to_string(&journal).expect("the journal");
    std::fs::write(&journal, format!("{whole}no json\n{whole}")).expect("written");
    let server = place.start();
    let client = server.postgres().await;
    let spans: i64 = client.query_one("SELECT count(*) FROM spans", &[]).await.expect("an answer").get(0);
    assert_eq!(spans, 0);
    let error = client.query("SELECT * FROM system.report_runs", &[]).await.expect_err("a damaged journal");
    let message = error.as_db_error().expect("told by the server").message().to_owned();
    assert!(message.starts_with("line 2 of ") && message.contains("runs.ndjson is damaged"), "{message}");
    server.stop();
}

/// The files below a folder, by their paths in it.
fn files_below(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push(path.strip_prefix(folder).expect("below it").display().to_string()),
            }
        }
    }
    found.sort();
    found
}
