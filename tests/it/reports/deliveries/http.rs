//! Webhooks, chats and Alertmanagers over HTTP.

use std::time::Duration;

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;
use spanhouse::report::{Artifact, Delivered, DeliveryStatus, RetryPolicy, Secret, Target};

use super::receiver::{Answer, Receiver, ok, status};
use super::{DUE_MS, JumpingClock, artifacts, courier, deliver_files, deliver_with, delivery, tries};

fn webhook(url: &str) -> Target {
    Target::Webhook { url: Secret::Plain(url.to_owned()), sign_with: None, results_url: None }
}

async fn deliver(target: Target) -> (Delivered, JumpingClock) {
    let clock = JumpingClock::new();
    let delivered = deliver_with(&courier(&[]), &delivery(target), &tries(), &clock).await;
    (delivered, clock)
}

fn signature(key: &str, timestamp: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).expect("a key");
    mac.update(format!("{timestamp}.").as_bytes());
    mac.update(body);
    let hex: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={hex}")
}

#[tokio::test]
async fn a_webhook_gets_the_run_signed_and_with_the_same_key_each_time() {
    let receiver = Receiver::answering(vec![status(500), status(503), ok()]);
    let target = Target::Webhook {
        url: Secret::Env("HOOK".to_owned()),
        sign_with: Some(Secret::Env("SIGNING_KEY".to_owned())),
        results_url: None,
    };
    let courier = courier(&[("HOOK", &receiver.url("/hook?x=1")), ("SIGNING_KEY", "k3y")]);
    let clock = JumpingClock::new();
    let delivered = deliver_with(&courier, &delivery(target), &tries(), &clock).await;
    assert_eq!((delivered.status, delivered.attempts, delivered.error), (DeliveryStatus::Delivered, 3, None));
    assert_eq!((delivered.name.as_str(), delivered.key.as_str()), ("out", "health@2026-03-29T05:00:00Z/out"));
    let requests = receiver.requests();
    assert_eq!(requests.len(), 3);
    let mut timestamps = Vec::new();
    for request in &requests {
        assert_eq!(request.path, "/hook?x=1");
        assert_eq!(request.header("content-type"), Some("application/json"));
        assert_eq!(request.header("idempotency-key"), Some("health@2026-03-29T05:00:00Z/out"));
        assert!(request.header("user-agent").is_some_and(|agent| agent.starts_with("spanhouse/")));
        let timestamp = request.header("x-spanhouse-timestamp").expect("a timestamp");
        let expected = signature("k3y", timestamp, &request.body);
        assert_eq!(request.header("x-spanhouse-signature"), Some(expected.as_str()));
        timestamps.push(timestamp.parse::<i64>().expect("seconds"));
        assert_eq!(request.body, requests[0].body, "what is told again is the same");
    }
    assert_eq!(timestamps[0], DUE_MS / 1000);
    assert!(
        timestamps[1] > timestamps[0] && timestamps[2] > timestamps[1],
        "each attempt is signed anew: {timestamps:?}"
    );
    let body = requests[0].json();
    assert_eq!((&body["version"], &body["receiver"], &body["status"]), (&json!("4"), &json!("out"), &json!("firing")));
    assert_eq!(body["alerts"][0]["annotations"]["trace_ids"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(body["alerts"][1]["status"], "resolved");
    assert_eq!((&body["run"]["rows"], &body["files"][0]["name"]), (&json!(2), &json!("health.html")));
    assert!(body["summary"].as_str().is_some_and(|summary| summary.starts_with("**Daily &lt;health&gt;**: 2 rows")));
}

#[tokio::test]
async fn what_passes_is_waited_for_and_longer_each_time() {
    for passing in [status(408), status(425), status(429), status(502), Answer::Close, Answer::CloseInHeaders] {
        let receiver = Receiver::answering(vec![passing.clone(), passing.clone(), ok()]);
        let (delivered, clock) = deliver(webhook(&receiver.url("/"))).await;
        assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Delivered, 3), "{passing:?} {delivered:?}");
        let waits = clock.waits_ms();
        assert!(waits[0] >= 1_000 && waits[0] <= 2_000 && waits[1] >= 4_000 && waits[1] <= 8_000, "{waits:?}");
    }
}

