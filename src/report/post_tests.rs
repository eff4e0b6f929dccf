//! Deliveries of a scheduler: in order, each once, and nobody waits for a receiver that hangs.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::clock::Clock;
use super::definition::Report;
use super::folder::Defined;
use super::history::{Cause, DeliveryStatus, Entry, Run, Status};
use super::post::{Bounds, Post};
use super::retention::Keep;
use super::runner::{RunOrder, Runner};
use super::schedule::tests::ms;
use super::scheduler_tests::{Bench, report};

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A receiver that knows who asked, and answers the first with an error. One that hangs answers nobody.
struct Receiver {
    url: String,
    keys: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    async fn start(hangs: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let keys = Arc::new(Mutex::new(Vec::new()));
        let got = keys.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(answer(connection, got.clone(), hangs));
            }
        });
        Self { url, keys }
    }

    fn keys(&self) -> Vec<String> {
        self.keys.lock().expect("keys").clone()
    }
}

async fn answer(connection: TcpStream, got: Arc<Mutex<Vec<String>>>, hangs: bool) {
    let mut connection = BufReader::new(connection);
    let (mut key, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        connection.read_line(&mut line).await.expect("a line");
        match line.trim_end().split_once(": ") {
            None if line.trim_end().is_empty() => break,
            Some((name, value)) if name.eq_ignore_ascii_case("idempotency-key") => key = value.to_owned(),
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().expect("a number")
            }
            _ => {}
        }
    }
    connection.read_exact(&mut vec![0; length]).await.expect("a body");
    let is_first = {
        let mut got = got.lock().expect("keys");
        got.push(key);
        got.len() == 1
    };
    if hangs {
        return std::future::pending().await;
    }
    let status = if is_first { "500 Internal Server Error" } else { "200 OK" };
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    connection.get_mut().write_all(answer.as_bytes()).await.expect("answered");
}

fn to_webhook(name: &str, url: &str) -> Report {
    report(name, &format!("[[deliveries]]\nto = \"webhook\"\nname = \"hook\"\nurl = \"{url}\""), "SELECT 1 AS x")
}

fn to_directory(name: &str, out: &std::path::Path) -> Report {
    report(
        name,
        &format!("[[deliveries]]\nto = \"directory\"\nname = \"out\"\npath = \"{}\"", out.display()),
        "SELECT 1 AS x",
    )
}

/// A run to the point from which its process makes its deliveries.
async fn made(bench: &Bench, report: &Report, due_ms: i64) -> Run {
    let order = RunOrder::due(due_ms, Cause::Schedule);
    let (run, _) = bench.runner.make(report, &order, &CancellationToken::new()).await.expect("made");
    assert_eq!((run.status, run.deliveries[0].status), (Status::Succeeded, DeliveryStatus::Pending));
    run
}

