//! A delivery from its first attempt to its end.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use url::Url;

use super::attempt::{Failure, Retry, RetryPolicy};
use super::digest::{Digest, told};
use super::http::{Post, post};
use super::secrets::{Environment, Secrets};
use super::slack::{self, Shown};
use super::smtp::{self, Recipients, Server};
use super::{Message, directory, files, mail, names, object_store, prometheus, webhook};
use crate::report::alert::Notice;
use crate::report::clock::Clock;
use crate::report::definition::{Deliver, Delivery, Secret, Target};
use crate::report::history::{Delivered, DeliveryStatus, Run};
use crate::report::schedule::Timetable;

/// Where the API of an Alertmanager takes alerts, below its address.
const ALERTS_PATH: [&str; 3] = ["api", "v2", "alerts"];

/// How long an alert holds at an Alertmanager after the run that should have told it again: runs start late and take time.
const LATE: Duration = Duration::from_secs(10 * 60);

/// How long it holds when nothing runs the report by itself.
const UNSCHEDULED: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether a run with these notices is one that the delivery is about.
///
/// An Alertmanager takes an alert for resolved that it is not told again, so that it is told of what fires and not only of news.
pub fn is_wanted(delivery: &Delivery, run: &Run, notices: &[Notice]) -> bool {
    match (delivery.when, &delivery.target) {
        (Deliver::Always, _) => true,
        (Deliver::Rows, _) => !run.status.is_failure() && run.rows.is_some_and(|rows| rows > 0),
        (Deliver::Firing, Target::Alertmanager { .. }) => told(notices).next().is_some(),
        (Deliver::Firing, _) => notices.iter().any(|notice| notice.is_news),
        (Deliver::Failed, _) => run.status.is_failure(),
    }
}

/// A delivery on its way: what its attempts have left.
#[derive(Debug, Default)]
pub struct Progress {
    attempts: u32,
    recipients: Recipients,
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    Ended(Delivered),
    /// It is to be made again after this.
    Pause(Duration),
}

/// Makes an attempt with the process's own environment; see [`Courier::attempt`].
pub async fn attempt(
    delivery: &Delivery,
    message: &Message<'_>,
    tries: &RetryPolicy,
    clock: &dyn Clock,
    progress: &mut Progress,
) -> Step {
    Courier::default().attempt(delivery, message, tries, clock, progress).await
}

/// Delivers with the process's own environment; see [`Courier::deliver`].
pub async fn deliver(delivery: &Delivery, message: &Message<'_>, tries: &RetryPolicy, clock: &dyn Clock) -> Delivered {
    Courier::default().deliver(delivery, message, tries, clock).await
}

/// Who delivers, with what it takes from around it.
#[derive(Debug, Clone)]
pub struct Courier {
    environment: Environment,
    trusted: Vec<Vec<u8>>,
}

impl Default for Courier {
    fn default() -> Self {
        Self { environment: Environment::of_process(), trusted: Vec::new() }
    }
}

impl Courier {
    /// A courier with its own environment, who trusts certificates in PEM beside those that the system does.
    pub fn new(environment: Environment, trusted: Vec<Vec<u8>>) -> Self {
        Self { environment, trusted }
    }

    /// Tries until the delivery is made, is refused for good, or was tried `attempts` times; tells which.
    pub async fn deliver(
        &self,
        delivery: &Delivery,
        message: &Message<'_>,
        tries: &RetryPolicy,
        clock: &dyn Clock,
    ) -> Delivered {
        let mut progress = Progress::default();
        loop {
            match self.attempt(delivery, message, tries, clock, &mut progress).await {
                Step::Ended(delivered) => return delivered,
                Step::Pause(pause) => {
                    let pause_ms = i64::try_from(pause.as_millis()).unwrap_or(i64::MAX);
                    clock.sleep_until(clock.now_ms().saturating_add(pause_ms)).await;
                }
            }
        }
    }

