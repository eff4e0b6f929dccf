//! Processes that run what is due over a clock that is turned, and are killed in the middle: each due time is there once, in history, in tables and
//! where it is delivered.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::Int64Type;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use spanhouse::engine::{Engine, EngineSettings, Outcome};
use spanhouse::report::{
    DeliveryStatus, Folder, Frame, History, ReportsHome, Run, RunKey, Runner, Scheduler, Status, TurnedClock, history,
    show_in,
};
use spanhouse::store::{Store, StoreSettings};
use tokio_util::sync::CancellationToken;

const CHILD_FOLDER: &str = "SPANHOUSE_TEST_REPORTS_FOLDER";
const CHILD_NOW: &str = "SPANHOUSE_TEST_REPORTS_NOW";
const CHILD_DUE: &str = "SPANHOUSE_TEST_REPORTS_DUE";
const FAILPOINT: &str = "SPANHOUSE_FAILPOINT";

/// Where a run can be killed, in the order in which it passes. Two reports run at once, so that each is passed twice.
const FAILPOINTS: [&str; 11] = [
    "report_noted",
    "report_asked",
    "report_judged",
    "record_file",
    "report_prepared",
    "report_put",
    "record_manifest",
    "record_swapped",
    "report_recorded",
    "report_ended",
    "report_delivered",
];

const REPORTS: [(&str, &str); 2] =
    [("appends", "mode = \"append\""), ("replaces", "mode = \"replace\", column = \"time\"")];

/// Rows of a run.
const ROWS: i64 = 100;

/// A quarter past midnight of each day in Cairo, from the 1st of September 2010 to the 1st of October. Its clock went forward on the 10th at
/// midnight, so that there was no such time, and back on the night to the 1st.
fn due_times() -> Vec<i64> {
    let ms = |text: &str| DateTime::parse_from_rfc3339(text).expect(text).timestamp_millis();
    let mut due: Vec<i64> = (1..=9).map(|day| ms(&format!("2010-09-{day:02}T00:15:00+02:00"))).collect();
    due.push(ms("2010-09-10T01:00:00+03:00"));
    due.extend((11..=30).map(|day| ms(&format!("2010-09-{day:02}T00:15:00+03:00"))));
    due.push(ms("2010-10-01T00:15:00+02:00"));
    due
}

fn write_reports(folder: &Path) {
    std::fs::create_dir_all(folder.join("reports")).expect("a folder");
    for (name, mode) in REPORTS {
        let header = [
            "schedule = { cron = \"15 0 * * *\", time_zone = \"Africa/Cairo\" }".to_owned(),
            "window = \"1 day\"".to_owned(),
            "outputs = [\"csv\"]".to_owned(),
            format!("record = {{ table = \"{name}\", {mode} }}"),
            "[[alerts]]".to_owned(),
            "name = \"always\"".to_owned(),
            "column = \"i\"".to_owned(),
            "above = -1".to_owned(),
            "[[deliveries]]".to_owned(),
            "to = \"directory\"".to_owned(),
            format!("path = \"{}\"", folder.join("delivered").display()),
        ];
        let header: String = header.iter().map(|line| format!("-- {line}\n")).collect();
        let sql = format!(
            "SELECT :from + i * INTERVAL '1 minute' AS time, i, CAST(extract(epoch FROM :from) AS BIGINT) AS from_s, CAST(extract(epoch FROM :to) AS BIGINT) AS to_s FROM generate_series(0, {}) AS t(i)",
            ROWS - 1
        );
        std::fs::write(folder.join("reports").join(format!("{name}.sql")), header + &sql).expect("written");
    }
}

