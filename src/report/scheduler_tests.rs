//! The scheduler over a turned clock: months, deaths, and what it does at once.

mod runs;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::clock::{Clock, TurnedClock};
use super::definition::Report;
use super::folder::Defined;
use super::header::{Source, parse};
use super::history::{Cause, DeliveryStatus, Entry, Run, Status};
use super::home::ReportsHome;
use super::runner::{RunOrder, Runner};
use super::schedule::tests::ms;
use super::scheduler::Scheduler;
use super::teller;
use super::turn::Turn;
use crate::engine::{Engine, EngineSettings};
use crate::store::{Store, StoreSettings};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// A report by its header, without the comment marks, and its statement.
pub(super) fn report(name: &str, header: &str, sql: &str) -> Report {
    let header: String = header.lines().map(|line| format!("-- {line}\n")).collect();
    let path = PathBuf::from(format!("{name}.sql"));
    let source = Source { name: name.to_owned(), sql_path: path, sql: format!("{header}{sql}"), toml: None };
    let parsed = parse(&source).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    Report { outputs: Vec::new(), ..parsed.report }
}

fn scheduled(name: &str, cron: &str, zone: &str) -> Report {
    let header = format!("schedule = {{ cron = \"{cron}\", time_zone = \"{zone}\" }}\nwindow = \"1 day\"");
    report(name, &header, "SELECT :from AS a, :to AS b")
}

/// A server with nothing but reports.
pub(super) struct Bench {
    pub(super) folder: TempDir,
    store: Arc<Store>,
    pub(super) engine: Arc<Engine>,
    pub(super) clock: Arc<TurnedClock>,
    pub(super) reports: Arc<Mutex<Arc<Defined>>>,
    pub(super) runner: Runner,
    pub(super) scheduler: Scheduler,
}

impl Bench {
    pub(super) async fn at(now: &str, reports: Vec<Report>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), StoreSettings::default()).await.expect("a store");
        let engine = Engine::new(store.clone(), EngineSettings::default()).expect("an engine");
        let clock = Arc::new(TurnedClock::at(ms(now)));
        let reports = Arc::new(Mutex::new(defined(reports)));
        let home = ReportsHome::new(folder.path());
        let runner = Runner::open(engine.clone(), home, clock.clone(), folder.path()).expect("a runner");
        let scheduler = scheduler(&runner, &reports);
        Self { folder, store, engine, clock, reports, runner, scheduler }
    }

    pub(super) fn home(&self) -> ReportsHome {
        ReportsHome::new(self.folder.path())
    }

    /// As if the process had died and another had started.
    pub(super) async fn restart(&mut self) {
        self.runner =
            Runner::open(self.engine.clone(), self.home(), self.clock.clone(), self.folder.path()).expect("a runner");
        self.scheduler = scheduler(&self.runner, &self.reports);
        self.scheduler.recover().await.expect("recovered");
        self.scheduler.settle().await;
    }

    pub(super) fn now_has(&self, reports: Vec<Report>) {
        *self.reports.lock().expect("reports") = defined(reports);
    }

    /// Looks once, now, and waits for what that begins.
    pub(super) async fn look(&mut self) {
        self.scheduler.look().await;
        self.scheduler.settle().await;
    }

    /// Turns the clock to a time in steps, and looks at each.
    async fn watch(&mut self, until: &str, step_ms: i64) {
        while self.clock.now_ms() < ms(until) {
            self.clock.turn_to((self.clock.now_ms() + step_ms).min(ms(until)));
            self.look().await;
        }
    }

    pub(super) fn runs(&self, name: &str) -> Vec<Run> {
        teller::history(&self.home()).expect("a whole journal").of(name).cloned().collect()
    }

    fn statuses(&self, name: &str) -> Vec<(Cause, Status)> {
        self.runs(name).iter().map(|run| (run.cause, run.status)).collect()
    }

    pub(super) async fn close(self) {
        drop((self.scheduler, self.runner));
        self.store.close().await.expect("closed");
    }
}

/// A folder with these reports.
fn defined(reports: Vec<Report>) -> Arc<Defined> {
    let reports: Vec<Arc<Report>> = reports.into_iter().map(Arc::new).collect();
    Arc::new(Defined::from(reports))
}

