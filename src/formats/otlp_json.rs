//! OTLP messages as JSON: the JSON of OTLP itself, and plain values for formats without types.
//!
//! OTLP's JSON is protobuf's with two exceptions (*OTLP Specification*, JSON Protobuf Encoding): ids are hex, and enums are numbers. Integers of 64
//! bits are texts, bytes are base64, and what has its default value is left out.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use serde_json::{Map, Value as Json, json};

use super::hex;

/// A request as OTLP JSON.
pub fn request_json(request: &ExportTraceServiceRequest) -> Json {
    json!({"resourceSpans": request.resource_spans.iter().map(resource_spans).collect::<Vec<_>>()})
}

/// An object that leaves defaults out.
#[derive(Default)]
struct Object(Map<String, Json>);

impl Object {
    fn with(mut self, key: &str, value: Json) -> Self {
        self.0.insert(key.to_owned(), value);
        self
    }

    fn text(self, key: &str, text: &str) -> Self {
        if text.is_empty() { self } else { self.with(key, json!(text)) }
    }

    fn count(self, key: &str, count: u32) -> Self {
        if count == 0 { self } else { self.with(key, json!(count)) }
    }

    fn list<T>(self, key: &str, elements: &[T], json: impl Fn(&T) -> Json) -> Self {
        if elements.is_empty() { self } else { self.with(key, elements.iter().map(json).collect()) }
    }

    fn one<T>(self, key: &str, element: Option<&T>, json: impl Fn(&T) -> Json) -> Self {
        match element {
            Some(element) => self.with(key, json(element)),
            None => self,
        }
    }

    fn done(self) -> Json {
        Json::Object(self.0)
    }
}

fn resource_spans(from: &ResourceSpans) -> Json {
    Object::default()
        .one("resource", from.resource.as_ref(), resource)
        .list("scopeSpans", &from.scope_spans, scope_spans)
        .text("schemaUrl", &from.schema_url)
        .done()
}

fn resource(from: &Resource) -> Json {
    Object::default()
        .list("attributes", &from.attributes, key_value)
        .count("droppedAttributesCount", from.dropped_attributes_count)
        .done()
}

fn scope_spans(from: &ScopeSpans) -> Json {
    Object::default()
        .one("scope", from.scope.as_ref(), scope)
        .list("spans", &from.spans, span)
        .text("schemaUrl", &from.schema_url)
        .done()
}

fn scope(from: &InstrumentationScope) -> Json {
    Object::default()
        .text("name", &from.name)
        .text("version", &from.version)
        .list("attributes", &from.attributes, key_value)
        .count("droppedAttributesCount", from.dropped_attributes_count)
        .done()
}

fn span(from: &Span) -> Json {
    let mut out = Object::default()
        .with("traceId", json!(hex(&from.trace_id)))
        .with("spanId", json!(hex(&from.span_id)))
        .text("traceState", &from.trace_state)
        .text("parentSpanId", &hex(&from.parent_span_id))
        .text("name", &from.name);
    if from.kind != 0 {
        out = out.with("kind", json!(from.kind));
    }
    out.with("startTimeUnixNano", json!(from.start_time_unix_nano.to_string()))
        .with("endTimeUnixNano", json!(from.end_time_unix_nano.to_string()))
        .list("attributes", &from.attributes, key_value)
        .count("droppedAttributesCount", from.dropped_attributes_count)
        .list("events", &from.events, event)
        .count("droppedEventsCount", from.dropped_events_count)
        .list("links", &from.links, link)
        .count("droppedLinksCount", from.dropped_links_count)
        .one("status", from.status.as_ref(), status)
        .count("flags", from.flags)
        .done()
}

fn event(from: &Event) -> Json {
    Object::default()
        .with("timeUnixNano", json!(from.time_unix_nano.to_string()))
        .text("name", &from.name)
        .list("attributes", &from.attributes, key_value)
        .count("droppedAttributesCount", from.dropped_attributes_count)
        .done()
}

fn link(from: &Link) -> Json {
    Object::default()
        .with("traceId", json!(hex(&from.trace_id)))
        .with("spanId", json!(hex(&from.span_id)))
        .text("traceState", &from.trace_state)
        .list("attributes", &from.attributes, key_value)
        .count("droppedAttributesCount", from.dropped_attributes_count)
        .count("flags", from.flags)
        .done()
}

