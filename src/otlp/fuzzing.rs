//! What hostile OTLP must not do, held against prost and serde_json, which read the same messages: bodies for fuzzers and tests.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use prost::Message;
use serde::de::IgnoredAny;

use super::limits::{
    END_OF_TIME_NS, MAX_ATTRIBUTES, MAX_EVENTS, MAX_INNER_ATTRIBUTES, MAX_LINKS, MAX_NAME_BYTES, MAX_VALUE_LEVELS,
};
use super::{decode_export, encode_export, json_to_protobuf};
use crate::error::{Error, Kind};

/// A protobuf request: our decoder keeps the spans that prost reads, value by value, or both refuse it. Gives what became of it.
///
/// # Errors
/// When the two differ.
pub fn protobuf(bytes: &[u8]) -> Result<String, String> {
    match ExportTraceServiceRequest::decode(bytes) {
        Ok(read) if bytes.len() > MAX_NAME_BYTES || is_cut(&read) => judged(decode_export(bytes).map(drop)),
        Ok(read) if levels(&read) > MAX_VALUE_LEVELS => judged(decode_export(bytes).map(drop)),
        Ok(read) => same_spans(bytes, &read),
        Err(refused) => {
            let text = refused.to_string();
            // Where prost refuses a request for one text, or reads a message that is not kept, we do not.
            let is_stricter = text.contains("UTF-8") || text.contains("entity_refs");
            match decode_export(bytes) {
                Ok(_) if !is_stricter => Err(format!("prost refuses what we take: {text}")),
                decoded => judged(decoded.map(drop)),
            }
        }
    }
}

/// A JSON request: what is taken is JSON, and the protobuf made of it is read as [`protobuf`] has it.
///
/// # Errors
/// When it is not.
pub fn json(bytes: &[u8]) -> Result<String, String> {
    let made = match json_to_protobuf(bytes) {
        Ok(made) => made,
        Err(error) => return judged(Err(error)),
    };
    // serde_json stops at fewer levels than we do.
    if let Err(refused) = serde_json::from_slice::<IgnoredAny>(bytes)
        && !refused.to_string().starts_with("recursion limit")
    {
        return Err(format!("what is no JSON is taken: {refused}"));
    }
    if let Err(refused) = ExportTraceServiceRequest::decode(&*made)
        && !refused.to_string().contains("recursion limit")
    {
        return Err(format!("what is made of JSON is no protobuf: {refused}"));
    }
    protobuf(&made)
}

/// A word for what became of a request.
fn judged(outcome: Result<(), Error>) -> Result<String, String> {
    match outcome {
        Ok(()) => Ok("taken".to_owned()),
        Err(error) if matches!(error.kind, Kind::BadInput | Kind::TooLarge) => Ok(error.message.into_owned()),
        Err(error) => Err(format!("a request is to blame for {:?}: {error}", error.kind)),
    }
}

/// Bytes that prost reads come back from our decoder and encoder as prost read them.
pub(super) fn same_spans(bytes: &[u8], read: &ExportTraceServiceRequest) -> Result<String, String> {
    let decoded = decode_export(bytes).map_err(|error| format!("prost takes what we refuse: {error}"))?;
    let batch = decoded.batch.to_record_batch().map_err(|error| format!("a batch does not expand: {error}"))?;
    let encoded = encode_export(&batch).map_err(|error| format!("a batch does not encode: {error}"))?;
    let again = ExportTraceServiceRequest::decode(&*encoded)
        .map_err(|error| format!("prost does not read what we write: {error}"))?;
    let spans = spans(read).count() as u64;
    let (kept, refused) = (decoded.batch.num_rows() as u64, decoded.refusals.rejected_spans);
    if kept + refused != spans {
        return Err(format!("of {spans} spans {kept} are kept and {refused} refused"));
    }
    let (ours, theirs) = (flatten(&again), flatten(read));
    if ours != theirs {
        let place = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs);
        return Err(format!("{} spans of ours are not {} of prost's, from {place:?} on", ours.len(), theirs.len()));
    }
    Ok(format!("{} kept; {}", kept.min(1), decoded.refusals.message))
}

fn spans(read: &ExportTraceServiceRequest) -> impl Iterator<Item = &Span> {
    read.resource_spans.iter().flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans)
}

/// Whether something of a request is over what is kept of it, and cut.
fn is_cut(read: &ExportTraceServiceRequest) -> bool {
    let resources = read.resource_spans.iter().filter_map(|spans| spans.resource.as_ref());
    let scopes =
        read.resource_spans.iter().flat_map(|spans| &spans.scope_spans).filter_map(|spans| spans.scope.as_ref());
    let around = resources.map(|resource| resource.attributes.len()).chain(scopes.map(|scope| scope.attributes.len()));
    around.max().is_some_and(|most| most > MAX_ATTRIBUTES) || spans(read).any(is_span_cut)
}