fn scheduler(runner: &Runner, reports: &Arc<Mutex<Arc<Defined>>>) -> Scheduler {
    let reports = reports.clone();
    Scheduler::new(runner.clone(), Arc::new(move || reports.lock().expect("reports").clone()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_with_changes_of_clocks_has_each_run_once_and_its_windows_meet() {
    // March 2026 has New York's change on the 8th and Berlin's on the 29th.
    let reports = vec![
        scheduled("berlin", "30 2 * * *", "Europe/Berlin"),
        scheduled("new-york", "30 2 * * *", "America/New_York"),
        scheduled("six-hours", "0 */6 * * *", "Europe/Berlin"),
    ];
    let mut bench = Bench::at("2026-03-01T00:00:00Z", reports).await;
    bench.look().await;
    bench.watch("2026-03-20T00:00:00Z", 30 * MINUTE_MS).await;
    bench.restart().await;
    bench.watch("2026-03-29T00:30:00Z", 30 * MINUTE_MS).await;
    // Nothing runs for some hours about Berlin's change: what was due in them is caught up with, once.
    bench.clock.turn_to(ms("2026-03-29T05:30:00Z"));
    bench.restart().await;
    bench.look().await;
    bench.watch("2026-04-01T00:00:00Z", 30 * MINUTE_MS).await;
    for (name, count) in [("berlin", 31), ("new-york", 31), ("six-hours", 31 * 4)] {
        let runs = bench.runs(name);
        assert!(runs.iter().all(|run| run.status == Status::Succeeded && run.rows == Some(1)), "{name}: {runs:?}");
        assert!(runs.is_sorted_by(|a, b| a.due_ms < b.due_ms), "{name}");
        assert!(
            runs.iter().all(|run| run.window_to_ms == Some(run.due_ms)),
            "{name}: a late run answers for its own window"
        );
        assert_eq!(runs.len(), count, "{name}");
        let missed: Vec<i64> = runs.iter().filter(|run| run.cause == Cause::Missed).map(|run| run.due_ms).collect();
        let expected = match name {
            "berlin" => vec![ms("2026-03-29T01:00:00Z")],
            "six-hours" => vec![ms("2026-03-29T04:00:00Z")],
            _ => Vec::new(),
        };
        assert_eq!(missed, expected, "{name}");
    }
    for name in ["berlin", "new-york"] {
        let runs = bench.runs(name);
        assert!(runs.windows(2).all(|pair| pair[0].window_to_ms == pair[1].window_from_ms), "{name}: {runs:?}");
        let hours =
            |run: &Run| (run.window_to_ms.expect("an end") - run.window_from_ms.expect("a beginning")) / (HOUR_MS / 2);
        let odd: Vec<i64> = runs.iter().map(hours).filter(|half_hours| *half_hours != 48).collect();
        // The skipped half past two is at three, half an hour late; the next day makes up for it.
        assert_eq!(odd, [47, 47], "{name}: 47 half hours to three o'clock, and 47 from there");
    }
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_changes_of_one_zone_in_a_month() {
    // In 2010 Cairo went forward on the 10th of September and back on the 30th.
    let reports =
        vec![scheduled("daily", "30 23 * * *", "Africa/Cairo"), scheduled("early", "15 0 * * *", "Africa/Cairo")];
    let mut bench = Bench::at("2010-08-31T22:00:00Z", reports).await;
    bench.look().await;
    bench.watch("2010-09-30T22:00:00Z", 15 * MINUTE_MS).await;
    for name in ["daily", "early"] {
        let runs = bench.runs(name);
        assert_eq!(runs.len(), 30, "{name}");
        assert!(runs.windows(2).all(|pair| pair[0].window_to_ms == pair[1].window_from_ms), "{name}");
        assert!(runs.iter().all(|run| run.cause == Cause::Schedule), "{name}");
    }
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_process_died_is_marked_told_and_not_run_again() {
    let out = tempfile::tempdir().expect("a folder");
    let header = format!(
        "schedule = {{ cron = \"0 7 * * *\" }}\n[[deliveries]]\nto = \"directory\"\nname = \"failures\"\npath = \"{0}/failures\"\nwhen = \"failed\"\n[[deliveries]]\nto = \"directory\"\nname = \"rows\"\npath = \"{0}/rows\"\nwhen = \"rows\"\n[[deliveries]]\nto = \"directory\"\nname = \"alerts\"\npath = \"{0}/alerts\"\nwhen = \"firing\"",
        out.path().display()
    );
    let daily = report("daily", &header, "SELECT 1 AS x");
    let mut bench = Bench::at("2026-03-01T06:59:00Z", vec![daily.clone()]).await;
    bench.look().await;
    // It began at seven, and its process went.
    let due_ms = ms("2026-03-01T07:00:00Z");
    let begun = Run { deliveries: Vec::new(), ..super::history::tests::run("daily", due_ms) };
    bench.runner.note(vec![Entry::Run(Box::new(begun.clone()))]).await.expect("noted");
    // It had judged its alerts, and nobody was told yet.
    let alert = format!(
        "{{\"report\":\"daily\",\"rule\":\"r\",\"severity\":\"page\",\"labels\":[],\"state\":\"firing\",\"was\":\"ok\",\
         \"since_ms\":{due_ms},\"at_ms\":{due_ms},\"run\":\"{}\",\"is_news\":true}}\n",
        begun.id
    );
    std::fs::write(bench.home().alerts_journal(), alert).expect("written");
    bench.clock.turn_to(due_ms + 30_000);
    bench.restart().await;
    bench.look().await;
    bench.watch("2026-03-02T06:00:00Z", HOUR_MS).await;
    assert_eq!(bench.statuses("daily"), [(Cause::Schedule, Status::Died)], "once, and not again");
    let died = &bench.runs("daily")[0];
    assert_eq!(died.ended_ms, Some(due_ms + 30_000));
    let told: Vec<_> = died.deliveries.iter().map(|delivered| (delivered.name.as_str(), delivered.status)).collect();
    assert_eq!(told, [("failures", DeliveryStatus::Delivered), ("alerts", DeliveryStatus::Delivered)]);
    assert!(out.path().join("failures/daily/2026-03-01T070000Z").is_dir() && !out.path().join("rows").exists());
    bench.watch("2026-03-02T07:00:00Z", HOUR_MS).await;
    assert_eq!(bench.statuses("daily")[1..], [(Cause::Schedule, Status::Succeeded)]);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_that_were_left_are_made_after_the_next_start_with_their_key() {
    let out = tempfile::tempdir().expect("a folder");
    let header = format!("[[deliveries]]\nto = \"directory\"\npath = \"{}\"", out.path().display());
    let daily = Report {
        outputs: vec![crate::report::Output { format: crate::report::OutputFormat::Csv }],
        ..report("daily", &header, "SELECT 1 AS x")
    };
    let mut bench = Bench::at("2026-03-01T07:00:00Z", vec![daily.clone()]).await;
    let order = RunOrder::due(ms("2026-03-01T07:00:00Z"), Cause::Schedule);
    let (run, _) = bench.runner.make(&daily, &order, &CancellationToken::new()).await.expect("made");
    assert_eq!((run.status, run.deliveries[0].status), (Status::Succeeded, DeliveryStatus::Pending));
    assert_eq!(run.deliveries[0].key, "daily@2026-03-01T07:00:00Z/directory");
    assert!(!out.path().join("daily").exists(), "its process went before it was delivered");
    bench.restart().await;
    let delivered = &bench.runs("daily")[0].deliveries;
    assert_eq!((delivered[0].status, &delivered[0].key), (DeliveryStatus::Delivered, &run.deliveries[0].key));
    let file = out.path().join("daily/2026-03-01T070000Z/daily.csv");
    assert_eq!(std::fs::read_to_string(file).expect("the file"), "x\n1\n");
    // Of a run whose report is not there any more nobody knows where it goes.
    let order = RunOrder::due(ms("2026-03-02T07:00:00Z"), Cause::Schedule);
    bench.runner.make(&daily, &order, &CancellationToken::new()).await.expect("made");
    bench.now_has(Vec::new());
    bench.restart().await;
    let given_up = &bench.runs("daily")[1].deliveries[0];
    assert_eq!(given_up.status, DeliveryStatus::Failed);
    assert_eq!(given_up.error.as_deref(), Some("the report is not there any more"));
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_reports_run_at_once_and_no_report_twice() {
    let names = ["a", "b", "c"];
    let mut bench =
        Bench::at("2026-03-01T06:59:00Z", names.map(|name| scheduled(name, "0 7 * * *", "UTC")).to_vec()).await;
    bench.look().await;
    let others = bench.scheduler.take_slots().await;
    bench.clock.turn_to(ms("2026-03-01T07:00:00Z"));
    bench.scheduler.look().await;
    bench.scheduler.look().await;
    assert!(names.iter().all(|name| bench.runs(name).is_empty()), "two others run");
    drop(others);
    bench.scheduler.settle().await;
    assert!(names.iter().all(|name| bench.statuses(name) == [(Cause::Schedule, Status::Succeeded)]));
    // A person runs one of them in another process.
    let turn = Turn::take(&bench.home(), "b").expect("free");
    let order = RunOrder::by_hand(bench.clock.now_ms());
    assert!(bench.runner.run(&scheduled("b", "0 7 * * *", "UTC"), order).await.is_err());
    bench.watch("2026-03-02T07:00:10Z", HOUR_MS).await;
    assert_eq!((bench.runs("a").len(), bench.runs("b").len()), (2, 1));
    drop(turn);
    bench.watch("2026-03-02T07:00:20Z", 10_000).await;
    assert_eq!(bench.statuses("b")[1..], [(Cause::Schedule, Status::Succeeded)]);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missed_is_skipped_where_the_report_says_so_and_off_is_not_missed() {
    let header = "schedule = { cron = \"0 7 * * *\", missed = \"skip\" }";
    let skips = report("skips", header, "SELECT 1 AS x");
    let off = Report { enabled: false, ..scheduled("off", "0 7 * * *", "UTC") };
    let on = Report { enabled: true, ..off.clone() };
    let mut bench = Bench::at("2026-03-01T06:59:00Z", vec![skips.clone(), on.clone()]).await;
    bench.look().await;
    bench.now_has(vec![skips.clone(), off]);
    bench.watch("2026-03-01T07:00:00Z", MINUTE_MS).await;
    bench.clock.turn_to(ms("2026-03-04T08:00:00Z"));
    bench.restart().await;
    bench.look().await;
    bench.now_has(vec![skips, on]);
    bench.watch("2026-03-05T07:00:00Z", HOUR_MS).await;
    let (ran, skipped) = ((Cause::Schedule, Status::Succeeded), (Cause::Missed, Status::Skipped));
    assert_eq!(bench.statuses("skips"), [ran, skipped, ran]);
    let due: Vec<i64> = bench.runs("off").iter().map(|run| run.due_ms).collect();
    assert_eq!(due, [ms("2026-03-05T07:00:00Z")], "what was due while it was off is nobody's miss");
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn results_go_with_their_runs_when_they_are_kept_no_longer() {
    let header = "schedule = { cron = \"0 7 * * *\" }\nkeep = \"3 days\"\noutputs = [\"csv\"]";
    let daily = Report {
        outputs: vec![crate::report::Output { format: crate::report::OutputFormat::Csv }],
        ..report("daily", header, "SELECT 1 AS x")
    };
    let mut bench = Bench::at("2026-03-01T06:30:00Z", vec![daily]).await;
    bench.look().await;
    bench.watch("2026-03-08T12:00:00Z", 30 * MINUTE_MS).await;
    let due: Vec<i64> = bench.runs("daily").iter().map(|run| run.due_ms).collect();
    assert_eq!(due, [6, 7, 8].map(|day| ms(&format!("2026-03-0{day}T07:00:00Z"))));
    let folders = std::fs::read_dir(bench.home().results().join("daily")).expect("results").count();
    assert_eq!(folders, 3);
    assert_eq!(bench.runner.history().of("daily").count(), 3, "also in memory");
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduler_goes_on_when_its_clock_is_set_back() {
    let bench = Bench::at("2030-03-01T06:59:00Z", vec![scheduled("a", "0 7 * * *", "UTC")]).await;
    let shutdown = CancellationToken::new();
    let Bench { scheduler, clock, store, folder, .. } = bench;
    let working = tokio::spawn(scheduler.run(shutdown.clone()));
    let home = ReportsHome::new(folder.path());
    let due =
        || -> Vec<i64> { teller::history(&home).expect("a journal").runs().iter().map(|run| run.due_ms).collect() };
    while due().is_empty() {
        clock.turn_by(Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The machine had begun with a clock that was years ahead, and was told the time.
    clock.turn_to(ms("2026-03-01T06:59:00Z"));
    while !due().iter().any(|due_ms| *due_ms < ms("2027-01-01T00:00:00Z")) {
        assert!(clock.now_ms() < ms("2026-03-08T00:00:00Z"), "nothing runs for a week: {:?}", due());
        clock.turn_by(Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shutdown.cancel();
    working.await.expect("it ends");
    store.close().await.expect("closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scheduler_ends_when_it_is_told() {
    let bench = Bench::at("2026-03-01T06:59:00Z", vec![scheduled("a", "0 7 * * *", "UTC")]).await;
    let shutdown = CancellationToken::new();
    let Bench { scheduler, clock, store, folder, .. } = bench;
    let working = tokio::spawn(scheduler.run(shutdown.clone()));
    let home = ReportsHome::new(folder.path());
    clock.turn_to(ms("2026-03-01T06:59:30Z"));
    let has_run =
        || teller::history(&home).expect("a journal").runs().iter().any(|run| run.status == Status::Succeeded);
    while !has_run() {
        clock.turn_by(Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shutdown.cancel();
    working.await.expect("it ends");
    assert_eq!(teller::history(&home).expect("a journal").runs().len(), 1);
    store.close().await.expect("closed");
}
