//! A span of version 2 becomes OTLP's.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde_json::{Map, Value as Json};

use super::{Annotation, Endpoint, ZipkinSpan};
use crate::formats::build::{Owner, any_value, attribute, from_micros, id, take_count, take_text, text_attribute};
use crate::formats::names::{span_kind, status_code};

/// A span with its owner, and what tells the sides of a call apart.
pub(super) struct ZipkinSide {
    pub owner: Owner,
    pub span: Span,
    pub service: String,
}

pub(super) fn side(from: ZipkinSpan) -> Result<ZipkinSide, String> {
    let first_event = from.annotations.iter().map(|annotation| annotation.timestamp).min();
    let start = from.timestamp.filter(|micros| *micros > 0).or(first_event).ok_or("it has no timestamp")?;
    let start_ns = from_micros("timestamp", start)?;
    let duration_ns = from_micros("duration", from.duration.unwrap_or(0))?;
    let trace_id = id::<16>("traceId", &from.trace_id)?;
    let span_id = id::<8>("id", &from.id)?;
    let parent_span_id = match from.parent_id.trim_start_matches('0') {
        "" => Vec::new(),
        _ => id::<8>("parentId", &from.parent_id)?,
    };
    let mut attributes = attributes(from.tags);
    let service = from.local_endpoint.as_ref().map(|endpoint| endpoint.service_name.clone()).unwrap_or_default();
    addresses(from.local_endpoint.as_ref(), from.remote_endpoint.as_ref(), &mut attributes);
    let scope = InstrumentationScope {
        name: take_text(&mut attributes, "otel.scope.name")
            .or_else(|| take_text(&mut attributes, "otel.library.name"))
            .unwrap_or_default(),
        version: take_text(&mut attributes, "otel.scope.version")
            .or_else(|| take_text(&mut attributes, "otel.library.version"))
            .unwrap_or_default(),
        ..InstrumentationScope::default()
    };
    let kind = match from.kind.as_str() {
        "" => take_text(&mut attributes, "span.kind").and_then(|kind| span_kind(&kind)),
        kind => Some(span_kind(kind).ok_or_else(|| format!("kind {kind:?} is none of Zipkin's"))?),
    };
    let resource = match service.as_str() {
        "" => Resource::default(),
        service => Resource { attributes: vec![text_attribute("service.name", service)], ..Resource::default() },
    };
    let span = Span {
        // A root of old tracers names itself as its parent.
        parent_span_id: if parent_span_id == span_id { Vec::new() } else { parent_span_id },
        trace_id,
        span_id,
        name: from.name,
        kind: kind.unwrap_or(0),
        start_time_unix_nano: start_ns,
        end_time_unix_nano: start_ns.checked_add(duration_ns).ok_or("timestamp and duration are out of range")?,
        status: status(&mut attributes),
        trace_state: take_text(&mut attributes, "w3c.tracestate").unwrap_or_default(),
        dropped_attributes_count: take_count(&mut attributes, "otel.dropped_attributes_count"),
        dropped_events_count: take_count(&mut attributes, "otel.dropped_events_count"),
        dropped_links_count: take_count(&mut attributes, "otel.dropped_links_count"),
        events: from.annotations.into_iter().map(event).collect::<Result<_, _>>()?,
        attributes,
        ..Span::default()
    };
    Ok(ZipkinSide { owner: Owner { resource, scope, ..Owner::default() }, span, service })
}

/// Tags as attributes: texts in version 2, of any type in version 1.
fn attributes(tags: Map<String, Json>) -> Vec<KeyValue> {
    tags.into_iter().filter_map(|(key, value)| Some(attribute(key, any_value(value)?))).collect()
}

/// The two ends' addresses, unless tags say them.
fn addresses(local: Option<&Endpoint>, remote: Option<&Endpoint>, attributes: &mut Vec<KeyValue>) {
    let mut put = |key: &str, value: Value| {
        if !attributes.iter().any(|attribute| attribute.key == key) {
            attributes.push(attribute(key, value));
        }
    };
    for (endpoint, ip_key, port_key) in
        [(local, "net.host.ip", "net.host.port"), (remote, "net.peer.ip", "net.peer.port")]
    {
        let Some(endpoint) = endpoint else { continue };
        if let Some(ip) = [&endpoint.ipv4, &endpoint.ipv6].into_iter().find(|ip| !ip.is_empty()) {
            put(ip_key, Value::StringValue(ip.clone()));
        }
        if endpoint.port != 0 {
            put(port_key, Value::IntValue(endpoint.port));
        }
    }
    if let Some(service) = remote.map(|remote| &remote.service_name).filter(|service| !service.is_empty()) {
        put("peer.service", Value::StringValue(service.clone()));
    }
}

/// The status of the tags: `error` is one, whatever it says but `false`, and its text is the message.
fn status(attributes: &mut Vec<KeyValue>) -> Option<Status> {
    let is_error = |attribute: &KeyValue| {
        let value = attribute.value.as_ref().and_then(|value| value.value.as_ref());
        attribute.key == "error"
            && !matches!(value, Some(Value::BoolValue(false)))
            && !matches!(value, Some(Value::StringValue(text)) if text == "false")
    };
    let code = take_text(attributes, "otel.status_code").and_then(|code| status_code(&code));
    let error = attributes.iter().position(is_error).map(|place| attributes.remove(place));
    let description = take_text(attributes, "otel.status_description");
    let message = match error.as_ref().and_then(|error| error.value.as_ref()?.value.as_ref()) {
        Some(Value::StringValue(text)) if text != "true" => text.clone(),
        _ => description.unwrap_or_default(),
    };
    let code = if error.is_some() { Some(2) } else { code };
    (code.is_some() || !message.is_empty()).then(|| Status { code: code.unwrap_or(0), message })
}

/// An annotation as an event. One that was an event with attributes reads `"NAME": {ATTRIBUTES}`.
fn event(annotation: Annotation) -> Result<Event, String> {
    let time_unix_nano = from_micros("an annotation's timestamp", annotation.timestamp)?;
    let with_attributes = Some(&annotation.value).filter(|value| value.starts_with('"')).and_then(|value| {
        let fields: Map<String, Json> = serde_json::from_str(&format!("{{{value}}}")).ok()?;
        let mut fields = fields.into_iter();
        match (fields.next(), fields.next()) {
            (Some((name, Json::Object(of_event))), None) => Some((name, attributes(of_event))),
            _ => None,
        }
    });
    let (name, attributes) = with_attributes.unwrap_or_else(|| (annotation.value, Vec::new()));
    Ok(Event { time_unix_nano, name, attributes, ..Event::default() })
}