    /// Makes the next attempt at a delivery.
    pub async fn attempt(
        &self,
        delivery: &Delivery,
        message: &Message<'_>,
        tries: &RetryPolicy,
        clock: &dyn Clock,
        progress: &mut Progress,
    ) -> Step {
        progress.attempts += 1;
        let attempts = progress.attempts;
        let sent = self.send(delivery, message, tries, clock.now_ms(), &mut progress.recipients);
        let outcome = tokio::time::timeout(tries.attempt_timeout, sent).await;
        let ended = |status, error| {
            let (name, key) = (delivery.name.clone(), message.key.clone());
            Step::Ended(Delivered { name, key, status, attempts, error, at_ms: clock.now_ms() })
        };
        let failure = match outcome {
            Ok(Ok(())) => return ended(DeliveryStatus::Delivered, None),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::later(format!("it took longer than {} s", tries.attempt_timeout.as_secs_f32())),
        };
        let pause = tries.pause(&failure, &message.key, attempts).filter(|_| attempts < delivery.attempts);
        let Some(pause) = pause else { return ended(DeliveryStatus::Failed, Some(failure.why)) };
        let seconds = pause.as_secs_f32();
        tracing::warn!("the delivery {} is tried again in {seconds:.0} s: {}", message.key, failure.why);
        Step::Pause(pause)
    }

    async fn send(
        &self,
        delivery: &Delivery,
        message: &Message<'_>,
        tries: &RetryPolicy,
        now_ms: i64,
        recipients: &mut Recipients,
    ) -> Result<(), Failure> {
        let mut secrets = Secrets::new(&self.environment);
        let digest = Digest::of(message.report, message.run, message.notices);
        let sent = match &delivery.target {
            Target::Directory(path) => {
                return directory::put(path, names::folder(message.run), files::of(message), &message.key).await;
            }
            Target::ObjectStore(url) => match url.directory() {
                Some(path) => {
                    return directory::put(&path, names::folder(message.run), files::of(message), &message.key).await;
                }
                None => {
                    let folder = names::folder(message.run);
                    return object_store::put(url, &folder, &files::of(message), &mut secrets).await;
                }
            },
            Target::Email { .. } => return self.mail(&delivery.target, message, tries, now_ms, recipients).await,
            Target::Webhook { url, sign_with, results_url } => {
                let url = address(&mut secrets, "the webhook's URL", url)?;
                let key = sign_with.as_ref().map(|key| secrets.read("the key that signs", key)).transpose();
                let key = key.map_err(Failure::never)?;
                let body = webhook::body(message, &delivery.name, results_url.as_ref());
                let headers = webhook::headers(&message.key, key.as_deref(), now_ms, &body)?;
                Post { receiver: "the webhook", url, headers, body }
            }
            Target::Slack { url, results_url } => {
                let url = address(&mut secrets, "the URL of the chat's webhook", url)?;
                let shown = slack::Shown::of(message, results_url.as_ref());
                let sent = |shown: &Shown| {
                    let (url, body) = (url.clone(), slack::body(&digest, shown));
                    Post { receiver: "the chat's webhook", url, headers: HeaderMap::new(), body }
                };
                if shown.picture.is_some() {
                    match post(sent(&shown), &self.trusted, tries, now_ms, &secrets).await {
                        // A picture that the chat cannot fetch is no reason to lose the message.
                        Err(failure) if failure.retry == Retry::Never => {
                            tracing::warn!("the delivery {} is made without its picture: {}", message.key, failure.why);
                        }
                        told => return told,
                    }
                }
                sent(&Shown { picture: None, ..shown })
            }
            Target::Alertmanager { url, results_url } => {
                let mut url = address(&mut secrets, "the Alertmanager's URL", url)?;
                let until_ms = told_again_by(message);
                let results = results_url.as_ref();
                let Some(alerts) = prometheus::api_alerts(message.run, message.notices, until_ms, results) else {
                    return Ok(());
                };
                extend(&mut url)?;
                let body = Bytes::from(alerts.to_string());
                Post { receiver: "the Alertmanager", url, headers: HeaderMap::new(), body }
            }
        };
        post(sent, &self.trusted, tries, now_ms, &secrets).await
    }

