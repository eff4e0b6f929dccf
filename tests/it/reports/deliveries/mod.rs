//! Deliveries to receivers on this machine: what each gets, and what becomes of a delivery when the receiver fails, hangs, answers 500 and then
//! 200, closes in the middle, redirects, or never stops to answer. Nothing of a secret is in what is told of it.
//!
//! - `alertmanager`: a real Alertmanager, and what it makes of an alert and its end.
//! - `another_host`: receivers whose certificate is not for them.
//! - `http`: webhooks, chats and Alertmanagers.
//! - `house`: a data directory with a report that delivers.
//! - `kills`: a process that dies between two attempts.
//! - `mail`: a mail server that encrypts, asks for a login and has a will of its own.
//! - `places`: directories and object stores, by the program's own command.
//! - `secrets`: a planted secret is found nowhere.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use spanhouse::report::{
    AlertState, Artifact, Cause, Clock, Courier, Deliver, Delivered, Delivery, Environment, Folder, Message, Notice,
    Report, RetryPolicy, Run, Status, Target,
};

mod alertmanager;
mod another_host;
mod house;
mod http;
mod kills;
mod mail;
mod places;
mod receiver;
mod secrets;

pub use house::House;

/// 2026-03-29T05:00:00Z.
const DUE_MS: i64 = 1_774_760_400_000;

/// A clock that is where it is waited for at once, and tells for what it was waited.
#[derive(Debug)]
struct JumpingClock {
    now_ms: Mutex<i64>,
    waits_ms: Mutex<Vec<i64>>,
}

impl JumpingClock {
    fn new() -> Self {
        Self { now_ms: Mutex::new(DUE_MS), waits_ms: Mutex::default() }
    }

    fn waits_ms(&self) -> Vec<i64> {
        self.waits_ms.lock().expect("not poisoned").clone()
    }
}

#[async_trait]
impl Clock for JumpingClock {
    fn now_ms(&self) -> i64 {
        *self.now_ms.lock().expect("not poisoned")
    }

    async fn sleep_until(&self, until_ms: i64) {
        let mut now_ms = self.now_ms.lock().expect("not poisoned");
        self.waits_ms.lock().expect("not poisoned").push(until_ms - *now_ms);
        *now_ms = until_ms.max(*now_ms);
    }
}

/// A report whose title wants escaping.
fn report() -> Report {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "-- title = \"Daily <health>\"\n-- owners = [\"team@example.com\"]\nSELECT 1 AS one\n";
    std::fs::write(folder.path().join("health.sql"), text).expect("written");
    let found = Folder::open(folder.path()).find("health").expect("a report without mistakes");
    Report::clone(&found.report)
}

fn run() -> Run {
    Run {
        id: "health@2026-03-29T05:00:00Z".to_owned(),
        report: "health".to_owned(),
        report_version: "v1".to_owned(),
        cause: Cause::Schedule,
        due_ms: DUE_MS,
        started_ms: DUE_MS,
        ended_ms: Some(DUE_MS + 1000),
        window_from_ms: Some(DUE_MS - 86_400_000),
        window_to_ms: Some(DUE_MS),
        parameters: Vec::new(),
        status: Status::Succeeded,
        rows: Some(2),
        error: None,
        result: Some("results/health/2026-03-29T050000Z".to_owned()),
        deliveries: Vec::new(),
    }
}

fn notice(service: &str, state: AlertState) -> Notice {
    Notice {
        report: "health".to_owned(),
        rule: "errors".to_owned(),
        severity: "page".to_owned(),
        state,
        labels: vec![("service_name".to_owned(), service.to_owned())],
        value: Some(0.25),
        since_ms: DUE_MS,
        fired_ms: Some(DUE_MS - 60_000),
        summary: "error_rate is 0.25, above 0.05".to_owned(),
        exemplars: vec!["0af7651916cd43dd8448eb211c80319c".to_owned()],
        silenced_by: None,
        is_news: true,
    }
}

fn artifacts() -> Vec<Artifact> {
    let page = "<!DOCTYPE html><title>Daily</title>";
    vec![Artifact {
        file_name: "health.html".to_owned(),
        media_type: "text/html; charset=utf-8",
        bytes: Bytes::from_static(page.as_bytes()),
    }]
}

/// A few quick attempts; a receiver that answers has long answered by then, whatever else this machine does.
fn tries() -> RetryPolicy {
    RetryPolicy { attempt_timeout: Duration::from_secs(30), ..RetryPolicy::default() }
}

/// A delivery that is tried three times.
fn delivery(target: Target) -> Delivery {
    Delivery { name: "out".to_owned(), target, when: Deliver::Always, attempts: 3 }
}

/// Delivers a run with two alerts, one of which ended.
async fn deliver_with(courier: &Courier, delivery: &Delivery, tries: &RetryPolicy, clock: &JumpingClock) -> Delivered {
    deliver_files(courier, delivery, tries, clock, &artifacts()).await
}

/// The same with these files.
async fn deliver_files(
    courier: &Courier,
    delivery: &Delivery,
    tries: &RetryPolicy,
    clock: &JumpingClock,
    artifacts: &[Artifact],
) -> Delivered {
    let (report, run) = (report(), run());
    let notices = [notice("cart", AlertState::Firing), notice("shop", AlertState::Resolved)];
    let message = Message {
        key: format!("{}/{}", run.id, delivery.name),
        report: &report,
        run: &run,
        artifacts,
        notices: &notices,
        summary: spanhouse::report::summarise(&report, &run, &notices),
    };
    courier.deliver(delivery, &message, tries, clock).await
}

fn courier(variables: &[(&str, &str)]) -> Courier {
    Courier::new(Environment::of(variables), Vec::new())
}
