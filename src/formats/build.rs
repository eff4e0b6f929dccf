//! What conversions to OTLP build requests from: attributes, ids, times, and spans put under their resource and scope.

use std::collections::HashMap;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use crate::model::schema::UNKNOWN_SERVICE;

/// What a document of another format became.
#[derive(Debug, Default)]
pub struct Converted {
    pub request: ExportTraceServiceRequest,
    /// The spans that have no place in it.
    pub refused: Vec<RefusedSpan>,
}

/// A span that cannot be converted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedSpan {
    /// Where it stands in the document: `spans[3]`, `row 17`.
    pub place: String,
    pub why: String,
}

/// The resource and the scope of a span.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Owner {
    pub resource: Resource,
    pub resource_schema_url: String,
    pub scope: InstrumentationScope,
    pub scope_schema_url: String,
}

/// A request as it grows: spans of one resource and one scope stand together, in the order in which these first came.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    request: ExportTraceServiceRequest,
    resources: HashMap<Vec<u8>, usize>,
    scopes: HashMap<(usize, Vec<u8>), usize>,
}

impl Gathered {
    pub fn push(&mut self, owner: &Owner, span: Span) {
        let resource_spans = &mut self.request.resource_spans;
        let key = keyed(&owner.resource, &owner.resource_schema_url);
        let resource = *self.resources.entry(key).or_insert_with(|| {
            resource_spans.push(ResourceSpans {
                resource: Some(owner.resource.clone()).filter(|resource| *resource != Resource::default()),
                schema_url: owner.resource_schema_url.clone(),
                ..ResourceSpans::default()
            });
            resource_spans.len() - 1
        });
        let scope_spans = &mut resource_spans[resource].scope_spans;
        let key = (resource, keyed(&owner.scope, &owner.scope_schema_url));
        let scope = *self.scopes.entry(key).or_insert_with(|| {
            scope_spans.push(ScopeSpans {
                scope: Some(owner.scope.clone()).filter(|scope| *scope != InstrumentationScope::default()),
                schema_url: owner.scope_schema_url.clone(),
                ..ScopeSpans::default()
            });
            scope_spans.len() - 1
        });
        scope_spans[scope].spans.push(span);
    }

    pub fn finish(self) -> ExportTraceServiceRequest {
        self.request
    }
}

/// What tells a resource or scope from others.
fn keyed(message: &impl Message, schema_url: &str) -> Vec<u8> {
    let mut key = message.encode_length_delimited_to_vec();
    key.extend_from_slice(schema_url.as_bytes());
    key
}

/// The request with the spans of equal resources and scopes put together, which may have been apart.
pub fn regrouped(request: ExportTraceServiceRequest) -> ExportTraceServiceRequest {
    let mut gathered = Gathered::default();
    for resource_spans in request.resource_spans {
        let resource = resource_spans.resource.unwrap_or_default();
        for scope_spans in resource_spans.scope_spans {
            let owner = Owner {
                resource: resource.clone(),
                resource_schema_url: resource_spans.schema_url.clone(),
                scope: scope_spans.scope.unwrap_or_default(),
                scope_schema_url: scope_spans.schema_url,
            };
            scope_spans.spans.into_iter().for_each(|span| gathered.push(&owner, span));
        }
    }
    gathered.finish()
}

/// The service that a resource names.
pub fn service_of(resource_spans: &ResourceSpans) -> &str {
    let attributes = resource_spans.resource.as_ref().map(|resource| resource.attributes.as_slice());
    find_text(attributes.unwrap_or_default(), "service.name").unwrap_or(UNKNOWN_SERVICE)
}

pub(super) fn attribute(key: impl Into<String>, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

pub(super) fn text_attribute(key: impl Into<String>, text: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(text.into()))
}

