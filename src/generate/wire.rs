//! Generated spans as a protobuf `ExportTraceServiceRequest`, written straight into bytes.
//!
//! Field numbers are those of opentelemetry-proto 1.9; the tests read the bytes back with `opentelemetry-proto`'s own types.

use super::attributes::SCOPES;
use super::fleet::Fleet;
use super::span::{Attributes, Event, Link, Span, Status, Value};

/// The semantic conventions that the attributes follow.
pub(super) const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.40.0";

/// Bytes of the parts that are nested around spans, kept to be used again.
#[derive(Default)]
pub(super) struct Scratch {
    resource_spans: Vec<u8>,
    scope_spans: Vec<u8>,
    span: Vec<u8>,
    part: Vec<u8>,
}

/// Appends the request that holds `spans`, which are grouped by instance and then by scope in the order of `groups`.
pub(super) fn push_request(groups: &[&Span], fleet: &Fleet, scratch: &mut Scratch, out: &mut Vec<u8>) {
    for of_instance in groups.chunk_by(|left, right| left.instance == right.instance) {
        let mut resource_spans = std::mem::take(&mut scratch.resource_spans);
        resource_spans.clear();
        scratch.part.clear();
        push_attributes(1, &fleet.instances[of_instance[0].instance].resource, &mut scratch.part);
        push_bytes(1, &scratch.part, &mut resource_spans);
        for of_scope in of_instance.chunk_by(|left, right| left.scope == right.scope) {
            push_scope_spans(of_scope, scratch);
            push_bytes(2, &scratch.scope_spans, &mut resource_spans);
        }
        push_bytes(3, SCHEMA_URL.as_bytes(), &mut resource_spans);
        push_bytes(1, &resource_spans, out);
        scratch.resource_spans = resource_spans;
    }
}

fn push_scope_spans(spans: &[&Span], scratch: &mut Scratch) {
    let (name, version) = SCOPES[spans[0].scope];
    scratch.scope_spans.clear();
    scratch.part.clear();
    push_bytes(1, name.as_bytes(), &mut scratch.part);
    push_bytes(2, version.as_bytes(), &mut scratch.part);
    push_bytes(1, &scratch.part, &mut scratch.scope_spans);
    for span in spans {
        scratch.span.clear();
        push_span(span, &mut scratch.part, &mut scratch.span);
        push_bytes(2, &scratch.span, &mut scratch.scope_spans);
    }
    push_bytes(3, SCHEMA_URL.as_bytes(), &mut scratch.scope_spans);
}

fn push_span(span: &Span, part: &mut Vec<u8>, out: &mut Vec<u8>) {
    push_bytes(1, &span.trace_id, out);
    push_bytes(2, &span.span_id, out);
    push_text(3, span.trace_state, out);
    if let Some(parent) = &span.parent {
        push_bytes(4, parent, out);
    }
    push_text(5, &span.name, out);
    push_number(6, span.kind as u64, out);
    push_fixed64(7, span.start_ns, out);
    push_fixed64(8, span.end_ns, out);
    push_attributes(9, &span.attributes, out);
    for event in &span.events {
        part.clear();
        push_event(event, part);
        push_bytes(11, part, out);
    }
    for link in &span.links {
        part.clear();
        push_link(link, span.trace_state, part);
        push_bytes(13, part, out);
    }
    part.clear();
    match &span.status {
        Status::Unset => {}
        Status::Ok => push_number(3, 1, part),
        Status::Error(message) => {
            push_text(2, message, part);
            push_number(3, 2, part);
        }
    }
    if !part.is_empty() {
        push_bytes(15, part, out);
    }
    push_key(16, 5, out);
    out.extend_from_slice(&span.flags.to_le_bytes());
}

fn push_event(event: &Event, out: &mut Vec<u8>) {
    push_fixed64(1, event.time_ns, out);
    push_text(2, event.name, out);
    push_attributes(3, &event.attributes, out);
}

fn push_link(link: &Link, trace_state: &str, out: &mut Vec<u8>) {
    push_bytes(1, &link.trace_id, out);
    push_bytes(2, &link.span_id, out);
    push_text(3, trace_state, out);
    push_attributes(4, &link.attributes, out);
}

/// Appends each attribute as a `KeyValue` in `field`. Lengths are computed first, so that nothing is written twice.
fn push_attributes(field: u32, attributes: &Attributes, out: &mut Vec<u8>) {
    for (key, value) in &attributes.0 {
        let value_length = value_length(value);
        let length = field_length(key.len()) + field_length(value_length);
        push_key(field, 2, out);
        push_varint(length as u64, out);
        push_bytes(1, key.as_bytes(), out);
        push_key(2, 2, out);
        push_varint(value_length as u64, out);
        push_value(value, out);
    }
}

fn push_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Text(text) => push_bytes(1, text.as_bytes(), out),
        Value::Bool(truth) => {
            push_key(2, 0, out);
            out.push(u8::from(*truth));
        }
        Value::Int(number) => {
            push_key(3, 0, out);
            push_varint(*number as u64, out);
        }
        Value::Double(number) => push_fixed64(4, number.to_bits(), out),
        Value::Texts(texts) => {
            push_key(5, 2, out);
            push_varint(texts_length(texts) as u64, out);
            for text in texts {
                push_key(1, 2, out);
                push_varint(field_length(text.len()) as u64, out);
                push_bytes(1, text.as_bytes(), out);
            }
        }
    }
}

/// The length of an `AnyValue` without its own key and length.
fn value_length(value: &Value) -> usize {
    match value {
        Value::Text(text) => field_length(text.len()),
        Value::Bool(_) => 2,
        Value::Int(number) => 1 + varint_length(*number as u64),
        Value::Double(_) => 9,
        Value::Texts(texts) => field_length(texts_length(texts)),
    }
}

fn texts_length(texts: &[std::borrow::Cow<'static, str>]) -> usize {
    texts.iter().map(|text| field_length(field_length(text.len()))).sum()
}

/// The length of a field with a one-byte key and so many bytes of content.
fn field_length(content: usize) -> usize {
    1 + varint_length(content as u64) + content
}

fn varint_length(number: u64) -> usize {
    (64 - (number | 1).leading_zeros() as usize).div_ceil(7)
}

fn push_key(field: u32, wire_type: u32, out: &mut Vec<u8>) {
    push_varint(u64::from(field << 3 | wire_type), out);
}

/// Appends a varint, seven bits a byte, lowest first.
pub(super) fn push_varint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn push_number(field: u32, number: u64, out: &mut Vec<u8>) {
    push_key(field, 0, out);
    push_varint(number, out);
}

fn push_fixed64(field: u32, number: u64, out: &mut Vec<u8>) {
    push_key(field, 1, out);
    out.extend_from_slice(&number.to_le_bytes());
}

fn push_bytes(field: u32, bytes: &[u8], out: &mut Vec<u8>) {
    push_key(field, 2, out);
    push_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Appends a text unless it is empty, which is protobuf's default.
fn push_text(field: u32, text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() {
        push_bytes(field, text.as_bytes(), out);
    }
}
