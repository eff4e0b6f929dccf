//! Documents by hand; those of Jaeger's own tests are in `tests/it/formats`.

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value as Json, json};

use super::*;
use crate::formats::hex;
use crate::formats::otlp_json::request_json;

fn one_span(document: &Json) -> Span {
    let converted = from_json(document.to_string().as_bytes()).expect("Jaeger JSON");
    assert_eq!(converted.refused, []);
    converted.request.resource_spans[0].scope_spans[0].spans[0].clone()
}

fn span(fields: Json) -> Json {
    let mut span = json!({"traceID": "1", "spanID": "2", "operationName": "op", "startTime": 1000, "duration": 5,
        "processID": "p1"});
    for (key, value) in fields.as_object().expect("fields") {
        span[key] = value.clone();
    }
    json!({"traceID": "1", "spans": [span], "processes": {"p1": {"serviceName": "shop", "tags": []}}})
}

#[test]
fn tags_that_otlp_has_fields_for_become_those() {
    let tag = |key: &str, value: Json| json!({"key": key, "value": value});
    let from = one_span(&span(json!({"tags": [
        tag("span.kind", json!("client")), tag("error", json!(true)), tag("otel.status_code", json!("OK")),
        tag("otel.status_description", json!("no")), tag("w3c.tracestate", json!("a=b")),
        tag("otel.dropped_events_count", json!(3)), tag("left", json!([1, "a"]))]})));
    let status = from.status.clone().expect("a status");
    assert_eq!((from.kind, status.code, status.message.as_str()), (3, 2, "no"), "error outweighs the code");
    assert_eq!((from.trace_state.as_str(), from.dropped_events_count), ("a=b", 3));
    assert_eq!(from.attributes.iter().map(|attribute| attribute.key.as_str()).collect::<Vec<_>>(), ["left"]);
    let kept = one_span(&span(json!({"tags": [tag("span.kind", json!("teapot")), tag("error", json!(false))]})));
    assert_eq!((kept.kind, kept.attributes.len(), kept.status), (0, 2, None));
}

#[test]
fn the_parent_is_a_reference_of_the_trace_and_others_are_links() {
    let reference = |kind: &str, trace: &str, span: &str| json!({"refType": kind, "traceID": trace, "spanID": span});
    let from = one_span(&span(json!({"references": [reference("CHILD_OF", "ff", "3"),
        reference("FOLLOWS_FROM", "1", "4"), reference("CHILD_OF", "0000000000000001", "5")]})));
    assert_eq!(hex(&from.parent_span_id), "0000000000000005");
    assert_eq!(
        from.links.iter().map(|link| hex(&link.span_id)).collect::<Vec<_>>(),
        ["0000000000000003", "0000000000000004"]
    );
    let follows = one_span(&span(json!({"references": [reference("FOLLOWS_FROM", "1", "4")]})));
    assert_eq!((hex(&follows.parent_span_id).as_str(), follows.links.len()), ("0000000000000004", 1));
    let old = one_span(&span(json!({"parentSpanID": "6"})));
    assert_eq!(hex(&old.parent_span_id), "0000000000000006");
}

#[test]
fn what_goes_out_comes_back() {
    let tags = json!([{"key": "n", "type": "int64", "value": "9223372036854775222"},
        {"key": "f", "type": "float64", "value": 1.5}, {"key": "b", "type": "binary", "value": "AAE="},
        {"key": "span.kind", "type": "string", "value": "server"}, {"key": "error", "type": "bool", "value": true}]);
    let logs = json!([{"timestamp": 1001, "fields": [{"key": "event", "type": "string", "value": "e"}, {"key": "k", "type": "bool", "value": false}]}]);
    let document = span(json!({"tags": tags, "logs": logs, "flags": 1,
        "references": [{"refType": "CHILD_OF", "traceID": "1", "spanID": "7"}, {"refType": "FOLLOWS_FROM", "traceID": "8", "spanID": "9"}]}));
    let first = from_json(document.to_string().as_bytes()).expect("Jaeger JSON").request;
    let again = from_json(trace_json(&first).to_string().as_bytes()).expect("Jaeger JSON").request;
    assert_eq!(request_json(&again), request_json(&first));
}

#[test]
fn mistakes_are_named_with_their_places() {
    let refused = |fields: Json| {
        let converted = from_json(span(fields).to_string().as_bytes()).expect("Jaeger JSON");
        assert!(converted.request.resource_spans.is_empty());
        format!("{}: {}", converted.refused[0].place, converted.refused[0].why)
    };
    let cases = [
        (json!({"spanID": "trace-1"}), "spans[0]: spanID \"trace-1\" is no id of up to 16 hex digits"),
        (json!({"startTime": "soon"}), "spans[0]: startTime is \"soon\", which is no number of microseconds"),
        (json!({"processID": "p9"}), "spans[0]: there is no process \"p9\""),
        (json!({"startTime": u64::MAX}), "spans[0]: startTime 18446744073709551615 is out of range"),
        (
            json!({"tags": [{"key": "k", "type": "int64", "value": "x"}]}),
            "spans[0]: the tag \"k\" holds \"x\", which is no int64",
        ),
    ];
    for (fields, wanted) in cases {
        assert_eq!(refused(fields), wanted);
    }
    let error = from_json(b"{\"data\": [{\"spans\": 5}]}").expect_err("no list").to_string();
    assert!(error.contains("line 1 column"), "{error}");
    let error = from_json(br#"{"data":null,"errors":[{"code":404,"msg":"trace not found"}]}"#).expect_err("an error");
    assert!(error.to_string().contains("trace not found"), "{error}");
}
