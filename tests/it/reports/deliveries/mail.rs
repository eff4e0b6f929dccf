//! Mail to a server that encrypts, asks for a login, and refuses or puts off whom its recipients' names say.

use std::time::Duration;

use serde_json::Value;
use spanhouse::report::{
    AlertState, Courier, Delivered, DeliveryStatus, Environment, Message, Notice, Report, RetryPolicy, Secret, Target,
    Tls,
};

use super::receiver::{Answer, Receiver};
use super::{JumpingClock, artifacts, courier, deliver_with, delivery, notice, report, run, tries};
use crate::support::Receivers;

fn mail(port: u16, tls: Tls, to: &[&str]) -> Target {
    let has_login = tls != Tls::Off;
    let env = |name: &str| has_login.then(|| Secret::Env(name.to_owned()));
    Target::Email {
        server: "127.0.0.1".to_owned(),
        port,
        tls,
        user: env("USER"),
        password: env("PASSWORD"),
        from: "Reports <reports@example.com>".to_owned(),
        to: to.iter().map(|to| (*to).to_owned()).collect(),
    }
}

/// Who knows the password and trusts the receivers' authority.
fn trusting(receivers: &Receivers) -> Courier {
    let (user, password) = Receivers::LOGIN;
    Courier::new(Environment::of(&[("USER", user), ("PASSWORD", password)]), vec![receivers.authority.clone()])
}

async fn deliver(courier: &Courier, target: Target) -> Delivered {
    deliver_with(courier, &delivery(target), &tries(), &JumpingClock::new()).await
}

fn header<'a>(mail: &'a Value, name: &str) -> &'a str {
    let headers = mail["headers"].as_array().expect("headers");
    headers.iter().find(|header| header[0] == name).and_then(|header| header[1].as_str()).unwrap_or_default()
}

#[tokio::test]
async fn mail_goes_encrypted_with_text_a_page_and_the_files() {
    let Some(receivers) = Receivers::start("mail_goes_encrypted") else { return };
    for (name, tls) in [("starttls", Tls::StartTls), ("wrapped", Tls::Wrapped)] {
        let target = mail(receivers.port(name), tls, &["Ann <ann@example.com>", "bob@example.org"]);
        let delivered = deliver(&trusting(&receivers), target).await;
        assert_eq!(
            (delivered.status, delivered.attempts, delivered.error),
            (DeliveryStatus::Delivered, 1, None),
            "{name}"
        );
        let got = receivers.got(name);
        let mail = &got[0];
        assert_eq!(
            (got.len(), mail["encrypted"].as_bool(), mail["authenticated"].as_bool()),
            (1, Some(true), Some(true))
        );
        assert_eq!(mail["from"], "reports@example.com");
        assert_eq!(mail["recipients"], serde_json::json!(["ann@example.com", "bob@example.org"]));
        assert_eq!(header(mail, "Subject"), "Daily <health>: 2 rows, 1 firing, 1 resolved");
        assert_eq!(header(mail, "To"), "Ann <ann@example.com>, bob@example.org");
        assert_eq!(mail["defects"], serde_json::json!([]));
        let parts = mail["parts"].as_array().expect("parts");
        let kinds: Vec<_> = parts.iter().map(|part| (part["type"].as_str(), part["file"].as_str())).collect();
        let expected = [("text/plain", None), ("text/html", None), ("text/html", Some("health.html"))];
        assert_eq!(kinds, expected.map(|(kind, file)| (Some(kind), file)));
        assert!(parts[0]["text"].as_str().is_some_and(|text| text.starts_with("**Daily &lt;health&gt;**: 2 rows")));
        let page = parts[1]["text"].as_str().expect("a page");
        assert!(page.contains("<h1 style=\"font-size:1.3em;margin:0\">Daily &lt;health&gt;</h1>"), "{page}");
        assert!(page.contains("<code>0af7651916cd43dd8448eb211c80319c</code>"), "{page}");
    }
}

