//! OTLP becomes Jaeger JSON.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Map, Value as Json, json};

use super::{CHILD_OF, FOLLOWS_FROM, NO_SERVICE, tag};
use crate::formats::build::{find_text, text_of};
use crate::formats::hex;
use crate::formats::names::{span_kind_tag, status_tag};
use crate::formats::otlp_json::plain_json;

/// The text around and between the traces of a document.
pub struct JaegerTraces;

impl JaegerTraces {
    pub const BEFORE: &'static str = "{\"data\":[";
    pub const BETWEEN: &'static str = ",\n";
    pub const AFTER: &'static str = "],\"total\":0,\"limit\":0,\"offset\":0,\"errors\":null}\n";
}

/// The spans of one trace as Jaeger's API gives a trace.
pub fn trace_json(request: &ExportTraceServiceRequest) -> Json {
    let mut processes = Processes::default();
    let (mut spans, mut trace_id) = (Vec::new(), String::new());
    for resource_spans in &request.resource_spans {
        let resource = resource_spans.resource.clone().unwrap_or_default();
        let process = processes.of(&resource);
        for scope_spans in &resource_spans.scope_spans {
            let scope = scope_spans.scope.clone().unwrap_or_default();
            for span in &scope_spans.spans {
                trace_id = hex(&span.trace_id);
                spans.push(span_json(span, &scope, &process));
            }
        }
    }
    json!({"traceID": trace_id, "spans": spans, "processes": processes.json, "warnings": null})
}

#[derive(Default)]
struct Processes {
    ids: HashMap<String, String>,
    json: Map<String, Json>,
}

impl Processes {
    /// The id of a resource's process.
    fn of(&mut self, resource: &Resource) -> String {
        let service = find_text(&resource.attributes, tag::SERVICE_NAME).unwrap_or(NO_SERVICE);
        let others = resource
            .attributes
            .iter()
            .filter(|attribute| attribute.key != tag::SERVICE_NAME || text_of(attribute).is_none());
        let process = json!({"serviceName": service, "tags": others.map(tag_json).collect::<Vec<_>>()});
        let next = format!("p{}", self.ids.len() + 1);
        let id = self.ids.entry(process.to_string()).or_insert(next).clone();
        self.json.entry(id.clone()).or_insert(process);
        id
    }
}

fn span_json(span: &Span, scope: &InstrumentationScope, process: &str) -> Json {
    let mut out = json!({"traceID": hex(&span.trace_id), "spanID": hex(&span.span_id)});
    if span.flags & 1 != 0 {
        out["flags"] = json!(1);
    }
    out["operationName"] = json!(span.name);
    out["references"] = references(span);
    out["startTime"] = json!(span.start_time_unix_nano / 1_000);
    out["duration"] = json!(span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano) / 1_000);
    out["tags"] = tags(span, scope);
    out["logs"] = span
        .events
        .iter()
        .map(|event| {
            let name = Some(&event.name).filter(|name| !name.is_empty()).map(|name| text_tag(tag::EVENT, name));
            let dropped = count_tag(tag::DROPPED_ATTRIBUTES, event.dropped_attributes_count);
            let fields: Vec<Json> =
                name.into_iter().chain(event.attributes.iter().map(tag_json)).chain(dropped).collect();
            json!({"timestamp": event.time_unix_nano / 1_000, "fields": fields})
        })
        .collect();
    out["processID"] = json!(process);
    out["warnings"] = Json::Null;
    out
}

/// The parent as the reference of a child, then the links.
fn references(span: &Span) -> Json {
    let reference = |kind: &str, trace_id: &[u8], span_id: &[u8]| json!({"refType": kind, "traceID": hex(trace_id), "spanID": hex(span_id)});
    let parent = Some(&span.parent_span_id).filter(|parent| !parent.is_empty());
    let parent = parent.map(|parent| reference(CHILD_OF, &span.trace_id, parent));
    let links = span.links.iter().map(|link| {
        let kind = match find_text(&link.attributes, tag::REF_TYPE) {
            Some("child_of") => CHILD_OF,
            _ => FOLLOWS_FROM,
        };
        reference(kind, &link.trace_id, &link.span_id)
    });
    parent.into_iter().chain(links).collect()
}

/// The scope, the attributes, and then what OTLP has fields for.
fn tags(span: &Span, scope: &InstrumentationScope) -> Json {
    let text = |key, text: &str| Some(text).filter(|text| !text.is_empty()).map(|text| text_tag(key, text));
    let mut tags: Vec<Json> = Vec::with_capacity(span.attributes.len() + 4);
    tags.extend(text(tag::SCOPE_NAME, &scope.name));
    tags.extend(text(tag::SCOPE_VERSION, &scope.version));
    tags.extend(span.attributes.iter().map(tag_json));
    tags.extend(span_kind_tag(span.kind).map(|kind| text_tag(tag::KIND, &kind)));
    if let Some(status) = &span.status {
        tags.extend(status_tag(status.code).map(|code| text_tag(tag::STATUS_CODE, code)));
        if status.code == 2 {
            tags.push(json!({"key": tag::ERROR, "type": "bool", "value": true}));
        }
        tags.extend(text(tag::STATUS_DESCRIPTION, &status.message));
    }
    tags.extend(text(tag::TRACE_STATE, &span.trace_state));
    tags.extend(count_tag(tag::DROPPED_ATTRIBUTES, span.dropped_attributes_count));
    tags.extend(count_tag(tag::DROPPED_EVENTS, span.dropped_events_count));
    tags.extend(count_tag(tag::DROPPED_LINKS, span.dropped_links_count));
    Json::Array(tags)
}

fn text_tag(key: &str, text: &str) -> Json {
    json!({"key": key, "type": "string", "value": text})
}

fn count_tag(key: &str, count: u32) -> Option<Json> {
    (count > 0).then(|| json!({"key": key, "type": "int64", "value": count}))
}

/// The largest integer that a JavaScript reader keeps; larger ones are written as texts, as Jaeger does.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

fn tag_json(attribute: &KeyValue) -> Json {
    let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
    let (kind, value) = match value {
        Some(Value::StringValue(text)) => ("string", json!(text)),
        Some(Value::BoolValue(value)) => ("bool", json!(value)),
        Some(Value::IntValue(value)) if value.unsigned_abs() > MAX_SAFE_INTEGER => ("int64", json!(value.to_string())),
        Some(Value::IntValue(value)) => ("int64", json!(value)),
        Some(Value::DoubleValue(value)) if !value.is_finite() => ("float64", json!(value.to_string())),
        Some(Value::DoubleValue(value)) => ("float64", json!(value)),
        Some(Value::BytesValue(bytes)) => ("binary", json!(BASE64.encode(bytes))),
        Some(other) => ("string", json!(plain_json(other).to_string())),
        None => ("string", json!("")),
    };
    json!({"key": attribute.key, "type": kind, "value": value})
}
