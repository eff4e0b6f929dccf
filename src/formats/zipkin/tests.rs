//! Examples of Zipkin's own documents and API, and what the specification makes of them.

use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::json;

use super::*;
use crate::formats::build::find_text;
use crate::formats::hex;

/// The spans with their services.
fn spans(document: &Json) -> Vec<(String, Span)> {
    let converted = from_json(document.to_string().as_bytes()).expect("Zipkin JSON");
    assert_eq!(converted.refused, []);
    let resources = converted.request.resource_spans.into_iter();
    resources
        .flat_map(|resource| {
            let service =
                find_text(&resource.resource.unwrap_or_default().attributes, "service.name").map(str::to_owned);
            let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            spans.map(move |span| (service.clone().unwrap_or_default(), span)).collect::<Vec<_>>()
        })
        .collect()
}

fn attributes(span: &Span) -> Vec<(&str, String)> {
    let text = |value: &_| crate::formats::otlp_json::plain_json(value).to_string();
    span.attributes
        .iter()
        .map(|attribute| {
            let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
            (attribute.key.as_str(), value.map(text).unwrap_or_default())
        })
        .collect()
}

/// The example of Zipkin's API description (`zipkin2-api.yaml`).
#[test]
fn a_span_of_version_2_keeps_all_that_it_says() {
    let document = json!([{
        "id": "352bff9a74ca9ad2", "traceId": "5af7183fb1d4cf5f", "parentId": "6b221d5bc9e6496c", "name": "get /api",
        "timestamp": 1556604172355737u64, "duration": 1431, "kind": "SERVER",
        "localEndpoint": {"serviceName": "backend", "ipv4": "192.168.99.1", "port": 3306},
        "remoteEndpoint": {"ipv4": "172.19.0.2", "port": 58648},
        "tags": {"http.method": "GET", "http.path": "/api", "error": "timed out"},
        "annotations": [{"timestamp": 1556604172355800u64, "value": "foo"},
            {"timestamp": 1556604172355900u64, "value": "\"bar\": {\"n\": \"1\"}"}]
    }]);
    let found = spans(&document);
    let [(service, span)] = &found[..] else { panic!("one span, not {}", found.len()) };
    assert_eq!((service.as_str(), span.name.as_str(), span.kind), ("backend", "get /api", 2));
    assert_eq!(hex(&span.trace_id), "00000000000000005af7183fb1d4cf5f");
    assert_eq!(
        (hex(&span.span_id).as_str(), hex(&span.parent_span_id).as_str()),
        ("352bff9a74ca9ad2", "6b221d5bc9e6496c")
    );
    assert_eq!(span.start_time_unix_nano, 1_556_604_172_355_737_000);
    assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, 1_431_000);
    let status = span.status.clone().expect("a status");
    assert_eq!((status.code, status.message.as_str()), (2, "timed out"));
    let wanted = [
        ("http.method", "\"GET\""),
        ("http.path", "\"/api\""),
        ("net.host.ip", "\"192.168.99.1\""),
        ("net.host.port", "3306"),
        ("net.peer.ip", "\"172.19.0.2\""),
        ("net.peer.port", "58648"),
    ];
    assert_eq!(attributes(span), wanted.map(|(key, value)| (key, value.to_owned())));
    let events: Vec<(&str, usize)> =
        span.events.iter().map(|event| (event.name.as_str(), event.attributes.len())).collect();
    assert_eq!(events, [("foo", 0), ("bar", 1)]);
}

