//! Alerts in the forms of Prometheus' Alertmanager: its API's, and that of its webhooks (version 4).

use serde_json::{Map, Value, json};
use url::Url;

use super::digest::{rfc3339, told};
use super::names;
use crate::report::alert::{AlertState, Notice, shown};
use crate::report::definition::Report;
use crate::report::history::Run;

/// What a firing alert has for its end in a webhook.
const NO_END: &str = "0001-01-01T00:00:00Z";

/// Alerts in one body. A receiver of thousands at once does nothing useful with them.
const MOST_ALERTS: usize = 1000;

/// The labels of an alert: its rule as `alertname`, report, severity and the columns that name its group, under names that Prometheus
/// allows. Labels without a value are none to it and are left out.
pub(super) fn labels(notice: &Notice) -> Map<String, Value> {
    let mut labels = Map::new();
    for (name, value) in [("alertname", &notice.rule), ("report", &notice.report), ("severity", &notice.severity)] {
        labels.insert(name.to_owned(), json!(value));
    }
    for (column, value) in notice.labels.iter().filter(|(_, value)| !value.is_empty()) {
        let mut name = label_name(column);
        while labels.contains_key(&name) {
            // As Prometheus does with names that it has itself.
            name.insert_str(0, "exported_");
        }
        labels.insert(name, json!(value));
    }
    labels
}

/// A column's name in the letters of Prometheus: `[a-zA-Z_][a-zA-Z0-9_]*`, and not beginning with `__`, which it keeps for itself.
fn label_name(column: &str) -> String {
    let name: String = column.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let name = match name.trim_start_matches('_') {
        rest if name.starts_with("__") => format!("_{rest}"),
        _ => name,
    };
    match name.chars().next() {
        None => "_".to_owned(),
        Some('0'..='9') => format!("_{name}"),
        Some(_) => name,
    }
}

fn annotations(notice: &Notice, run: &Run) -> Map<String, Value> {
    let mut annotations = Map::new();
    let mut add = |name: &str, value: String| {
        if !value.is_empty() {
            annotations.insert(name.to_owned(), Value::String(value));
        }
    };
    add("summary", notice.summary.clone());
    add("value", notice.value.map(shown).unwrap_or_default());
    add("trace_ids", notice.exemplars.join(","));
    add("run", run.id.clone());
    add("result", run.result.clone().unwrap_or_default());
    annotations
}

/// Where the alert comes from: the folder of the run's files where `results` shows it to browsers, else on this machine.
fn generator_url(run: &Run, results: Option<&Url>) -> Option<String> {
    let result = run.result.as_deref()?;
    let Some(results) = results else { return Url::from_directory_path(result).ok().map(String::from) };
    // What ends with a slash is a folder to a web server too.
    names::address(results, run, "").map(String::from)
}

fn starts_ms(notice: &Notice) -> i64 {
    notice.fired_ms.unwrap_or(notice.since_ms)
}