    async fn mail(
        &self,
        target: &Target,
        message: &Message<'_>,
        tries: &RetryPolicy,
        now_ms: i64,
        recipients: &mut Recipients,
    ) -> Result<(), Failure> {
        let Target::Email { server, port, tls, user, password, from, to } = target else {
            return Err(Failure::never("it is no mail"));
        };
        if !tls.may_reach(server) {
            return Err(Failure::never(format!(
                "the mail server {server} is another machine: mail to it is encrypted"
            )));
        }
        let mut secrets = Secrets::new(&self.environment);
        let mut read = |what, secret: &Option<Secret>| {
            secret.as_ref().map(|secret| secrets.read(what, secret)).transpose().map_err(Failure::never)
        };
        let credentials = read("the mail server's user", user)?.zip(read("the mail server's password", password)?);
        if let Some((user, password)) = &credentials {
            secrets.hide_login(user, password);
        }
        let mail = mail::compose(message, from, to, now_ms).map_err(Failure::never)?;
        let server = Server {
            host: server,
            port: *port,
            tls: *tls,
            credentials,
            trusted: &self.trusted,
            connect_timeout: tries.connect_timeout,
        };
        smtp::send(&server, &mail, recipients, &secrets).await
    }
}

fn address(secrets: &mut Secrets<'_>, what: &str, url: &Secret) -> Result<Url, Failure> {
    secrets.read_url(what, url).map_err(Failure::never)
}

/// Adds the path of the API to an Alertmanager's address.
fn extend(url: &mut Url) -> Result<(), Failure> {
    let wrong = |()| Failure::never("the Alertmanager's URL has no path");
    url.path_segments_mut().map_err(wrong)?.pop_if_empty().extend(ALERTS_PATH);
    Ok(())
}