/// Takes the first attribute with this key out when it is a text.
pub(super) fn take_text(attributes: &mut Vec<KeyValue>, key: &str) -> Option<String> {
    let place = attributes.iter().position(|attribute| attribute.key == key && text_of(attribute).is_some())?;
    match attributes.remove(place).value?.value? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The text of an attribute that has one.
pub(super) fn text_of(attribute: &KeyValue) -> Option<&str> {
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

/// The text of the first attribute with this key.
pub(super) fn find_text<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    attributes.iter().find(|attribute| attribute.key == key).and_then(text_of)
}

/// The value that a JSON value is; a number without a fraction is an integer. `None` for null.
pub(super) fn any_value(json: serde_json::Value) -> Option<Value> {
    Some(match json {
        serde_json::Value::Null => return None,
        serde_json::Value::Bool(value) => Value::BoolValue(value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(value) => Value::IntValue(value),
            None => Value::DoubleValue(number.as_f64()?),
        },
        serde_json::Value::String(text) => Value::StringValue(text),
        serde_json::Value::Array(values) => {
            let values = values.into_iter().map(|value| AnyValue { value: any_value(value) }).collect();
            Value::ArrayValue(ArrayValue { values })
        }
        serde_json::Value::Object(fields) => {
            let value = |(key, value)| KeyValue {
                key,
                value: Some(AnyValue { value: any_value(value) }),
                ..KeyValue::default()
            };
            Value::KvlistValue(KeyValueList { values: fields.into_iter().map(value).collect() })
        }
    })
}

/// Reads an id of up to `LEN` bytes in hex; a shorter one has zeros before it, as 64-bit trace ids have in OTLP.
pub(super) fn id<const LEN: usize>(name: &str, hex: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("{name} {hex:?} is no id of up to {} hex digits", 2 * LEN);
    if hex.is_empty() || hex.len() > 2 * LEN || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let number = u128::from_str_radix(hex, 16).map_err(|_| wrong())?;
    match number {
        0 => Err(format!("{name} is all zero")),
        _ => Ok(number.to_be_bytes()[16 - LEN..].to_vec()),
    }
}

/// A time or a length in microseconds as nanoseconds.
pub(super) fn from_micros(name: &str, micros: u64) -> Result<u64, String> {
    micros.checked_mul(1_000).ok_or_else(|| format!("{name} {micros} is out of range"))
}

/// A count of what was dropped, which other formats keep as an attribute.
pub(super) fn take_count(attributes: &mut Vec<KeyValue>, key: &str) -> u32 {
    let count = attributes.iter().position(|attribute| attribute.key == key).and_then(|place| {
        let count = match attributes[place].value.as_ref()?.value.as_ref()? {
            Value::IntValue(count) => u32::try_from(*count).ok()?,
            Value::StringValue(text) => text.parse().ok()?,
            _ => return None,
        };
        attributes.remove(place);
        Some(count)
    });
    count.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_ids_are_padded_and_others_refused() {
        assert_eq!(id::<16>("traceId", "1e223ff1f80f1c69").map(|id| id[7..9].to_vec()), Ok(vec![0, 0x1e]));
        assert_eq!(id::<8>("id", "A").map(|id| id[7]), Ok(10));
        for bad in ["", "0", "xyz", "+1", "11112222333344445"] {
            id::<8>("id", bad).expect_err(bad);
        }
    }

    #[test]
    fn spans_of_one_owner_come_together() {
        let owner = |service: &str| Owner {
            resource: Resource { attributes: vec![text_attribute("service.name", service)], ..Resource::default() },
            ..Owner::default()
        };
        let mut gathered = Gathered::default();
        for (service, name) in [("a", "1"), ("b", "2"), ("a", "3")] {
            gathered.push(&owner(service), Span { name: name.into(), ..Span::default() });
        }
        let request = gathered.finish();
        let names = |place: usize| {
            let spans = &request.resource_spans[place].scope_spans[0].spans;
            spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!((request.resource_spans.len(), names(0), names(1)), (2, vec!["1", "3"], vec!["2"]));
        assert_eq!(regrouped(request.clone()), request);
    }
}