fn status(from: &Status) -> Json {
    let out = Object::default().text("message", &from.message);
    if from.code == 0 { out.done() } else { out.with("code", json!(from.code)).done() }
}

fn key_value(from: &KeyValue) -> Json {
    Object::default().with("key", json!(from.key)).one("value", from.value.as_ref(), any_value).done()
}

fn any_value(from: &AnyValue) -> Json {
    match &from.value {
        None | Some(Value::StringValueStrindex(_)) => json!({}),
        Some(Value::StringValue(text)) => json!({"stringValue": text}),
        Some(Value::BoolValue(value)) => json!({"boolValue": value}),
        Some(Value::IntValue(value)) => json!({"intValue": value.to_string()}),
        Some(Value::DoubleValue(value)) => json!({"doubleValue": double(*value)}),
        Some(Value::ArrayValue(array)) => {
            json!({"arrayValue": Object::default().list("values", &array.values, any_value).done()})
        }
        Some(Value::KvlistValue(list)) => {
            json!({"kvlistValue": Object::default().list("values", &list.values, key_value).done()})
        }
        Some(Value::BytesValue(bytes)) => json!({"bytesValue": BASE64.encode(bytes)}),
    }
}

/// A number, or the name that protobuf's JSON has for one that JSON has not.
fn double(value: f64) -> Json {
    match value {
        value if value.is_finite() => json!(value),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        _ => json!("NaN"),
    }
}

/// A value as plain JSON: `[1,"a"]`, `{"k":true}`; bytes are base64.
pub(super) fn plain_json(value: &Value) -> Json {
    let of = |value: &AnyValue| value.value.as_ref().map_or(Json::Null, plain_json);
    match value {
        Value::StringValue(text) => json!(text),
        Value::BoolValue(value) => json!(value),
        Value::IntValue(value) => json!(value),
        Value::DoubleValue(value) => double(*value),
        Value::BytesValue(bytes) => json!(BASE64.encode(bytes)),
        Value::ArrayValue(array) => array.values.iter().map(of).collect(),
        Value::KvlistValue(list) => {
            let entry = |entry: &KeyValue| (entry.key.clone(), entry.value.as_ref().map_or(Json::Null, of));
            Json::Object(list.values.iter().map(entry).collect())
        }
        Value::StringValueStrindex(_) => Json::Null,
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::formats::build::attribute;
    use crate::otlp::json_to_protobuf;

    #[test]
    fn what_is_written_reads_back_equal() {
        let array = opentelemetry_proto::tonic::common::v1::ArrayValue {
            values: vec![AnyValue { value: Some(Value::BytesValue(vec![0, 255])) }, AnyValue::default()],
        };
        let values = [
            Value::StringValue("é\"\n".into()),
            Value::BoolValue(false),
            Value::IntValue(i64::MIN),
            Value::DoubleValue(f64::NEG_INFINITY),
            Value::DoubleValue(1e-300),
            Value::ArrayValue(array),
            Value::KvlistValue(opentelemetry_proto::tonic::common::v1::KeyValueList {
                values: vec![attribute("k", Value::IntValue(1)), attribute("k", Value::DoubleValue(1.0))],
            }),
        ];
        let attributes: Vec<KeyValue> = values.into_iter().map(|value| attribute("a", value)).collect();
        let event = Event { time_unix_nano: 5, attributes: attributes.clone(), ..Event::default() };
        let span = Span {
            trace_id: vec![1; 16],
            span_id: vec![2; 8],
            kind: 3,
            start_time_unix_nano: u64::MAX,
            end_time_unix_nano: 1,
            attributes,
            events: vec![event],
            links: vec![Link { trace_id: vec![3; 16], span_id: vec![4; 8], flags: 7, ..Link::default() }],
            status: Some(Status { code: 2, message: "m".into() }),
            flags: 0x301,
            dropped_links_count: 9,
            ..Span::default()
        };
        let scope_spans = vec![ScopeSpans { spans: vec![span], schema_url: "u".into(), ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
        let request = ExportTraceServiceRequest { resource_spans };
        let protobuf = json_to_protobuf(request_json(&request).to_string().as_bytes()).expect("OTLP JSON");
        assert_eq!(ExportTraceServiceRequest::decode(&*protobuf).expect("protobuf"), request);
    }
}