#[tokio::test]
async fn a_receiver_that_says_when_is_asked_then() {
    let busy = Answer::Status(429, &[("Retry-After", "120")], "slow down".to_owned());
    let receiver = Receiver::answering(vec![busy, ok()]);
    let (delivered, clock) = deliver(Target::Slack { url: Secret::Plain(receiver.url("/")), results_url: None }).await;
    assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Delivered, 2));
    assert!((120_000..=122_000).contains(&clock.waits_ms()[0]), "{:?}", clock.waits_ms());
    let tomorrow = Answer::Status(503, &[("Retry-After", "86400")], String::new());
    let receiver = Receiver::answering(vec![tomorrow, ok()]);
    let (delivered, clock) = deliver(webhook(&receiver.url("/"))).await;
    assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Failed, 1), "nobody waits a day");
    assert!(clock.waits_ms().is_empty());
}

#[tokio::test]
async fn what_is_refused_is_not_tried_again() {
    for code in [400, 401, 403, 404, 410, 413, 422] {
        let refusal = Answer::Status(code, &[], "no such hook\r\n\u{1b}[31m".to_owned());
        let receiver = Receiver::answering(vec![refusal, ok()]);
        let (delivered, _) = deliver(webhook(&receiver.url("/"))).await;
        assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Failed, 1), "{code}");
        let error = delivered.error.expect("why");
        assert!(error.starts_with(&format!("the webhook at {} answers {code}", receiver.url(""))), "{error}");
        assert!(error.ends_with(": no such hook [31m"), "{error}");
        assert_eq!(receiver.requests().len(), 1);
    }
}

#[tokio::test]
async fn a_receiver_that_hangs_is_left() {
    let receiver = Receiver::answering(vec![Answer::Hang]);
    let clock = JumpingClock::new();
    let tries = RetryPolicy { attempt_timeout: Duration::from_millis(200), ..RetryPolicy::default() };
    let delivered = deliver_with(&courier(&[]), &delivery(webhook(&receiver.url("/"))), &tries, &clock).await;
    assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Failed, 3));
    assert_eq!(delivered.error.as_deref(), Some("it took longer than 0.2 s"));
    assert_eq!(clock.waits_ms().len(), 2);
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_told_of() {
    let address =
        std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let (delivered, clock) = deliver(webhook(&format!("http://{address}/hook"))).await;
    assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Failed, 3));
    let error = delivered.error.expect("why");
    assert!(error.starts_with(&format!("the webhook at http://{address} cannot be reached: ")), "{error}");
    assert!(error.contains("refused"), "{error}");
    assert_eq!(clock.waits_ms().len(), 2);
}

#[tokio::test]
async fn an_answer_without_end_is_not_read_to_it() {
    let receiver = Receiver::answering(vec![Answer::Endless(500), Answer::Endless(200)]);
    let (delivered, _) = deliver(webhook(&receiver.url("/"))).await;
    assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Delivered, 2));
    let receiver = Receiver::answering(vec![Answer::Endless(400)]);
    let (delivered, _) = deliver(webhook(&receiver.url("/"))).await;
    let error = delivered.error.expect("why");
    assert!(error.len() < 500 && error.contains("answers 400"), "{error}");
}

#[tokio::test]
async fn a_redirect_is_followed_on_the_same_host_and_nowhere_else() {
    let moved = Receiver::answering(vec![Answer::Redirect(307, "/new?y".to_owned()), ok()]);
    let (delivered, _) = deliver(webhook(&moved.url("/old"))).await;
    assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Delivered, 1));
    let requests = moved.requests();
    assert_eq!(requests.iter().map(|request| request.path.as_str()).collect::<Vec<_>>(), ["/old", "/new?y"]);
    assert_eq!(requests[0].body, requests[1].body);

    let elsewhere = Receiver::answering(vec![ok()]);
    for code in [307, 308] {
        let receiver = Receiver::answering(vec![Answer::Redirect(code, elsewhere.url("/stolen"))]);
        let (delivered, _) = deliver(webhook(&receiver.url("/"))).await;
        assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Failed, 1));
        let error = delivered.error.expect("why");
        assert!(error.contains("to another host, which is not followed") && !error.contains("stolen"), "{error}");
    }
    assert!(elsewhere.requests().is_empty());
    // These would be followed by a GET that delivers nothing.
    for code in [301, 302, 303] {
        let receiver = Receiver::answering(vec![Answer::Redirect(code, "/new".to_owned()), ok()]);
        let (delivered, _) = deliver(webhook(&receiver.url("/"))).await;
        assert_eq!((delivered.status, receiver.requests().len()), (DeliveryStatus::Failed, 1), "{code}");
    }
    let circle = Receiver::answering(vec![Answer::Redirect(308, "/again".to_owned())]);
    let (delivered, _) = deliver(webhook(&circle.url("/"))).await;
    assert!(delivered.error.is_some_and(|error| error.ends_with("redirects more than 3 times")));
    assert_eq!(circle.requests().len(), 4);
}