#[test]
fn a_month_of_kills_has_each_due_window_once() {
    if cfg!(not(debug_assertions)) {
        return crate::support::skip("a_month_of_kills", "failpoints are compiled only with debug assertions");
    }
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let folder = tempfile::tempdir().expect("a folder");
    write_reports(folder.path());
    let due = due_times();
    // Once they have been seen, they are due.
    assert!(run_child(folder.path(), due[0] - 60_000, None, None, None));
    let points = FAILPOINTS.iter().flat_map(|name| [format!("{name}:1"), format!("{name}:2")]);
    let mut points = points.map(Some).chain(std::iter::repeat(None));
    for due_ms in &due {
        match points.next().flatten() {
            Some(point) => {
                let ended = run_child(folder.path(), due_ms + 5_000, Some(*due_ms), Some(&point), None);
                assert!(!ended, "{point} was not passed");
            }
            None => {
                let after = Duration::from_millis(random.random_range(0..1_500));
                run_child(folder.path(), due_ms + 5_000, Some(*due_ms), None, Some(after));
            }
        }
        assert!(run_child(folder.path(), due_ms + 30_000, Some(*due_ms), None, None), "what it left is seen to");
    }
    for (name, _) in REPORTS {
        check_history(folder.path(), name, &due);
    }
    runtime().block_on(check_tables(folder.path(), &due));
}

/// Each due time has one run that succeeded and was delivered, at most one that died before it, and no other.
fn check_history(folder: &Path, name: &str, due: &[i64]) {
    let history = history(&ReportsHome::new(&folder.join("data"))).expect("a whole journal");
    let mut by_due: BTreeMap<i64, Vec<&Run>> = BTreeMap::new();
    for run in history.of(name) {
        by_due.entry(run.due_ms).or_default().push(run);
    }
    assert_eq!(by_due.keys().copied().collect::<Vec<_>>(), due, "{name}");
    for runs in by_due.values() {
        let [died @ .., last] = runs.as_slice() else { panic!("no run") };
        assert!(died.len() <= 1 && died.iter().all(|run| run.status == Status::Died), "{runs:?}");
        assert_eq!((last.status, last.rows), (Status::Succeeded, Some(ROWS as u64)), "{runs:?}");
        for run in runs {
            assert!(run.deliveries.iter().all(|made| made.status == DeliveryStatus::Delivered), "{run:?}");
        }
        let time = last.id.split_once('@').expect("an id").1.replace(':', "");
        let file = folder.join("delivered").join(name).join(time).join(format!("{name}.csv"));
        let lines = std::fs::read_to_string(&file).expect("a delivered file").lines().count();
        assert_eq!(lines as i64, ROWS + 1, "{}", file.display());
    }
}

/// The rows of each window are there, all of them and once; the windows meet, and end when their runs were due.
async fn check_tables(folder: &Path, due: &[i64]) {
    let engine = engine(&folder.join("data")).await;
    for (name, _) in REPORTS {
        let sql = format!(
            "SELECT from_s, to_s, count(*) AS n, count(DISTINCT i) AS different, count(DISTINCT time) AS times FROM reports.{name} GROUP BY 1, 2 ORDER BY 1"
        );
        let session = engine.session();
        let statements = session.prepare(&sql).await.expect("planned");
        let Ok(Outcome::Rows(rows)) = session.execute(&statements[0], &[]).await else { panic!("no rows") };
        let frame = Frame::collect(rows, 1 << 20).await.expect("rows");
        let mut windows = Vec::new();
        for batch in &frame.batches {
            let column = |at: usize| batch.column(at).as_primitive::<Int64Type>().values().to_vec();
            let columns: Vec<Vec<i64>> = (0..5).map(column).collect();
            windows.extend((0..batch.num_rows()).map(|row| [0, 1, 2, 3, 4].map(|at| columns[at][row])));
        }
        let ends: Vec<i64> = windows.iter().map(|window| window[1] * 1000).collect();
        assert_eq!(ends, due, "{name}");
        assert!(windows.windows(2).all(|pair| pair[0][1] == pair[1][0]), "{name}: windows meet: {windows:?}");
        assert!(windows.iter().all(|window| window[2..] == [ROWS, ROWS, ROWS]), "{name}: {windows:?}");
        let quarters: Vec<i64> = windows.iter().map(|window| (window[1] - window[0]) / 900).collect();
        let odd: Vec<i64> = quarters.into_iter().filter(|quarters| *quarters != 96).collect();
        assert_eq!(
            odd,
            [95, 93, 100],
            "{name}: the day of the change to 01:00, the one from it, and the one of 25 hours"
        );
    }
}

