//! A webhook's body: the run, its files and its alerts as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use url::Url;

use super::Message;
use super::attempt::Failure;
use super::digest::rfc3339;
use super::prometheus::webhook_alerts;
use super::signature::sign;
use crate::report::output::Artifact;

/// Bytes of all files that go into a body; those beyond are only named.
const MOST_ARTIFACT_BYTES: usize = 1 << 20;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const SIGNATURE: &str = "x-spanhouse-signature";
const TIMESTAMP: &str = "x-spanhouse-timestamp";

/// The body: the shape of an Alertmanager's webhook of version 4, with what a report has besides.
pub(super) fn body(message: &Message<'_>, receiver: &str, results: Option<&Url>) -> Bytes {
    let Message { report, run, .. } = message;
    let mut fields = webhook_alerts(report, run, receiver, message.notices, results);
    let time = |ms: Option<i64>| ms.map(rfc3339);
    let parameters: serde_json::Map<_, _> =
        run.parameters.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    let mut left = MOST_ARTIFACT_BYTES;
    let files: Vec<Value> = message.artifacts.iter().map(|artifact| file(artifact, &mut left)).collect();
    fields.insert("key".to_owned(), json!(message.key));
    fields.insert("summary".to_owned(), json!(message.summary));
    let about = json!({"name": report.name, "title": report.title, "description": report.description,
        "owners": report.owners, "version": run.report_version});
    fields.insert("report".to_owned(), about);
    let about = json!({"id": run.id, "cause": run.cause.name(), "status": run.status.name(), "rows": run.rows,
        "error": run.error, "due": rfc3339(run.due_ms), "started": rfc3339(run.started_ms), "ended": time(run.ended_ms),
        "from": time(run.window_from_ms), "to": time(run.window_to_ms), "parameters": parameters,
        "result": run.result});
    fields.insert("run".to_owned(), about);
    fields.insert("files".to_owned(), Value::Array(files));
    Bytes::from(Value::Object(fields).to_string())
}

/// A file with its content, while there is room: text as it is, anything else in base64.
fn file(artifact: &Artifact, left: &mut usize) -> Value {
    let mut file =
        json!({"name": artifact.file_name, "media_type": artifact.media_type, "bytes": artifact.bytes.len()});
    if let Some(rest) = left.checked_sub(artifact.bytes.len()) {
        *left = rest;
        match std::str::from_utf8(&artifact.bytes) {
            Ok(text) => file["text"] = json!(text),
            Err(_) => file["base64"] = json!(STANDARD.encode(&artifact.bytes)),
        }
    }
    file
}

/// The headers beside the body: the key that stays the same over all attempts, and the signature of this one.
pub(super) fn headers(key: &str, signing_key: Option<&str>, now_ms: i64, body: &[u8]) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| Failure::never("its key cannot be a header"));
    headers.insert(IDEMPOTENCY_KEY, value(key)?);
    if let Some(signing_key) = signing_key {
        let timestamp = now_ms.div_euclid(1000);
        let signature = sign(signing_key, timestamp, body).map_err(Failure::never)?;
        headers.insert(TIMESTAMP, value(&timestamp.to_string())?);
        headers.insert(SIGNATURE, value(&signature)?);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::alert::AlertState;
    use crate::report::delivery::testing::{notice, report, run};

    fn artifact(file_name: &str, bytes: impl Into<Bytes>) -> Artifact {
        Artifact { file_name: file_name.to_owned(), media_type: "text/html; charset=utf-8", bytes: bytes.into() }
    }

    #[test]
    fn a_body_has_the_run_its_files_and_its_alerts() {
        let artifacts = [
            artifact("health.html", "<html>ü</html>"),
            artifact("health.parquet", vec![0xff, 0]),
            artifact("large.csv", vec![b'a'; MOST_ARTIFACT_BYTES]),
            artifact("small.csv", "b"),
        ];
        let (report, run) = (report(), run());
        let notices = [notice("cart", AlertState::Firing)];
        let message = Message {
            key: "health@2026-03-29T05:00:00Z/hook".to_owned(),
            report: &report,
            run: &run,
            artifacts: &artifacts,
            notices: &notices,
            summary: "**Daily**".to_owned(),
        };
        let body: Value = serde_json::from_slice(&body(&message, "hook", None)).expect("JSON");
        assert_eq!((&body["version"], &body["alerts"][0]["labels"]["service_name"]), (&json!("4"), &json!("cart")));
        assert_eq!(body["key"], "health@2026-03-29T05:00:00Z/hook");
        assert_eq!(body["report"]["title"], "Daily <health>");
        let run = &body["run"];
        assert_eq!((&run["rows"], &run["status"], &run["cause"]), (&json!(3), &json!("succeeded"), &json!("schedule")));
        assert_eq!(
            (&run["due"], &run["from"]),
            (&json!("2026-03-29T05:00:00.000Z"), &json!("2026-03-28T05:00:00.000Z"))
        );
        assert_eq!(run["parameters"], json!({"service": "%"}));
        assert_eq!(body["files"][0]["text"], "<html>ü</html>");
        assert_eq!(body["files"][1]["base64"], "/wA=");
        assert_eq!(body["files"][2]["bytes"], MOST_ARTIFACT_BYTES);
        assert!(body["files"][2].get("text").is_none(), "there is no room for it");
        assert_eq!(body["files"][3]["text"], "b");
    }

    #[test]
    fn a_key_is_sent_and_a_signature_where_there_is_something_to_sign_with() {
        let plain = headers("a@b/c", None, 1_500, b"{}").expect("headers");
        assert_eq!((plain.len(), plain[IDEMPOTENCY_KEY].as_bytes()), (1, &b"a@b/c"[..]));
        let signed = headers("a@b/c", Some("key"), 1_500, b"{}").expect("headers");
        assert_eq!(signed[TIMESTAMP].as_bytes(), b"1");
        assert_eq!(signed[SIGNATURE].to_str().ok(), sign("key", 1, b"{}").ok().as_deref());
        assert!(headers("a\nb", None, 0, b"").is_err());
    }
}