/// The alerts of a webhook of version 4, with the fields that they have in common.
pub(super) fn webhook_alerts(
    report: &Report,
    run: &Run,
    receiver: &str,
    notices: &[Notice],
    results: Option<&Url>,
) -> Map<String, Value> {
    let all: Vec<&Notice> = told(notices).collect();
    let link = generator_url(run, results);
    let alerts: Vec<Value> =
        all.iter().take(MOST_ALERTS).map(|notice| webhook_alert(notice, run, link.as_deref())).collect();
    let is_firing = all.iter().any(|notice| notice.state == AlertState::Firing);
    let fields = json!({
        "version": "4",
        "groupKey": format!("{{}}:{{report={:?}}}", report.name),
        "truncatedAlerts": all.len() - alerts.len(),
        "status": if is_firing { "firing" } else { "resolved" },
        "receiver": receiver,
        "groupLabels": { "report": report.name },
        "commonLabels": common(&alerts, "labels"),
        "commonAnnotations": common(&alerts, "annotations"),
        "externalURL": results.map(Url::as_str).unwrap_or_default(),
        "alerts": alerts,
    });
    match fields {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn webhook_alert(notice: &Notice, run: &Run, link: Option<&str>) -> Value {
    let is_firing = notice.state == AlertState::Firing;
    let labels = labels(notice);
    json!({
        "status": if is_firing { "firing" } else { "resolved" },
        "fingerprint": fingerprint(&labels),
        "labels": labels,
        "annotations": annotations(notice, run),
        "startsAt": rfc3339(starts_ms(notice)),
        "endsAt": if is_firing { NO_END.to_owned() } else { rfc3339(notice.since_ms) },
        "generatorURL": link.unwrap_or_default(),
    })
}

/// The hash by which Prometheus and its Alertmanager know a set of labels: FNV-1a over names and values in the order of names, a byte that
/// no text has after each.
fn fingerprint(labels: &Map<String, Value>) -> String {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    const SEPARATOR: u8 = 0xff;
    let mut pairs: Vec<_> =
        labels.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default())).collect();
    pairs.sort_unstable();
    let texts = pairs.into_iter().flat_map(|(name, value)| [name, value]);
    let bytes = texts.flat_map(|text| text.bytes().chain([SEPARATOR]));
    let hash = bytes.fold(OFFSET, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

/// The fields that all alerts have with the same value.
fn common(alerts: &[Value], part: &str) -> Map<String, Value> {
    let mut parts = alerts.iter().filter_map(|alert| alert[part].as_object());
    let mut common = parts.next().cloned().unwrap_or_default();
    for other in parts {
        common.retain(|name, value| other.get(name) == Some(value));
    }
    common
}

/// The body of `POST /api/v2/alerts`; `None` when there is nothing to tell.
///
/// A firing alert is told in each run and ends by itself at `until_ms` unless a later run tells it again: an Alertmanager takes it for
/// resolved when we are gone.
pub(super) fn api_alerts(run: &Run, notices: &[Notice], until_ms: i64, results: Option<&Url>) -> Option<Value> {
    let link = generator_url(run, results);
    let alerts: Vec<Value> = told(notices).map(|notice| api_alert(notice, run, until_ms, link.as_deref())).collect();
    (!alerts.is_empty()).then_some(Value::Array(alerts))
}

fn api_alert(notice: &Notice, run: &Run, until_ms: i64, link: Option<&str>) -> Value {
    let ends_ms = match notice.state {
        AlertState::Firing => until_ms,
        // It may not end before it began, whatever the clock did between.
        _ => notice.since_ms.max(starts_ms(notice)),
    };
    let mut alert = json!({
        "labels": labels(notice),
        "annotations": annotations(notice, run),
        "startsAt": rfc3339(starts_ms(notice)),
        "endsAt": rfc3339(ends_ms),
    });
    if let Some(link) = link {
        alert["generatorURL"] = json!(link);
    }
    alert
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::delivery::testing::{notice, report, run};

    #[test]
    fn label_names_are_prometheus() {
        for (column, expected) in [
            ("service_name", "service_name"),
            ("service.name", "service_name"),
            ("Größe", "Gr__e"),
            ("2nd", "_2nd"),
            ("__name__", "_name__"),
            ("", "_"),
            ("_x", "_x"),
            ("a\"b\n", "a_b_"),
        ] {
            assert_eq!(label_name(column), expected, "{column}");
        }
    }

    #[test]
    fn no_column_takes_the_place_of_another_label() {
        let columns = [("severity", "x"), ("a.b", "1"), ("a_b", "2"), ("empty", "")];
        let labels_of = columns.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let labels = labels(&Notice { labels: labels_of, ..notice("cart", AlertState::Firing) });
        let expected = json!({
            "alertname": "errors", "report": "health", "severity": "page", "exported_severity": "x", "a_b": "1",
            "exported_a_b": "2",
        });
        assert_eq!(Value::Object(labels), expected);
    }

    #[test]
    fn a_webhook_has_the_shape_of_version_4() {
        let quiet = Notice { silenced_by: Some("x".to_owned()), ..notice("mute", AlertState::Firing) };
        let notices = [notice("cart", AlertState::Firing), notice("shop", AlertState::Resolved), quiet];
        let body = Value::Object(webhook_alerts(&report(), &run(), "hook", &notices, None));
        assert_eq!(body["alerts"].as_array().map(Vec::len), Some(2), "a silenced alert is not told");
        let fingerprint = body["alerts"][0]["fingerprint"].as_str().expect("a fingerprint").to_owned();
        assert_ne!(body["alerts"][1]["fingerprint"].as_str(), Some(fingerprint.as_str()));
        let annotations = json!({
            "summary": "error_rate is 0.25, above 0.05", "value": "0.25", "trace_ids": "0af7651916cd43dd8448eb211c80319c",
            "run": "health@2026-03-29T05:00:00Z", "result": "/data/reports/results/health/1",
        });
        assert_eq!(
            body["alerts"][0],
            json!({
                "status": "firing",
                "fingerprint": fingerprint,
                "labels": {"alertname": "errors", "report": "health", "severity": "page", "service_name": "cart"},
                "annotations": annotations,
                "startsAt": "2026-03-29T04:00:01.000Z",
                "endsAt": "0001-01-01T00:00:00Z",
                "generatorURL": "file:///data/reports/results/health/1/",
            })
        );
        assert_eq!(body["alerts"][1]["endsAt"], "2026-03-29T05:00:01.000Z");
        assert_eq!(body["commonLabels"], json!({"alertname": "errors", "report": "health", "severity": "page"}));
        assert_eq!(body["commonAnnotations"], annotations);
        assert_eq!(
            (&body["version"], &body["status"], &body["receiver"]),
            (&json!("4"), &json!("firing"), &json!("hook"))
        );
        assert_eq!(
            (&body["groupKey"], &body["groupLabels"]),
            (&json!("{}:{report=\"health\"}"), &json!({"report": "health"}))
        );
        assert_eq!(body["truncatedAlerts"], 0);
        let many: Vec<_> = (0..1002).map(|at| notice(&format!("s{at}"), AlertState::Resolved)).collect();
        let body = Value::Object(webhook_alerts(&report(), &run(), "hook", &many, None));
        assert_eq!((&body["truncatedAlerts"], &body["status"]), (&json!(2), &json!("resolved")));
    }

    #[test]
    fn the_api_is_told_when_an_alert_ends() {
        let ended = Notice { fired_ms: Some(1_774_760_500_000), ..notice("back", AlertState::Resolved) };
        let notices = [notice("cart", AlertState::Firing), notice("shop", AlertState::Resolved), ended];
        let body = api_alerts(&run(), &notices, 1_774_770_000_000, None).expect("alerts");
        let times: Vec<_> =
            [0, 1, 2].map(|at: usize| (body[at]["startsAt"].as_str(), body[at]["endsAt"].as_str())).to_vec();
        assert_eq!(times[0], (Some("2026-03-29T04:00:01.000Z"), Some("2026-03-29T07:40:00.000Z")));
        assert_eq!(times[1], (Some("2026-03-29T04:00:01.000Z"), Some("2026-03-29T05:00:01.000Z")));
        assert_eq!(times[2].0, times[2].1, "the clock went back between");
        let pending = [notice("cart", AlertState::Pending)];
        assert_eq!(api_alerts(&run(), &pending, 0, None), None);
        let without = Run { result: Some("results/health/1".to_owned()), ..run() };
        assert!(api_alerts(&without, &notices, 0, None).expect("alerts")[0].get("generatorURL").is_none());
    }

    #[test]
    fn a_link_leads_to_the_files_of_the_run() {
        let link = |run: &Run, results: Option<&str>| {
            let results = results.map(|text| Url::parse(text).expect(text));
            generator_url(run, results.as_ref())
        };
        let here = "file:///data/reports/results/health/1/";
        let shown = "https://reports.example/health/2026-03-29T050000Z/";
        for (results, expected) in [
            (None, here),
            (Some("https://reports.example"), shown),
            (Some("https://reports.example/"), shown),
            (Some("https://s3.example/b/a%20b/?v=1"), "https://s3.example/b/a%20b/health/2026-03-29T050000Z/?v=1"),
        ] {
            assert_eq!(link(&run(), results).as_deref(), Some(expected), "{results:?}");
        }
        // It made no files.
        assert_eq!(link(&Run { result: None, ..run() }, Some("https://reports.example")), None);
    }
}