/// Runs what is due at a time in another process; says whether it ended by itself.
fn run_child(
    folder: &Path,
    now_ms: i64,
    due_ms: Option<i64>,
    failpoint: Option<&str>,
    kill_after: Option<Duration>,
) -> bool {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args(["reports::kills::child", "--exact", "--nocapture"]).stdout(Stdio::null());
    command.env(CHILD_FOLDER, folder).env(CHILD_NOW, now_ms.to_string()).env_remove(FAILPOINT);
    command.envs(due_ms.map(|due_ms| (CHILD_DUE, due_ms.to_string())));
    command.envs(failpoint.map(|failpoint| (FAILPOINT, failpoint)));
    let mut child = command.spawn().expect("a child");
    if let Some(after) = kill_after {
        std::thread::sleep(after);
        // It may have ended.
        let _ = child.kill();
    }
    child.wait().expect("its end").success()
}

/// The other process: a scheduler at a time that is given, until all that is due then has ended and is delivered.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(CHILD_FOLDER) else { return };
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<i64>().expect("a number"));
    let (now_ms, due_ms) = (number(CHILD_NOW).expect("a time"), number(CHILD_DUE));
    runtime().block_on(work(Path::new(&folder), now_ms, due_ms));
}

async fn work(folder: &Path, now_ms: i64, due_ms: Option<i64>) {
    let (data, reports_dir) = (folder.join("data"), folder.join("reports"));
    let store = Store::open(&data, StoreSettings::default()).await.expect("a store");
    let engine = Engine::new(store.clone(), EngineSettings::default()).expect("an engine");
    let (home, clock) = (ReportsHome::new(&data), Arc::new(TurnedClock::at(now_ms)));
    let runner = Runner::open(engine, home.clone(), clock.clone(), &reports_dir).expect("a runner");
    let reports = Folder::open(&reports_dir).defined();
    assert_eq!(reports.reports.len(), REPORTS.len());
    let scheduler = Scheduler::new(runner, Arc::new(move || reports.clone()));
    let stop = CancellationToken::new();
    let working = tokio::spawn(scheduler.run(stop.clone()));
    while !is_done(&home, due_ms) {
        // A scheduler looks when its clock goes on. This one must not come to the next day.
        clock.turn_by(Duration::from_millis(100));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    working.await.expect("it ends");
    store.close().await.expect("closed");
}

fn is_done(home: &ReportsHome, due_ms: Option<i64>) -> bool {
    let Some(due_ms) = due_ms else {
        let journal = std::fs::read_to_string(home.runs_journal()).unwrap_or_default();
        return journal.lines().filter(|line| line.contains("\"scheduled\"")).count() == REPORTS.len();
    };
    let known = history(home).expect("a whole journal");
    REPORTS.iter().all(|(name, _)| is_report_done(&known, name, due_ms))
}

fn is_report_done(known: &History, name: &str, due_ms: i64) -> bool {
    let key = RunKey { report: name.to_owned(), due_ms };
    let is_whole = |id: String| {
        known.run(&id).is_some_and(|run| {
            run.status == Status::Succeeded
                && run.deliveries.iter().all(|made| made.status == DeliveryStatus::Delivered)
                && run.ended_ms.is_some()
        })
    };
    is_whole(key.id()) || is_whole(key.repeat_id())
}

async fn engine(data: &Path) -> Arc<Engine> {
    let store = Store::open(data, StoreSettings::default()).await.expect("a store");
    let engine = Engine::new(store, EngineSettings::default()).expect("an engine");
    show_in(&engine, data);
    engine
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}