#[tokio::test]
async fn a_chat_gets_blocks() {
    let receiver = Receiver::answering(vec![ok()]);
    let (delivered, _) =
        deliver(Target::Slack { url: Secret::Plain(receiver.url("/services/T/B/X")), results_url: None }).await;
    assert_eq!(delivered.status, DeliveryStatus::Delivered);
    let requests = receiver.requests();
    assert_eq!(requests[0].path, "/services/T/B/X");
    let body = requests[0].json();
    assert_eq!(
        body["blocks"][0],
        json!({"type": "header", "text": {"type": "plain_text", "text": "Daily <health>", "emoji": false}})
    );
    let text = body["text"].as_str().expect("a text for who knows no blocks");
    assert!(text.starts_with("Daily &lt;health&gt;: 2 rows, 1 firing, 1 resolved"), "{text}");
    assert!(text.contains("`0af7651916cd43dd8448eb211c80319c`"), "{text}");
}

#[tokio::test]
async fn a_chat_shows_a_picture_and_gets_the_message_where_it_cannot() {
    let refused = Answer::Status(400, &[], "invalid_blocks".to_owned());
    let receiver = Receiver::answering(vec![refused, ok()]);
    let results_url = Some(url::Url::parse("https://reports.example/results").expect("an address"));
    let target = Target::Slack { url: Secret::Plain(receiver.url("/")), results_url };
    let picture = Artifact { file_name: "health.png".to_owned(), media_type: "image/png", bytes: Bytes::new() };
    let files: Vec<Artifact> = artifacts().into_iter().chain([picture]).collect();
    let clock = JumpingClock::new();
    let delivered = deliver_files(&courier(&[]), &delivery(target), &tries(), &clock, &files).await;
    assert_eq!((delivered.status, delivered.attempts), (DeliveryStatus::Delivered, 1));
    assert!(clock.waits_ms().is_empty(), "what is refused for its picture is sent at once without it");
    let bodies: Vec<_> = receiver.requests().iter().map(|request| request.json()).collect();
    let pictures = |body: &serde_json::Value| {
        let blocks = body["blocks"].as_array().expect("blocks");
        blocks.iter().filter(|block| block["type"] == "image").cloned().collect::<Vec<_>>()
    };
    let address = "https://reports.example/results/health/2026-03-29T050000Z/health.png";
    assert_eq!(pictures(&bodies[0])[0]["image_url"], address);
    assert!(pictures(&bodies[1]).is_empty());
    assert_eq!((&bodies[0]["text"], bodies.len()), (&bodies[1]["text"], 2));
}

#[tokio::test]
async fn an_alertmanager_gets_what_fires_and_what_ended() {
    let receiver = Receiver::answering(vec![ok()]);
    let (delivered, _) =
        deliver(Target::Alertmanager { url: Secret::Plain(receiver.url("/am/")), results_url: None }).await;
    assert_eq!(delivered.status, DeliveryStatus::Delivered);
    let requests = receiver.requests();
    assert_eq!(requests[0].path, "/am/api/v2/alerts");
    let alerts = requests[0].json();
    let labels = json!({"alertname": "errors", "report": "health", "severity": "page", "service_name": "cart"});
    assert_eq!(alerts[0]["labels"], labels);
    assert_eq!(alerts[0]["startsAt"], "2026-03-29T04:59:00.000Z");
    assert_eq!(alerts[0]["endsAt"], "2026-03-30T05:00:01.000Z", "nothing runs it by itself: a day from its end");
    assert_eq!(alerts[1]["endsAt"], "2026-03-29T05:00:00.000Z");
    assert_eq!(alerts.as_array().map(Vec::len), Some(2));
}