fn is_span_cut(span: &Span) -> bool {
    let events = span.events.iter().map(|event| event.attributes.len());
    let inner = events.chain(span.links.iter().map(|link| link.attributes.len()));
    span.attributes.len() > MAX_ATTRIBUTES
        || span.events.len() > MAX_EVENTS
        || span.links.len() > MAX_LINKS
        || inner.clone().max().is_some_and(|most| most > MAX_ATTRIBUTES)
        || inner.sum::<usize>() > MAX_INNER_ATTRIBUTES
}

/// Levels of the deepest attribute value.
fn levels(read: &ExportTraceServiceRequest) -> usize {
    let resources = read.resource_spans.iter().filter_map(|spans| spans.resource.as_ref());
    let scopes =
        read.resource_spans.iter().flat_map(|spans| &spans.scope_spans).filter_map(|spans| spans.scope.as_ref());
    let around = resources.flat_map(|resource| &resource.attributes).chain(scopes.flat_map(|scope| &scope.attributes));
    let inside = spans(read).flat_map(|span| {
        let events = span.events.iter().flat_map(|event| &event.attributes);
        span.attributes.iter().chain(events).chain(span.links.iter().flat_map(|link| &link.attributes))
    });
    around.chain(inside).filter_map(|attribute| attribute.value.as_ref()).map(value_levels).max().unwrap_or(0)
}

fn value_levels(value: &AnyValue) -> usize {
    let inner = match &value.value {
        Some(Value::ArrayValue(array)) => array.values.iter().map(value_levels).max(),
        Some(Value::KvlistValue(list)) => {
            list.values.iter().filter_map(|entry| entry.value.as_ref()).map(value_levels).max()
        }
        _ => None,
    };
    1 + inner.unwrap_or(0)
}

/// One span with all that stands around it, as bytes, so that NaN equals itself.
type Flat = (Vec<u8>, String, Vec<u8>, String, Vec<u8>);

/// The spans that may be kept, in order, with what protobuf and the store do not tell apart made equal.
fn flatten(request: &ExportTraceServiceRequest) -> Vec<Flat> {
    let mut flat = Vec::new();
    for resource_spans in &request.resource_spans {
        let mut resource = resource_spans.resource.clone().unwrap_or_default();
        resource.entity_refs.clear();
        normalise_attributes(&mut resource.attributes);
        for scope_spans in &resource_spans.scope_spans {
            let mut scope = scope_spans.scope.clone().unwrap_or_default();
            normalise_attributes(&mut scope.attributes);
            for span in scope_spans.spans.iter().filter(|span| is_kept(span)) {
                flat.push((
                    resource.encode_to_vec(),
                    resource_spans.schema_url.clone(),
                    scope.encode_to_vec(),
                    scope_spans.schema_url.clone(),
                    normalise_span(span.clone()).encode_to_vec(),
                ));
            }
        }
    }
    flat
}

fn is_kept(span: &Span) -> bool {
    let is_zero = |id: &[u8]| id.iter().all(|byte| *byte == 0);
    span.trace_id.len() == 16
        && !is_zero(&span.trace_id)
        && span.span_id.len() == 8
        && !is_zero(&span.span_id)
        && [0, 8].contains(&span.parent_span_id.len())
        && (1..END_OF_TIME_NS).contains(&span.start_time_unix_nano)
        && (span.start_time_unix_nano..=i64::MAX as u64).contains(&span.end_time_unix_nano)
}

fn normalise_span(mut span: Span) -> Span {
    if span.parent_span_id == [0; 8] {
        span.parent_span_id.clear();
    }
    span.status = span.status.filter(|status| *status != Status::default());
    normalise_attributes(&mut span.attributes);
    for event in &mut span.events {
        normalise_attributes(&mut event.attributes);
    }
    let links = span.links.len();
    span.links.retain(|link| link.trace_id.len() == 16 && link.span_id.len() == 8);
    span.dropped_links_count = span.dropped_links_count.saturating_add((links - span.links.len()) as u32);
    for link in &mut span.links {
        normalise_attributes(&mut link.attributes);
    }
    span
}

fn normalise_attributes(attributes: &mut [KeyValue]) {
    for attribute in attributes {
        attribute.key_strindex = 0;
        normalise_value(attribute.value.get_or_insert_default());
    }
}

fn normalise_value(value: &mut AnyValue) {
    match &mut value.value {
        Some(Value::DoubleValue(number)) if number.is_nan() => *number = f64::NAN,
        Some(Value::ArrayValue(array)) => array.values.iter_mut().for_each(normalise_value),
        Some(Value::KvlistValue(list)) => normalise_attributes(&mut list.values),
        Some(Value::StringValueStrindex(_)) => value.value = None,
        _ => {}
    }
}
