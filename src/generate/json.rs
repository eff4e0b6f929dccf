//! Generated spans as OTLP JSON: lowerCamelCase names, hex ids, 64-bit integers as strings.

use serde_json::{Value as Json, json};

use super::attributes::SCOPES;
use super::fleet::Fleet;
use super::span::{Attributes, Event, Link, Span, Status, Value};
use super::wire::SCHEMA_URL;

/// The request that holds `spans`, which are grouped by instance and then by scope in the order of `groups`.
pub(super) fn request(groups: &[&Span], fleet: &Fleet) -> Json {
    let resource_spans = groups.chunk_by(|left, right| left.instance == right.instance).map(|of_instance| {
        let scope_spans = of_instance.chunk_by(|left, right| left.scope == right.scope).map(|of_scope| {
            let (name, version) = SCOPES[of_scope[0].scope];
            let spans: Vec<Json> = of_scope.iter().map(|span| span_json(span)).collect();
            json!({"scope": {"name": name, "version": version}, "spans": spans, "schemaUrl": SCHEMA_URL})
        });
        let resource = attributes_json(&fleet.instances[of_instance[0].instance].resource);
        json!({
            "resource": {"attributes": resource},
            "scopeSpans": scope_spans.collect::<Vec<_>>(),
            "schemaUrl": SCHEMA_URL,
        })
    });
    json!({"resourceSpans": resource_spans.collect::<Vec<_>>()})
}

fn span_json(span: &Span) -> Json {
    let mut out = json!({
        "traceId": hex(&span.trace_id),
        "spanId": hex(&span.span_id),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": span.start_ns.to_string(),
        "endTimeUnixNano": span.end_ns.to_string(),
        "attributes": attributes_json(&span.attributes),
        "flags": span.flags,
    });
    if !span.trace_state.is_empty() {
        out["traceState"] = json!(span.trace_state);
    }
    if let Some(parent) = &span.parent {
        out["parentSpanId"] = json!(hex(parent));
    }
    if !span.events.is_empty() {
        out["events"] = span.events.iter().map(event_json).collect();
    }
    if !span.links.is_empty() {
        out["links"] = span.links.iter().map(|link| link_json(link, span.trace_state)).collect();
    }
    match &span.status {
        Status::Unset => {}
        Status::Ok => out["status"] = json!({"code": 1}),
        Status::Error(message) if message.is_empty() => out["status"] = json!({"code": 2}),
        Status::Error(message) => out["status"] = json!({"code": 2, "message": message}),
    }
    out
}

fn event_json(event: &Event) -> Json {
    let attributes = attributes_json(&event.attributes);
    json!({"timeUnixNano": event.time_ns.to_string(), "name": event.name, "attributes": attributes})
}

fn link_json(link: &Link, trace_state: &str) -> Json {
    let attributes = attributes_json(&link.attributes);
    let mut out = json!({"traceId": hex(&link.trace_id), "spanId": hex(&link.span_id), "attributes": attributes});
    if !trace_state.is_empty() {
        out["traceState"] = json!(trace_state);
    }
    out
}

fn attributes_json(attributes: &Attributes) -> Json {
    attributes.0.iter().map(|(key, value)| json!({"key": key, "value": value_json(value)})).collect()
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::Text(text) => json!({"stringValue": text}),
        Value::Int(number) => json!({"intValue": number.to_string()}),
        Value::Double(number) => json!({"doubleValue": number}),
        Value::Bool(truth) => json!({"boolValue": truth}),
        Value::Texts(texts) => {
            json!({"arrayValue": {"values": texts.iter().map(|text| json!({"stringValue": text})).collect::<Vec<_>>()}})
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
