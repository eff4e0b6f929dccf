//! A real Alertmanager, and what it makes of an alert and its end; and that a webhook of ours is one that takes its place.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::DateTime;
use serde_json::{Value, json};

use super::house::House;
use super::receiver::{Receiver, ok};
use crate::support::Alertmanager;

/// An Alertmanager tells of an alert within a second.
const GIVE_UP: Duration = Duration::from_secs(120);

const RULE: &str = "\
[[alerts]]
name = \"errors\"
column = \"error_rate\"
above = 0.05
group_by = [\"service_name\"]
severity = \"page\"
summary = \"more than 5 % fail\"";

/// Where the results of the report are said to be.
const SHOWN: &str = "https://reports.example/of%20the%20team/";
/// What data may hold, and a label with it.
const HOSTILE: &str = "Größe \"x\"\\{{ .Labels }}<b>";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn statement(error_rate: f64) -> String {
    let hostile = HOSTILE.replace('\'', "''");
    format!(
        "SELECT * FROM (VALUES ('cart', {error_rate}, '{TRACE}'), ('{hostile}', {error_rate}, '{TRACE}')) AS v(service_name, error_rate, trace_id)"
    )
}

#[test]
fn a_real_alertmanager_takes_an_alert_and_its_end() {
    let hook = Receiver::answering(vec![ok()]);
    let Some(alertmanager) = Alertmanager::start("a_real_alertmanager_takes_an_alert", &hook.url("/theirs")) else {
        return;
    };
    let ours = Receiver::answering(vec![ok()]);
    let deliveries = format!(
        "to = \"alertmanager\"\nurl = \"http://{}\"\nresults_url = \"{SHOWN}\"\nwhen = \"firing\"\nattempts = 1\n\
         [[deliveries]]\nto = \"webhook\"\nurl = \"{}\"\nresults_url = \"{SHOWN}\"\nwhen = \"firing\"\nattempts = 1",
        alertmanager.address,
        ours.url("/ours")
    );
    let house = House::with(RULE, &deliveries, &statement(0.25));
    let (is_well, delivered) = house.run(&[]);
    assert!(is_well && delivered["status"] == "delivered", "{delivered}");
    let alerts = alertmanager.alerts();
    let services: Vec<_> = alerts.iter().map(|alert| alert["labels"]["service_name"].clone()).collect();
    assert!(alerts.len() == 2 && services.contains(&json!("cart")) && services.contains(&json!(HOSTILE)), "{alerts:?}");
    for alert in &alerts {
        let service = &alert["labels"]["service_name"];
        let labels = json!({"alertname": "errors", "report": "answer", "severity": "page", "service_name": service});
        assert_eq!(alert["labels"], labels);
        assert_eq!(alert["annotations"]["summary"], "more than 5 % fail");
        assert_eq!(
            (&alert["annotations"]["value"], &alert["annotations"]["trace_ids"]),
            (&json!("0.25"), &json!(TRACE))
        );
        let link = alert["generatorURL"].as_str().expect("a link");
        assert!(link.starts_with(&format!("{SHOWN}answer/20")) && link.ends_with("-manual/"), "{link}");
        assert!(time(&alert["endsAt"]) > time(&alert["startsAt"]), "it holds until a later run: {alert}");
    }
    webhooks_are_alike(&told(&hook, "firing"), &told(&ours, "firing"));

    // It still fires: the same alert, which is no news to a webhook.
    assert!(house.run(&[]).0);
    let again = alertmanager.alerts();
    let identity = |alerts: &[Value]| -> BTreeMap<String, Value> {
        alerts.iter().map(|alert| (alert["fingerprint"].to_string(), alert["startsAt"].clone())).collect()
    };
    assert_eq!(identity(&again), identity(&alerts));
    assert_eq!(ours.requests().len(), 1);

    house.report(RULE, &deliveries, &statement(0.01));
    let (is_well, delivered) = house.run(&[]);
    assert!(is_well && delivered["status"] == "delivered", "{delivered}");
    assert_eq!(alertmanager.alerts(), [] as [Value; 0]);
    webhooks_are_alike(&told(&hook, "resolved"), &told(&ours, "resolved"));
}

/// The last body that a receiver got, once it says what is waited for of both alerts.
fn told(receiver: &Receiver, status: &str) -> Value {
    let give_up = Instant::now() + GIVE_UP;
    loop {
        let requests = receiver.requests();
        let last = requests.last().map(super::receiver::Request::json);
        let is_told = |body: &Value| {
            let alerts = body["alerts"].as_array().expect("alerts");
            alerts.len() == 2 && alerts.iter().all(|alert| alert["status"] == status)
        };
        if let Some(body) = last.filter(is_told) {
            return body;
        }
        assert!(Instant::now() < give_up, "nobody says that it is {status}: {requests:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whoever reads an Alertmanager's webhook finds the same in ours, and more.
fn webhooks_are_alike(theirs: &Value, ours: &Value) {
    for (field, value) in theirs.as_object().expect("an object") {
        let alike = ours.get(field).unwrap_or_else(|| panic!("ours has no {field}: {theirs}"));
        match field.as_str() {
            "alerts" => {}
            // Theirs are by the program's own address and configuration.
            "externalURL" | "receiver" | "groupKey" => assert!(alike.is_string(), "{field}: {alike}"),
            // Each run of ours has its own.
            "commonAnnotations" => assert_eq!(alike["summary"], value["summary"]),
            _ => assert_eq!(alike, value, "{field}"),
        }
    }
    let by_fingerprint = |body: &Value| -> BTreeMap<String, Value> {
        let alerts = body["alerts"].as_array().expect("alerts");
        alerts.iter().map(|alert| (alert["fingerprint"].to_string(), alert.clone())).collect()
    };
    let (theirs, ours) = (by_fingerprint(theirs), by_fingerprint(ours));
    assert_eq!(theirs.keys().collect::<Vec<_>>(), ours.keys().collect::<Vec<_>>(), "the hash of the labels is theirs");
    for (fingerprint, theirs) in &theirs {
        let ours = &ours[fingerprint];
        for (field, value) in theirs.as_object().expect("an object") {
            match field.as_str() {
                "startsAt" | "endsAt" => assert_eq!(time(&ours[field]), time(value), "{field}: {ours} {theirs}"),
                _ => assert_eq!(&ours[field], value, "{field}"),
            }
        }
    }
}

fn time(text: &Value) -> DateTime<chrono::FixedOffset> {
    let text = text.as_str().expect("a text");
    DateTime::parse_from_rfc3339(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