/// The shared span of Zipkin's instrumentation guide, in version 1: one object with both sides.
#[test]
fn both_sides_of_a_call_in_version_1_are_two_spans() {
    let (client, server) = (json!({"serviceName": "web", "ipv4": "10.0.0.1"}), json!({"serviceName": "db"}));
    let at = |timestamp: u64, value: &str, endpoint: &Json| json!({"timestamp": timestamp, "value": value, "endpoint": endpoint});
    let document = json!([
        {"traceId": "463ac35c9f6413ad48485a3953bb6124", "id": "a2fb4a1d1a96d312", "name": "get",
         "timestamp": 1_000_000, "duration": 900,
         "annotations": [at(1_000_000, "cs", &client), at(1_000_100, "sr", &server), at(1_000_200, "ws.read", &server),
                         at(1_000_700, "ss", &server), at(1_000_900, "cr", &client)],
         "binaryAnnotations": [{"key": "sa", "value": true, "endpoint": {"serviceName": "db", "ipv4": "10.0.0.2"}},
                               {"key": "http.path", "value": "/x", "endpoint": client},
                               {"key": "rows", "value": 7, "endpoint": server}]},
        {"traceId": "463ac35c9f6413ad48485a3953bb6124", "id": "0000000000000007", "parentId": "a2fb4a1d1a96d312",
         "name": "parse", "timestamp": 1_000_150, "duration": 5,
         "binaryAnnotations": [{"key": "lc", "value": "parser", "endpoint": server}]}
    ]);
    let found = spans(&document);
    let by = |kind: i32| found.iter().find(|(_, span)| span.kind == kind).expect("a side");
    let ((caller, call), (callee, answer)) = (by(3), by(2));
    assert_eq!((caller.as_str(), callee.as_str()), ("web", "db"));
    assert_eq!((call.start_time_unix_nano, call.end_time_unix_nano), (1_000_000_000, 1_000_900_000));
    assert_eq!((answer.start_time_unix_nano, answer.end_time_unix_nano), (1_000_100_000, 1_000_700_000));
    assert_eq!(hex(&call.span_id), "a2fb4a1d1a96d312");
    assert!(call.parent_span_id.is_empty());
    assert_eq!(answer.parent_span_id, call.span_id);
    assert_ne!(answer.span_id, call.span_id);
    assert_eq!(answer.events[0].name, "ws.read");
    assert_eq!(
        attributes(call),
        [
            ("http.path", "\"/x\"".to_owned()),
            ("net.host.ip", "\"10.0.0.1\"".to_owned()),
            ("net.peer.ip", "\"10.0.0.2\"".to_owned()),
            ("peer.service", "\"db\"".to_owned()),
        ]
    );
    assert_eq!(attributes(answer), [("rows", "7".to_owned())]);
    let (_, child) = found.iter().find(|(_, span)| span.name == "parse").expect("the child");
    assert_eq!(child.parent_span_id, answer.span_id, "what the server did is below the server");
    assert_eq!(child.kind, 0);
}

#[test]
fn sides_in_objects_of_their_own_are_found_and_the_callers_children_stay() {
    let half = |kind: &str, service: &str, shared: bool| {
        json!({"traceId": "1", "id": "2", "kind": kind, "timestamp": 10, "duration": 5, "shared": shared,
            "localEndpoint": {"serviceName": service}})
    };
    let child = |id: &str, service: &str| json!({"traceId": "1", "id": id, "parentId": "2", "timestamp": 11, "localEndpoint": {"serviceName": service}});
    let document = json!([[half("SERVER", "b", true), half("CLIENT", "a", false), child("3", "a"), child("4", "b")]]);
    let found = spans(&document);
    let span = |id: &str| found.iter().map(|(_, span)| span).find(|span| hex(&span.span_id).ends_with(id)).expect(id);
    let server = found.iter().map(|(_, span)| span).find(|span| span.kind == 2).expect("the server");
    assert_eq!(hex(&server.parent_span_id), "0000000000000002");
    assert_eq!(hex(&span("0003").parent_span_id), "0000000000000002");
    assert_eq!(span("0004").parent_span_id, server.span_id);
    // Alone, the server's side keeps its id.
    let alone = spans(&json!([half("SERVER", "b", true)]));
    assert_eq!(hex(&alone[0].1.span_id), "0000000000000002");
}

#[test]
fn a_span_that_cannot_be_converted_is_refused_alone() {
    let document = json!([{"traceId": "x", "id": "1", "timestamp": 1}, {"traceId": "1", "id": "1"},
        {"traceId": "1", "id": "1", "timestamp": 1}]);
    let converted = from_json(document.to_string().as_bytes()).expect("Zipkin JSON");
    let refused: Vec<String> =
        converted.refused.iter().map(|refused| format!("{}: {}", refused.place, refused.why)).collect();
    assert_eq!(refused, ["spans[0]: traceId \"x\" is no id of up to 32 hex digits", "spans[1]: it has no timestamp"]);
    assert_eq!(converted.request.resource_spans[0].scope_spans[0].spans.len(), 1);
    let error = from_json(b"[{\"traceId\": 5}]").expect_err("no text").to_string();
    assert!(
        error.starts_with("it is not Zipkin JSON: invalid type: integer `5`") && error.contains("line 1 column"),
        "{error}"
    );
}
