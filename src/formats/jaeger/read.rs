//! Jaeger JSON becomes OTLP.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use super::{CHILD_OF, FOLLOWS_FROM, NO_SERVICE, tag};
use crate::error::{Error, Result};
use crate::formats::build::{
    Converted, Gathered, Owner, RefusedSpan, any_value, attribute, from_micros, id, take_count, take_text,
    text_attribute,
};
use crate::formats::names::{span_kind, status_code};

/// Converts a document: the API's answer, one trace, or one span with its process.
///
/// # Errors
/// [`crate::error::Kind::BadInput`], with line and column, when it is none of them. A span that cannot be converted is refused alone.
pub fn from_json(json: &[u8]) -> Result<Converted> {
    let wrong = |error: serde_json::Error| Error::bad_input(format!("it is not Jaeger JSON: {error}"));
    let document: Document = serde_json::from_slice(json).map_err(wrong)?;
    if let Some(said) = document.errors.first() {
        return Err(Error::bad_input(format!("it is an error that Jaeger answered: {said}")));
    }
    let (mut gathered, mut refused) = (Gathered::default(), Vec::new());
    match (document.data, document.spans) {
        (Some(traces), _) => {
            for (number, trace) in traces.into_iter().enumerate() {
                let place = |span| format!("data[{number}].spans[{span}]");
                convert(&trace.processes, trace.spans, &place, &mut gathered, &mut refused);
            }
        }
        (None, Some(spans)) => {
            convert(&document.processes, spans, &|span| format!("spans[{span}]"), &mut gathered, &mut refused);
        }
        (None, None) => {
            let span: JaegerSpan = serde_json::from_slice(json).map_err(wrong)?;
            convert(&BTreeMap::new(), vec![span], &|_| "span".to_owned(), &mut gathered, &mut refused);
        }
    }
    Ok(Converted { request: gathered.finish(), refused })
}

#[derive(Deserialize)]
struct Document {
    data: Option<Vec<Trace>>,
    spans: Option<Vec<JaegerSpan>>,
    #[serde(default, deserialize_with = "null_is_empty")]
    processes: BTreeMap<String, Process>,
    #[serde(default, deserialize_with = "null_is_empty")]
    errors: Vec<Json>,
}