#[tokio::test]
async fn a_server_that_cannot_be_trusted_gets_nothing() {
    let Some(receivers) = Receivers::start("a_server_that_cannot_be_trusted") else { return };
    let (user, password) = Receivers::LOGIN;
    let distrusting = courier(&[("USER", user), ("PASSWORD", password)]);
    for (name, tls) in [("starttls", Tls::StartTls), ("wrapped", Tls::Wrapped)] {
        let delivered = deliver(&distrusting, mail(receivers.port(name), tls, &["ann@example.com"])).await;
        assert_eq!(delivered.status, DeliveryStatus::Failed, "{name}: the certificate is nobody's");
        assert!(delivered.error.as_ref().is_some_and(|error| error.contains("ertificate")), "{delivered:?}");
    }
    // Whoever takes STARTTLS away on the way gets neither the password nor the mail.
    let stripped =
        deliver(&trusting(&receivers), mail(receivers.port("plain"), Tls::StartTls, &["ann@example.com"])).await;
    assert_eq!((stripped.status, stripped.attempts), (DeliveryStatus::Failed, 1));
    assert!(stripped.error.is_some_and(|error| error.contains("STARTTLS is not supported")));
    for name in ["starttls", "wrapped", "plain"] {
        assert!(receivers.got(name).is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_not_told() {
    let Some(receivers) = Receivers::start("a_wrong_password") else { return };
    let wrong = Environment::of(&[("USER", "reports"), ("PASSWORD", "wr0ng-s3cret")]);
    let courier = Courier::new(wrong, vec![receivers.authority.clone()]);
    let delivered = deliver(&courier, mail(receivers.port("starttls"), Tls::StartTls, &["ann@example.com"])).await;
    assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Failed, 1));
    let error = delivered.error.expect("why");
    assert!(error.contains("wrong password ***") && !error.contains("wr0ng"), "the server repeated it: {error}");
}

#[tokio::test]
async fn who_has_a_mail_does_not_get_it_again() {
    let Some(receivers) = Receivers::start("who_has_a_mail") else { return };
    let to = ["ann@example.com", "later@example.com", "refused@example.com"];
    let delivered = deliver(&trusting(&receivers), mail(receivers.port("starttls"), Tls::StartTls, &to)).await;
    assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Failed, 2), "{delivered:?}");
    let error = delivered.error.expect("why");
    assert!(error.contains("refuses refused@example.com (") && error.contains("no such user"), "{error}");
    assert!(error.ends_with("; 2 of 3 recipients have it"), "{error}");
    let got = receivers.got("starttls");
    let recipients: Vec<_> = got.iter().map(|mail| mail["recipients"].clone()).collect();
    assert_eq!(recipients, [serde_json::json!(["ann@example.com"]), serde_json::json!(["later@example.com"])]);
    assert_eq!(header(&got[0], "Message-ID"), header(&got[1], "Message-ID"), "both are one mail");
}

#[tokio::test]
async fn a_mail_that_is_put_off_comes_later() {
    let Some(receivers) = Receivers::start("a_mail_that_is_put_off") else { return };
    let delivered =
        deliver(&trusting(&receivers), mail(receivers.port("plain"), Tls::Off, &["later-data@example.com"])).await;
    assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Delivered, 2), "{delivered:?}");
    assert_eq!(receivers.got("plain").len(), 1);
}

#[tokio::test]
async fn a_mail_server_that_hangs_or_is_none_is_left() {
    let Some(receivers) = Receivers::start("a_mail_server_that_hangs") else { return };
    let tries = RetryPolicy { attempt_timeout: Duration::from_secs(2), ..RetryPolicy::default() };
    let target = mail(receivers.port("plain"), Tls::Off, &["slow@example.com"]);
    let delivered = deliver_with(&courier(&[]), &delivery(target), &tries, &JumpingClock::new()).await;
    assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Failed, 3));
    assert_eq!(delivered.error.as_deref(), Some("it took longer than 2 s"));
    let silent = Receiver::answering(vec![Answer::Hang]);
    for tls in [Tls::Off, Tls::StartTls, Tls::Wrapped] {
        let (user, password) = Receivers::LOGIN;
        let courier = courier(&[("USER", user), ("PASSWORD", password)]);
        let tries = RetryPolicy { attempt_timeout: Duration::from_millis(100), ..RetryPolicy::default() };
        let target = mail(silent.address.port(), tls, &["ann@example.com"]);
        let delivered = deliver_with(&courier, &delivery(target), &tries, &JumpingClock::new()).await;
        assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Failed, 3), "{tls:?}");
    }
    let abroad = Target::Email {
        server: "mail.example.com".to_owned(),
        port: 25,
        tls: Tls::Off,
        user: None,
        password: None,
        from: "a@example.com".to_owned(),
        to: vec!["b@example.com".to_owned()],
    };
    let delivered = deliver(&courier(&[]), abroad).await;
    assert_eq!(delivered.attempts, 1);
    assert!(delivered.error.is_some_and(|error| error.contains("mail to it is encrypted")));
}