/// When an alert is over that no further run tells: after the second due time from when the run ended, so that one late run ends nothing. It is the
/// same for each attempt: a late one says no more than the first.
fn told_again_by(message: &Message<'_>) -> i64 {
    let ended_ms = message.run.ended_ms.unwrap_or(message.run.started_ms);
    let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    let schedule = message.report.schedule.as_ref().filter(|_| message.report.enabled);
    let second = schedule.and_then(|schedule| {
        let timetable = Timetable::new(schedule).ok()?;
        let second_ms = timetable.next_after(timetable.next_after(ended_ms)?)?;
        Some(second_ms.saturating_add(ms(schedule.jitter)))
    });
    match second {
        Some(second_ms) => second_ms.saturating_add(ms(LATE)),
        None => ended_ms.saturating_add(ms(UNSCHEDULED)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;
    use crate::report::alert::AlertState;
    use crate::report::definition::{Missed, Report, Schedule, When};
    use crate::report::delivery::testing::{notice, report, run};
    use crate::report::history::Status;

    #[test]
    fn runs_are_delivered_that_a_delivery_is_about() {
        let slack = Target::Slack { url: Secret::Env("URL".to_owned()), results_url: None };
        let alertmanager = Target::Alertmanager { url: Secret::Env("URL".to_owned()), results_url: None };
        let failed = Run { status: Status::TimedOut, rows: None, ..run() };
        let empty = Run { rows: Some(0), ..run() };
        let news = [notice("cart", AlertState::Firing)];
        let old = [Notice { is_news: false, ..news[0].clone() }];
        let pending = [Notice { is_news: false, ..notice("cart", AlertState::Pending) }];
        for (when, target, run, notices, expected) in [
            (Deliver::Always, &slack, &empty, &[][..], true),
            (Deliver::Always, &slack, &failed, &[][..], true),
            (Deliver::Rows, &slack, &run(), &[][..], true),
            (Deliver::Rows, &slack, &empty, &news[..], false),
            (Deliver::Rows, &slack, &failed, &[][..], false),
            (Deliver::Firing, &slack, &run(), &[][..], false),
            (Deliver::Firing, &slack, &run(), &news[..], true),
            (Deliver::Firing, &slack, &run(), &old[..], false),
            (Deliver::Firing, &alertmanager, &run(), &old[..], true),
            (Deliver::Firing, &alertmanager, &run(), &pending[..], false),
            (Deliver::Failed, &slack, &run(), &news[..], false),
            (Deliver::Failed, &slack, &failed, &[][..], true),
        ] {
            let delivery = Delivery { name: "d".to_owned(), target: target.clone(), when, attempts: 1 };
            assert_eq!(is_wanted(&delivery, run, notices), expected, "{when} {target:?} {notices:?}");
        }
    }

    #[test]
    fn an_alert_holds_until_the_second_run_from_the_end_of_its_own() {
        let run = Run { ended_ms: Some(90_000), ..run() };
        let with = |report: &Report| {
            let message =
                Message { key: String::new(), report, run: &run, artifacts: &[], notices: &[], summary: String::new() };
            told_again_by(&message)
        };
        assert_eq!(with(&report()), 90_000 + 86_400_000);
        let schedule = Schedule {
            when: When::Every(Duration::from_secs(60)),
            zone: chrono_tz::Tz::UTC,
            missed: Missed::Once,
            jitter: Duration::from_secs(5),
        };
        let scheduled = Report { schedule: Some(schedule), ..report() };
        assert_eq!(with(&scheduled), 180_000 + 5_000 + 600_000);
    }

    /// A mail server that repeats the login that it refuses.
    async fn repeating(listener: TcpListener) {
        let (connection, _) = listener.accept().await.expect("a connection");
        let mut connection = BufReader::new(connection);
        let mut answer = "220 here".to_owned();
        loop {
            connection.get_mut().write_all(format!("{answer}\r\n").as_bytes()).await.expect("answered");
            let mut line = String::new();
            if connection.read_line(&mut line).await.expect("a line") == 0 {
                return;
            }
            answer = match line.trim_end() {
                hello if hello.starts_with("EHLO") => "250-here\r\n250 AUTH PLAIN LOGIN".to_owned(),
                login if login.starts_with("AUTH") => format!("535 no such login: {login}"),
                _ => "221 bye".to_owned(),
            };
        }
    }

    #[tokio::test]
    async fn a_login_that_a_mail_server_repeats_is_not_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = tokio::spawn(repeating(listener));
        let secret = |name: &str| Some(Secret::Env(name.to_owned()));
        let target = Target::Email {
            server: "127.0.0.1".to_owned(),
            port,
            tls: crate::report::definition::Tls::Off,
            user: secret("USER"),
            password: secret("PASSWORD"),
            from: "reports@example.com".to_owned(),
            to: vec!["ann@example.com".to_owned()],
        };
        let delivery = Delivery { name: "mail".to_owned(), target, when: Deliver::Always, attempts: 1 };
        let (report, run) = (report(), run());
        let message = Message {
            key: "k".to_owned(),
            report: &report,
            run: &run,
            artifacts: &[],
            notices: &[],
            summary: String::new(),
        };
        let environment = Environment::of(&[("USER", "reports"), ("PASSWORD", "hush-hush")]);
        let courier = Courier::new(environment, Vec::new());
        let clock = crate::report::clock::SystemClock;
        let delivered = courier.deliver(&delivery, &message, &RetryPolicy::default(), &clock).await;
        let error = delivered.error.expect("it is refused");
        assert!(error.contains("no such login: AUTH PLAIN ***"), "{error}");
        // The base64 of NUL, reports, NUL, hush-hush.
        assert!(!error.contains("AHJlcG9ydHMAaHVzaC1odXNo"), "{error}");
        server.abort();
    }

    #[test]
    fn the_api_lies_below_the_address() {
        for (url, expected) in [
            ("http://am:9093", "http://am:9093/api/v2/alerts"),
            ("http://am:9093/", "http://am:9093/api/v2/alerts"),
            ("https://host/alertmanager/", "https://host/alertmanager/api/v2/alerts"),
            ("https://host/alertmanager?tenant=1", "https://host/alertmanager/api/v2/alerts?tenant=1"),
        ] {
            let mut url = Url::parse(url).expect(url);
            extend(&mut url).expect("extended");
            assert_eq!(url.as_str(), expected);
        }
    }
}