#[derive(Deserialize)]
struct Trace {
    #[serde(default, deserialize_with = "null_is_empty")]
    spans: Vec<JaegerSpan>,
    #[serde(default, deserialize_with = "null_is_empty")]
    processes: BTreeMap<String, Process>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JaegerSpan {
    #[serde(rename = "traceID", default)]
    trace_id: String,
    #[serde(rename = "spanID", default)]
    span_id: String,
    #[serde(rename = "parentSpanID", default, deserialize_with = "null_is_empty")]
    parent_span_id: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    operation_name: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    references: Vec<Reference>,
    start_time: Option<Json>,
    duration: Option<Json>,
    #[serde(default)]
    flags: Option<u32>,
    #[serde(default, deserialize_with = "null_is_empty")]
    tags: Vec<Tag>,
    #[serde(default, deserialize_with = "null_is_empty")]
    logs: Vec<Log>,
    #[serde(rename = "processID", default, deserialize_with = "null_is_empty")]
    process_id: String,
    process: Option<Process>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    #[serde(default)]
    ref_type: String,
    #[serde(rename = "traceID", default)]
    trace_id: String,
    #[serde(rename = "spanID", default)]
    span_id: String,
}

#[derive(Deserialize)]
struct Tag {
    key: String,
    #[serde(rename = "type", default, deserialize_with = "null_is_empty")]
    kind: String,
    #[serde(default)]
    value: Json,
}

#[derive(Deserialize)]
struct Log {
    timestamp: Json,
    #[serde(default, deserialize_with = "null_is_empty")]
    fields: Vec<Tag>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Process {
    #[serde(default, deserialize_with = "null_is_empty")]
    service_name: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    tags: Vec<Tag>,
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

fn convert(
    processes: &BTreeMap<String, Process>,
    spans: Vec<JaegerSpan>,
    place: &dyn Fn(usize) -> String,
    gathered: &mut Gathered,
    refused: &mut Vec<RefusedSpan>,
) {
    for (number, span) in spans.into_iter().enumerate() {
        match convert_span(processes, span) {
            Ok((owner, span)) => gathered.push(&owner, span),
            Err(why) => refused.push(RefusedSpan { place: place(number), why }),
        }
    }
}

fn convert_span(processes: &BTreeMap<String, Process>, from: JaegerSpan) -> Result<(Owner, Span), String> {
    let process = match (&from.process, processes.get(&from.process_id)) {
        (Some(process), _) | (None, Some(process)) => Some(process),
        (None, None) if from.process_id.is_empty() => None,
        (None, None) => return Err(format!("there is no process {:?}", from.process_id)),
    };
    // A span with its process and no id of one is a document of Elasticsearch.
    let binary = if from.process.is_some() && from.process_id.is_empty() { Binary::Hex } else { Binary::Base64 };
    let resource = process.map(|process| resource(process, binary)).transpose()?.unwrap_or_default();
    let mut owner = Owner { resource, ..Owner::default() };
    let mut attributes = attributes(from.tags, binary)?;
    owner.scope = scope(&mut attributes);
    let trace_id = id::<16>("traceID", &from.trace_id)?;
    let start_ns = from_micros("startTime", micros("startTime", from.start_time.as_ref())?)?;
    let duration_ns = match &from.duration {
        None | Some(Json::Null) => 0,
        duration => from_micros("duration", micros("duration", duration.as_ref())?)?,
    };
    let (parent_span_id, links) = references(&trace_id, &from.parent_span_id, &from.references)?;
    let kind = take_text(&mut attributes, tag::KIND);
    let known_kind = kind.as_deref().map_or(Some(0), span_kind);
    if let (Some(kind), None) = (&kind, known_kind) {
        attributes.push(text_attribute(tag::KIND, kind));
    }
    let span = Span {
        span_id: id::<8>("spanID", &from.span_id)?,
        trace_id,
        parent_span_id,
        links,
        name: from.operation_name,
        kind: known_kind.unwrap_or(0),
        start_time_unix_nano: start_ns,
        end_time_unix_nano: start_ns.checked_add(duration_ns).ok_or("startTime and duration are out of range")?,
        status: status(&mut attributes),
        trace_state: take_text(&mut attributes, tag::TRACE_STATE).unwrap_or_default(),
        dropped_attributes_count: take_count(&mut attributes, tag::DROPPED_ATTRIBUTES),
        dropped_events_count: take_count(&mut attributes, tag::DROPPED_EVENTS),
        dropped_links_count: take_count(&mut attributes, tag::DROPPED_LINKS),
        events: from.logs.into_iter().map(|log| event(log, binary)).collect::<Result<_, _>>()?,
        // Jaeger's bit for sampled is W3C's; its others mean something else.
        flags: from.flags.unwrap_or(0) & 1,
        attributes,
    };
    Ok((owner, span))
}

fn resource(process: &Process, binary: Binary) -> Result<Resource, String> {
    let mut attributes = Vec::with_capacity(process.tags.len() + 1);
    if !process.service_name.is_empty() && process.service_name != NO_SERVICE {
        attributes.push(text_attribute(tag::SERVICE_NAME, &process.service_name));
    }
    for tag in &process.tags {
        attributes.push(tag_attribute(&tag.key, &tag.kind, tag.value.clone(), binary)?);
    }
    Ok(Resource { attributes, ..Resource::default() })
}

fn scope(attributes: &mut Vec<KeyValue>) -> InstrumentationScope {
    let mut first = |new, old| take_text(attributes, new).or_else(|| take_text(attributes, old)).unwrap_or_default();
    InstrumentationScope {
        name: first(tag::SCOPE_NAME, tag::LIBRARY_NAME),
        version: first(tag::SCOPE_VERSION, tag::LIBRARY_VERSION),
        ..InstrumentationScope::default()
    }
}

/// The parent, and the links that all other references are.
///
/// The parent is the first reference to a span of the same trace, one that says `CHILD_OF` before any other.
fn references(trace_id: &[u8], parent_span_id: &str, references: &[Reference]) -> Result<(Vec<u8>, Vec<Link>), String> {
    let mut links = Vec::with_capacity(references.len());
    for reference in references {
        let ids = (
            id::<16>("a reference's traceID", &reference.trace_id)?,
            id::<8>("a reference's spanID", &reference.span_id)?,
        );
        links.push((reference.ref_type.as_str(), ids.0, ids.1));
    }
    let here = |kind: &str| links.iter().position(|(ref_type, trace, _)| *ref_type == kind && trace == trace_id);
    let mut parent = match parent_span_id.trim_start_matches('0') {
        "" => Vec::new(),
        _ => id::<8>("parentSpanID", parent_span_id)?,
    };
    if let Some(place) = here(CHILD_OF) {
        parent = links.remove(place).2;
    } else if let (true, Some(place)) = (parent.is_empty(), here(FOLLOWS_FROM)) {
        // It stays a link as well, which alone says that it only follows.
        parent.clone_from(&links[place].2);
    }
    let link = |(ref_type, trace_id, span_id): (&str, Vec<u8>, Vec<u8>)| {
        let known = match ref_type {
            CHILD_OF => Some("child_of"),
            FOLLOWS_FROM => Some("follows_from"),
            _ => None,
        };
        let attributes = known.map(|known| text_attribute(tag::REF_TYPE, known)).into_iter().collect();
        Link { trace_id, span_id, attributes, ..Link::default() }
    };
    Ok((parent, links.into_iter().map(link).collect()))
}

/// The status that tags say. An `error` tag outweighs `otel.status_code`.
fn status(attributes: &mut Vec<KeyValue>) -> Option<Status> {
    let error = attributes.iter().position(|attribute| attribute.key == tag::ERROR && is_true(attribute));
    if let Some(place) = error {
        attributes.remove(place);
    }
    let code = attributes.iter().position(|attribute| attribute.key == tag::STATUS_CODE);
    let code = code.map(|place| attributes.remove(place)).and_then(|code| match code.value?.value? {
        Value::StringValue(name) => status_code(&name),
        Value::IntValue(number) => i32::try_from(number).ok(),
        _ => None,
    });
    let code = if error.is_some() { Some(2) } else { code };
    let message = take_text(attributes, tag::STATUS_DESCRIPTION);
    (code.is_some() || message.is_some())
        .then(|| Status { code: code.unwrap_or(0), message: message.unwrap_or_default() })
}

fn is_true(attribute: &KeyValue) -> bool {
    match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Value::BoolValue(value)) => *value,
        Some(Value::StringValue(text)) => text.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

fn event(log: Log, binary: Binary) -> Result<Event, String> {
    let time_unix_nano = from_micros("a log's timestamp", micros("a log's timestamp", Some(&log.timestamp))?)?;
    let mut attributes = attributes(log.fields, binary)?;
    let name = take_text(&mut attributes, tag::EVENT).unwrap_or_default();
    let dropped_attributes_count = take_count(&mut attributes, tag::DROPPED_ATTRIBUTES);
    Ok(Event { time_unix_nano, name, attributes, dropped_attributes_count })
}

/// How bytes are written: the API has base64, and an index of Elasticsearch has hex.
#[derive(Debug, Clone, Copy)]
enum Binary {
    Base64,
    Hex,
}

impl Binary {
    fn read(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Base64 => BASE64.decode(text).ok(),
            Self::Hex => {
                let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
                digits
                    .map(|pair| pair.filter(|pair| pair.len() == 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()))
                    .collect()
            }
        }
    }
}

fn attributes(tags: Vec<Tag>, binary: Binary) -> Result<Vec<KeyValue>, String> {
    tags.into_iter().map(|tag| tag_attribute(&tag.key, &tag.kind, tag.value, binary)).collect()
}

/// A tag as an attribute. The value may be a text whatever its type: large integers are, and all values in an index of Elasticsearch.
fn tag_attribute(key: &str, kind: &str, value: Json, binary: Binary) -> Result<KeyValue, String> {
    let wrong = |value: &Json| format!("the tag {key:?} holds {value}, which is no {kind}");
    let value = match (kind.to_ascii_lowercase().as_str(), value) {
        ("bool", Json::String(text)) => Value::BoolValue(text.parse().map_err(|_| wrong(&Json::String(text)))?),
        ("int64" | "long", Json::String(text)) => {
            Value::IntValue(text.parse().map_err(|_| wrong(&Json::String(text)))?)
        }
        ("float64" | "double", Json::String(text)) => {
            Value::DoubleValue(text.parse().map_err(|_| wrong(&Json::String(text)))?)
        }
        ("float64" | "double", value) => Value::DoubleValue(value.as_f64().ok_or_else(|| wrong(&value))?),
        ("binary", Json::String(text)) => {
            Value::BytesValue(binary.read(&text).ok_or_else(|| wrong(&Json::String(text)))?)
        }
        ("string", value @ (Json::Bool(_) | Json::Number(_))) => Value::StringValue(value.to_string()),
        (_, value) => match any_value(value) {
            Some(value) => value,
            None => {
                return Ok(KeyValue { key: key.to_owned(), value: Some(AnyValue::default()), ..KeyValue::default() });
            }
        },
    };
    Ok(attribute(key, value))
}

/// A whole number of microseconds, as a number or a text.
fn micros(name: &str, json: Option<&Json>) -> Result<u64, String> {
    let json = json.ok_or_else(|| format!("there is no {name}"))?;
    let number = match json {
        Json::Number(number) => {
            number.as_u64().or_else(|| number.as_f64().filter(|micros| *micros >= 0.0).map(|micros| micros as u64))
        }
        Json::String(text) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| format!("{name} is {json}, which is no number of microseconds"))
}