async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_delivers_comes_after_what_the_run_before_it_does() {
    let receiver = Receiver::start(false).await;
    let daily = to_webhook("daily", &receiver.url);
    let mut bench = Bench::at("2026-03-01T07:00:00Z", vec![daily.clone()]).await;
    let first = made(&bench, &daily, bench.clock.now_ms()).await;
    let second = made(&bench, &daily, bench.clock.now_ms() + 1_000).await;
    bench.scheduler.recover().await.expect("recovered");
    until(|| !receiver.keys().is_empty()).await;
    // The first was refused in passing, and waits for its next attempt.
    let delivered = |run: &Run| {
        bench
            .runs("daily")
            .iter()
            .any(|known| known.id == run.id && known.deliveries[0].status == DeliveryStatus::Delivered)
    };
    while !delivered(&second) {
        bench.clock.turn_by(Duration::from_millis(500));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(delivered(&first));
    let [first, second] = [&first, &second].map(|run| run.deliveries[0].key.clone());
    assert_eq!(receiver.keys(), [first.clone(), first, second]);
    bench.scheduler.settle().await;
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_holds_up_nobody_else() {
    let (receiver, out) = (Receiver::start(true).await, tempfile::tempdir().expect("a folder"));
    let mut reports: Vec<Report> = (0..20).map(|at| to_webhook(&format!("a{at:02}"), &receiver.url)).collect();
    reports.push(to_directory("b", out.path()));
    let mut bench = Bench::at("2026-03-01T07:00:00Z", reports.clone()).await;
    for report in &reports {
        made(&bench, report, bench.clock.now_ms()).await;
    }
    bench.scheduler.recover().await.expect("recovered");
    until(|| out.path().join("b/2026-03-01T070000Z").is_dir()).await;
    assert!(receiver.keys().len() <= 4, "the others wait for their place: {:?}", receiver.keys());
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_receivers_hang_others_get_theirs() {
    let out = tempfile::tempdir().expect("a folder");
    let mut receivers = Vec::new();
    for _ in 0..8 {
        receivers.push(Receiver::start(true).await);
    }
    let hanging = receivers.iter().enumerate().map(|(at, receiver)| to_webhook(&format!("a{at}"), &receiver.url));
    let mut reports: Vec<Report> = hanging.collect();
    reports.push(to_directory("b", out.path()));
    let bench = Bench::at("2026-03-01T07:00:00Z", reports.clone()).await;
    // Places for two that are quick and two that are slow, and eight that hang for a minute.
    let bounds = Bounds { quick: 2, slow: 2, at_one: 2, patience: Duration::from_secs(2) };
    let post = Post::new(bench.runner.clone(), bounds);
    let mut delivering = JoinSet::new();
    for report in reports {
        let run = made(&bench, &report, bench.clock.now_ms()).await;
        delivering.spawn(post.deliver(Arc::new(report), &run, None));
    }
    until(|| out.path().join("b/2026-03-01T070000Z").is_dir()).await;
    delivering.shutdown().await;
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_delivers_to_one_receiver_while_it_waits_for_another() {
    let (hanging, refusing) = (Receiver::start(true).await, Receiver::start(false).await);
    let out = tempfile::tempdir().expect("a folder");
    let delivery = |name: &str, to: &str| format!("[[deliveries]]\nname = \"{name}\"\n{to}\n");
    let webhook = |receiver: &Receiver| format!("to = \"webhook\"\nurl = \"{}\"", receiver.url);
    let directory = format!("to = \"directory\"\npath = \"{}\"", out.path().display());
    let header = |hook: &Receiver| {
        delivery("hook", &webhook(hook)) + &delivery("other", &webhook(&refusing)) + &delivery("out", &directory)
    };
    let daily = report("daily", &header(&hanging), "SELECT 1 AS x");
    // The same delivery goes to another receiver from the third run on.
    let mended = report("daily", &header(&refusing), "SELECT 1 AS x");
    let bench = Bench::at("2026-03-01T07:00:00Z", vec![daily.clone()]).await;
    let post = Post::new(bench.runner.clone(), Bounds::default());
    let (mut runs, mut delivering) = (Vec::new(), JoinSet::new());
    for (at, report) in [&daily, &daily, &mended].into_iter().enumerate() {
        let due_ms = bench.clock.now_ms() + i64::try_from(at).expect("small") * 1_000;
        runs.push(made(&bench, report, due_ms).await);
        delivering.spawn(post.deliver(Arc::new(report.clone()), &runs[at], None));
    }
    // The first thing that it hears it refuses in passing, and takes again when the clock says so.
    let delivered = |bench: &Bench| {
        let of = |run: &Run| run.deliveries.iter().map(|made| made.status == DeliveryStatus::Delivered).collect();
        bench.runs("daily").iter().map(of).collect::<Vec<Vec<bool>>>()
    };
    let expected = [[false, true, true], [false, true, true], [true, true, true]];
    while delivered(&bench) != expected {
        bench.clock.turn_by(Duration::from_millis(500));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until(|| !hanging.keys().is_empty()).await;
    assert_eq!(hanging.keys(), [runs[0].deliveries[0].key.clone()], "the second waits behind the first");
    delivering.shutdown().await;
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_still_to_be_delivered_is_kept_until_it_is() {
    let out = tempfile::tempdir().expect("a folder");
    let header = format!(
        "schedule = {{ cron = \"0 7 * * *\" }}\nkeep = \"2 days\"\n[[deliveries]]\nto = \"directory\"\nname = \"out\"\npath = \"{}\"",
        out.path().display()
    );
    let daily = report("daily", &header, "SELECT 1 AS x");
    let mut bench = Bench::at("2026-03-01T06:59:00Z", vec![daily.clone()]).await;
    let due_ms = ms("2026-03-01T07:00:00Z");
    let left = made(&bench, &daily, due_ms).await;
    let newer = made(&bench, &daily, due_ms + DAY_MS).await;
    // Its folder is away, and nobody knows where it goes, for longer than its results are kept.
    *bench.reports.lock().expect("reports") = Arc::new(Defined { is_listed: false, ..Defined::from(Vec::new()) });
    bench.clock.turn_to(due_ms + 400 * DAY_MS);
    bench.restart().await;
    bench.look().await;
    let result = |run: &Run| std::path::PathBuf::from(run.result.clone().expect("a result"));
    assert!(result(&left).is_dir() && result(&newer).is_dir());
    // It is known again: what is to be delivered stays until it is.
    bench.now_has(vec![Report { enabled: false, ..daily }]);
    let defined = bench.reports.lock().expect("reports").clone();
    bench.runner.forget(Keep::of(defined, bench.clock.now_ms())).await.expect("looked for");
    assert!(result(&left).is_dir() && result(&newer).is_dir());
    bench.restart().await;
    bench.look().await;
    for folder in ["2026-03-01T070000Z", "2026-03-02T070000Z"] {
        assert!(out.path().join("daily").join(folder).is_dir(), "{folder}");
    }
    bench.clock.turn_by(Duration::from_secs(2 * 3600));
    bench.look().await;
    let kept: Vec<String> = bench.runs("daily").into_iter().map(|run| run.id).collect();
    assert_eq!(kept, std::slice::from_ref(&newer.id), "the last due run stays");
    assert!(!result(&left).exists() && result(&newer).is_dir());
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_by_hand_that_delivers_to_a_receiver_that_hangs_holds_up_no_run() {
    let receiver = Receiver::start(true).await;
    let daily = to_webhook("daily", &receiver.url);
    let bench = Bench::at("2026-03-01T07:00:00Z", vec![daily.clone()]).await;
    let order = RunOrder::by_hand(bench.clock.now_ms());
    let by_hand = tokio::spawn({
        let (runner, daily) = (bench.runner.clone(), daily.clone());
        async move { runner.run(&daily, order).await.map(|run| run.id) }
    });
    until(|| !receiver.keys().is_empty()).await;
    // Another process finds nothing to do, as the first is at it, and runs what is due.
    let other =
        Runner::open(bench.engine.clone(), bench.home(), bench.clock.clone(), bench.folder.path()).expect("a runner");
    let there = |_: &str| super::folder::Standing::There(Arc::new(daily.clone()));
    assert_eq!(other.left_behind(there).await.expect("looked"), []);
    let order = RunOrder::by_hand(bench.clock.now_ms() + 1);
    let plain = Report { deliveries: Vec::new(), ..daily.clone() };
    assert_eq!(other.run(&plain, order).await.expect("a run").status, Status::Succeeded);
    assert!(!by_hand.is_finished());
    by_hand.abort();
    let _ = by_hand.await;
    // Its process went: now they are to be made by whoever looks.
    until(|| !super::turn::Delivering::is_taken(&bench.home(), "daily")).await;
    assert_eq!(other.left_behind(there).await.expect("looked").len(), 1);
    drop(other);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_process_has_delivered_is_not_delivered_again() {
    let out = tempfile::tempdir().expect("a folder");
    let daily = to_directory("daily", out.path());
    let bench = Bench::at("2026-03-01T07:00:00Z", vec![daily.clone()]).await;
    let run = made(&bench, &daily, bench.clock.now_ms()).await;
    // A person ran it, and the delivery was made between two looks of the scheduler.
    let other =
        Runner::open(bench.engine.clone(), bench.home(), bench.clock.clone(), bench.folder.path()).expect("a runner");
    let mut delivered = run.deliveries[0].clone();
    (delivered.status, delivered.attempts) = (DeliveryStatus::Delivered, 1);
    other.note_delivered(&run.id, delivered.clone()).await.expect("noted");
    Post::new(bench.runner.clone(), Bounds::default()).deliver(Arc::new(daily), &run, None).await.expect("seen to");
    assert!(!out.path().join("daily").exists());
    assert_eq!(bench.runs("daily")[0].deliveries, [delivered.clone()]);
    bench.runner.give_up(&run.id, "it is gone").await.expect("seen to");
    assert_eq!(bench.runs("daily")[0].deliveries, [delivered]);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_waits_for_a_report_that_cannot_be_read() {
    let out = tempfile::tempdir().expect("a folder");
    let header = format!(
        "schedule = {{ cron = \"0 7 * * *\" }}\n[[deliveries]]\nto = \"directory\"\nname = \"out\"\npath = \"{}\"",
        out.path().display()
    );
    let daily = report("daily", &header, "SELECT 1 AS x");
    for defined in [
        // The volume is not mounted yet.
        Defined { is_listed: false, ..Defined::from(Vec::new()) },
        // There is a mistake in its header.
        Defined { wrong: BTreeSet::from(["daily".to_owned()]), ..Defined::from(Vec::new()) },
    ] {
        let mut bench = Bench::at("2026-03-01T06:59:00Z", vec![daily.clone()]).await;
        bench.look().await;
        let due_ms = ms("2026-03-01T07:00:00Z");
        let left = made(&bench, &daily, due_ms).await;
        let dying = Run { deliveries: Vec::new(), ..super::history::tests::run("daily", due_ms + DAY_MS) };
        bench.runner.note(vec![Entry::Run(Box::new(dying.clone()))]).await.expect("noted");
        bench.clock.turn_to(due_ms + 3 * DAY_MS - 60_000);
        *bench.reports.lock().expect("reports") = Arc::new(defined.clone());
        bench.restart().await;
        bench.look().await;
        let journal = std::fs::read_to_string(bench.home().runs_journal()).expect("the journal");
        assert_eq!(bench.runs("daily")[0].deliveries, left.deliveries, "{defined:?}");
        assert!(!journal.contains("\"off\"") && !journal.contains("not there any more"), "{defined:?}: {journal}");
        // It is there again.
        bench.now_has(vec![daily.clone()]);
        bench.restart().await;
        bench.look().await;
        let runs = bench.runs("daily");
        let told: Vec<_> = runs.iter().map(|run| (run.cause, run.status, run.due_ms)).collect();
        let missed = (Cause::Missed, Status::Succeeded, due_ms + 2 * DAY_MS);
        let expected =
            [(Cause::Schedule, Status::Succeeded, due_ms), (Cause::Schedule, Status::Died, due_ms + DAY_MS), missed];
        assert_eq!(told, expected, "{defined:?}");
        assert!(runs.iter().flat_map(|run| &run.deliveries).all(|made| made.status == DeliveryStatus::Delivered));
        std::fs::remove_dir_all(out.path().join("daily")).expect("delivered");
        bench.close().await;
    }
}