#[tokio::test]
async fn data_makes_no_header_and_no_part() {
    let Some(receivers) = Receivers::start("data_makes_no_header") else { return };
    let hostile =
        "x\r\nBcc: evil@example.net\r\nContent-Type: text/evil\r\n\r\n.\r\nMAIL FROM:<evil@example.net>\r\n<script>";
    let report = Report { title: hostile.to_owned(), ..report() };
    let notices =
        [Notice { summary: hostile.to_owned(), rule: hostile.to_owned(), ..notice(hostile, AlertState::Firing) }];
    let (run, artifacts) = (run(), artifacts());
    let message = Message {
        key: hostile.to_owned(),
        report: &report,
        run: &run,
        artifacts: &artifacts,
        notices: &notices,
        summary: hostile.to_owned(),
    };
    let delivery = delivery(mail(receivers.port("plain"), Tls::Off, &["ann@example.com"]));
    let delivered = courier(&[]).deliver(&delivery, &message, &tries(), &JumpingClock::new()).await;
    assert_eq!(delivered.status, DeliveryStatus::Delivered, "{delivered:?}");
    let got = receivers.got("plain");
    assert_eq!((got.len(), got[0]["recipients"].as_array().map(Vec::len)), (1, Some(1)));
    let names: Vec<_> = got[0]["headers"].as_array().expect("headers").iter().map(|header| header[0].clone()).collect();
    let known = [
        "From",
        "To",
        "Date",
        "Message-ID",
        "Subject",
        "Auto-Submitted",
        "X-Spanhouse-Key",
        "MIME-Version",
        "Content-Type",
    ];
    assert!(names.iter().all(|name| name.as_str().is_some_and(|name| known.contains(&name))), "{names:?}");
    assert_eq!(names.len(), known.len(), "each once: {names:?}");
    let parts = got[0]["parts"].as_array().expect("parts");
    assert_eq!(parts.len(), 3);
    assert!(
        parts[1]["text"].as_str().is_some_and(|page| page.contains("&lt;script&gt;") && !page.contains("<script>"))
    );
}

#[tokio::test]
async fn a_webhook_over_tls_is_one_that_is_trusted_and_knows_the_signature() {
    let Some(receivers) = Receivers::start("a_webhook_over_tls") else { return };
    let url = format!("https://127.0.0.1:{}/hook", receivers.port("https"));
    let signed = |sign_with| Target::Webhook { url: Secret::Plain(url.clone()), sign_with, results_url: None };
    let refused = deliver(&courier(&[]), signed(None)).await;
    assert_eq!(refused.status, DeliveryStatus::Failed, "the certificate is nobody's");
    assert!(refused.error.is_some_and(|error| error.contains("ertificate")));
    let keys = [Some(Receivers::SIGNING_KEY), Some("another"), None];
    for key in keys {
        let target = signed(key.map(|key| Secret::Plain(key.to_owned())));
        let delivered = deliver(&trusting(&receivers), target).await;
        assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Delivered, 1), "{delivered:?}");
    }
    let got = receivers.got("https");
    assert_eq!((got.len(), &got[0]["path"], &got[0]["body"]["version"]), (3, &"/hook".into(), &"4".into()));
    let signed: Vec<_> = got.iter().map(|got| got["signed"].as_bool()).collect();
    assert_eq!(signed, [Some(true), Some(false), Some(false)]);
}
