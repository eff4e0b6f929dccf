//! Events and links out of cells: lists of structs, JSON texts, or lists side by side.

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};

use super::fields::Part;
use super::jsonb;
use super::values::time_of_text;
use crate::formats::build;

/// The names that parts go by in structs and in JSON, in small letters.
const PART_NAMES: &[(&str, Part)] = &[
    ("timestamp", Part::Time),
    ("time", Part::Time),
    ("time_ns", Part::Time),
    ("timeunixnano", Part::Time),
    ("time_unix_nano", Part::Time),
    ("name", Part::Name),
    ("traceid", Part::TraceId),
    ("trace_id", Part::TraceId),
    ("spanid", Part::SpanId),
    ("span_id", Part::SpanId),
    ("tracestate", Part::TraceState),
    ("trace_state", Part::TraceState),
    ("attributes", Part::Attributes),
];

/// The elements of a list, each as its parts.
pub(super) fn elements(cell: Value) -> Result<Vec<Vec<(Part, Value)>>, String> {
    let list = match cell {
        Value::ArrayValue(list) => list,
        Value::StringValue(ref text) if text.trim().is_empty() => return Ok(Vec::new()),
        Value::StringValue(_) | Value::BytesValue(_) => match json(&cell) {
            Some(Value::ArrayValue(list)) => list,
            _ => return Err("it is neither a list nor JSON of one".to_owned()),
        },
        _ => return Err("it is no list".to_owned()),
    };
    let parts = |value: Option<Value>| match value {
        Some(Value::KvlistValue(parts)) => Ok(parts.values.into_iter().filter_map(known_part).collect()),
        _ => Err("an element has no parts".to_owned()),
    };
    list.values.into_iter().map(|element| parts(element.value)).collect()
}

fn known_part(part: KeyValue) -> Option<(Part, Value)> {
    let name = part.key.to_ascii_lowercase();
    let (_, known) = PART_NAMES.iter().find(|(known, _)| *known == name)?;
    Some((*known, part.value?.value?))
}

/// The elements of lists side by side.
pub(super) fn zipped(lists: Vec<(Part, Vec<Option<Value>>)>) -> Result<Vec<Vec<(Part, Value)>>, String> {
    let length = lists.iter().map(|(_, list)| list.len()).max().unwrap_or(0);
    if lists.iter().any(|(_, list)| list.len() != length) {
        return Err("the lists of its parts have different lengths".to_owned());
    }
    let mut elements = vec![Vec::new(); length];
    for (part, list) in lists {
        for (element, value) in elements.iter_mut().zip(list) {
            element.extend(value.map(|value| (part, value)));
        }
    }
    Ok(elements)
}

pub(super) fn event(parts: Vec<(Part, Value)>) -> Result<Event, String> {
    let mut event = Event::default();
    for (part, value) in parts {
        match part {
            Part::Time => event.time_unix_nano = time_ns(&value)?,
            Part::Name => event.name = text(value).unwrap_or_default(),
            Part::Attributes => event.attributes = attributes(value)?,
            _ => {}
        }
    }
    Ok(event)
}

pub(super) fn link(parts: Vec<(Part, Value)>) -> Result<Link, String> {
    let mut link = Link::default();
    for (part, value) in parts {
        match part {
            Part::TraceId => link.trace_id = build::id::<16>("a link's trace_id", &text(value).unwrap_or_default())?,
            Part::SpanId => link.span_id = build::id::<8>("a link's span_id", &text(value).unwrap_or_default())?,
            Part::TraceState => link.trace_state = text(value).unwrap_or_default(),
            Part::Attributes => link.attributes = attributes(value)?,
            Part::Time | Part::Name => {}
        }
    }
    match link.trace_id.is_empty() || link.span_id.is_empty() {
        true => Err("a link has no ids".to_owned()),
        false => Ok(link),
    }
}

/// Attributes: of a map, a struct, or a text that is a JSON object.
pub(super) fn attributes(cell: Value) -> Result<Vec<KeyValue>, String> {
    match cell {
        Value::KvlistValue(list) => Ok(list.values),
        Value::StringValue(ref text) if text.trim().is_empty() => Ok(Vec::new()),
        Value::StringValue(_) | Value::BytesValue(_) => match json(&cell) {
            Some(Value::KvlistValue(list)) => Ok(list.values),
            _ => Err("attributes are neither a map nor JSON of one".to_owned()),
        },
        _ => Err("attributes are neither a map nor JSON".to_owned()),
    }
}

/// JSON in a cell: as text, or in the binary form, whose bytes may be a text as well.
fn json(cell: &Value) -> Option<Value> {
    let bytes = match cell {
        Value::StringValue(text) => text.as_bytes(),
        Value::BytesValue(bytes) => bytes,
        _ => return None,
    };
    let of_text = serde_json::from_slice(bytes).ok().and_then(build::any_value);
    of_text.or_else(|| jsonb::decode(bytes).flatten())
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

fn time_ns(value: &Value) -> Result<u64, String> {
    let ns = match value {
        Value::IntValue(ns) => Some(*ns),
        Value::StringValue(text) => text.parse().ok().or_else(|| time_of_text(text)),
        _ => None,
    };
    ns.and_then(|ns| u64::try_from(ns).ok()).ok_or_else(|| "an event's time cannot be read".to_owned())
}
