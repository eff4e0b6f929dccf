//! A planted secret is found in nothing that is told of a delivery.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use spanhouse::report::{DeliveryStatus, RetryPolicy, Secret, Target, Tls};
use tracing::Level;
use tracing_subscriber::fmt::MakeWriter;

use super::receiver::{Answer, Receiver, status};
use super::{JumpingClock, courier, deliver_with, delivery, tries};

/// No other text has it.
const PLANTED: &str = "pl4nted-s3cret";

/// Everything that was logged, on whatever level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().expect("not poisoned")).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Delivers to every kind of receiver that repeats what it got.
#[tokio::test]
async fn a_planted_secret_is_told_nowhere() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_max_level(Level::TRACE).finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let echo = |code| Answer::Status(code, &[], format!("no hook at /hooks/{PLANTED}?token={PLANTED} for {PLANTED}"));
    let receiver = Receiver::answering(vec![echo(500), echo(503), echo(404)]);
    let elsewhere = format!("http://other.example/{PLANTED}");
    let redirecting = Receiver::answering(vec![Answer::Redirect(307, elsewhere)]);
    let closing = Receiver::answering(vec![Answer::Close]);
    let hook = |receiver: &Receiver| receiver.url(&format!("/hooks/{PLANTED}?token={PLANTED}"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("url");
    std::fs::write(&file, hook(&receiver)).expect("written");
    let with_password = format!("http://user:{PLANTED}@{}/", closing.address);
    let variables = [
        ("ECHO", hook(&receiver)),
        ("REDIRECT", hook(&redirecting)),
        ("CLOSE", hook(&closing)),
        ("WITH_PASSWORD", with_password),
        ("NO_URL", PLANTED.to_owned()),
        ("KEY", PLANTED.to_owned()),
    ];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let courier = courier(&variables);
    let env = |name: &str| Secret::Env(name.to_owned());
    let mail = Target::Email {
        server: "127.0.0.1".to_owned(),
        port: closing.address.port(),
        tls: Tls::Off,
        user: Some(env("KEY")),
        password: Some(env("KEY")),
        from: "a@example.com".to_owned(),
        to: vec!["b@example.com".to_owned()],
    };
    let targets = [
        Target::Webhook { url: env("ECHO"), sign_with: Some(env("KEY")), results_url: None },
        Target::Webhook {
            url: Secret::Plain(hook(&receiver)),
            sign_with: Some(Secret::Plain(PLANTED.to_owned())),
            results_url: None,
        },
        Target::Webhook { url: env("NO_URL"), sign_with: None, results_url: None },
        Target::Webhook { url: env("MISSING"), sign_with: None, results_url: None },
        Target::Slack { url: Secret::File(file), results_url: None },
        Target::Slack { url: env("REDIRECT"), results_url: None },
        Target::Alertmanager { url: env("CLOSE"), results_url: None },
        Target::Alertmanager { url: env("WITH_PASSWORD"), results_url: None },
        mail,
    ];
    let mut told = format!("{courier:?}");
    for target in targets {
        let clock = JumpingClock::new();
        let delivery = delivery(target);
        // Who waits for a mail server's greeting there waits for ever.
        let is_mail = matches!(delivery.target, Target::Email { .. });
        let attempt_timeout = if is_mail { Duration::from_millis(200) } else { tries().attempt_timeout };
        let tries = RetryPolicy { attempt_timeout, ..tries() };
        let delivered = deliver_with(&courier, &delivery, &tries, &clock).await;
        assert_eq!(delivered.status, DeliveryStatus::Failed, "{delivery:?}");
        assert!(delivered.error.as_ref().is_some_and(|error| !error.is_empty()));
        let journal = serde_json::to_string(&delivered).expect("JSON");
        told.push_str(&format!("{delivery:?} {delivered:?} {journal}\n"));
    }
    assert!(told.contains("***"), "something was there to be masked: {told}");
    let log = log.text();
    assert!(log.contains("is tried again in"), "the log was looked at: {log}");
    for (place, text) in [("what is told", &told), ("the log", &log)] {
        assert!(!text.contains(PLANTED), "{place} has the secret: {text}");
    }
    assert!(!receiver.requests().is_empty(), "the receiver was told of it and nobody else");
    assert!(receiver.requests()[0].path.contains(PLANTED));
}

#[tokio::test]
async fn a_secret_is_read_when_it_is_needed() {
    let receiver = Receiver::answering(vec![status(500), status(500), status(200)]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("url");
    let target = Target::Slack { url: Secret::File(file.clone()), results_url: None };
    let clock = JumpingClock::new();
    let delivered = deliver_with(&courier(&[]), &delivery(target.clone()), &tries(), &clock).await;
    assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Failed, 1));
    assert!(delivered.error.is_some_and(|error| error.contains("cannot be read")));
    std::fs::write(&file, format!("{}\n", receiver.url("/a"))).expect("written");
    let delivered = deliver_with(&courier(&[]), &delivery(target), &tries(), &clock).await;
    assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Delivered, 3));
}
