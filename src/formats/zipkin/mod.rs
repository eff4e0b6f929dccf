//! Zipkin's JSON, versions 1 and 2: a span, a list of spans, or a list of traces.
//!
//! Follows the OpenTelemetry specification, *Mapping to non-OTLP formats* and *OpenTelemetry to Zipkin Transformation*
//! (`specification/common/mapping-to-non-otlp.md`, `specification/trace/sdk_exporters/zipkin.md`), read the other way round, and the Collector's
//! translator for addresses. Version 1 is first turned into version 2 as Zipkin's own `V1SpanConverter` does it: by the annotations `cs`, `cr`,
//! `sr`, `ss`, `ms`, `mr` and by the addresses `ca`, `sa`, `ma`.
//!
//! In Zipkin both sides of a call may be one span with one id. In OTLP an id is one span's: where both sides are in a document, the server's gets
//! an id made from the old one, the client's as its parent, and the server's children.

mod convert;
mod shared;
mod v1;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value as Json};

use crate::error::{Error, Result};
use crate::formats::build::{Converted, Gathered, RefusedSpan};

/// Converts a document: a span, a list of spans, or a list of lists of spans.
///
/// # Errors
/// [`crate::error::Kind::BadInput`], with line and column, when it is none of them. A span that cannot be converted is refused alone.
pub fn from_json(json: &[u8]) -> Result<Converted> {
    let wrong = |error: serde_json::Error| Error::bad_input(format!("it is not Zipkin JSON: {error}"));
    let spans = match json.trim_ascii_start() {
        [b'{', ..] => vec![serde_json::from_slice(json).map_err(wrong)?],
        [b'[', rest @ ..] if rest.trim_ascii_start().first() == Some(&b'[') => {
            let traces: Vec<Vec<ZipkinSpan>> = serde_json::from_slice(json).map_err(wrong)?;
            traces.into_iter().flatten().collect()
        }
        _ => serde_json::from_slice::<Vec<ZipkinSpan>>(json).map_err(wrong)?,
    };
    let mut converted = Vec::with_capacity(spans.len());
    let mut refused = Vec::new();
    for (number, span) in spans.into_iter().enumerate() {
        for half in v1::halves(span) {
            match convert::side(half) {
                Ok(side) => converted.push(side),
                Err(why) => refused.push(RefusedSpan { place: format!("spans[{number}]"), why }),
            }
        }
    }
    shared::separate(&mut converted);
    let mut gathered = Gathered::default();
    converted.into_iter().for_each(|side| gathered.push(&side.owner, side.span));
    Ok(Converted { request: gathered.finish(), refused })
}

/// A span of either version; what only one of them has is empty in the other.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ZipkinSpan {
    #[serde(default)]
    trace_id: String,
    #[serde(default)]
    id: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    parent_id: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    name: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    kind: String,
    timestamp: Option<u64>,
    duration: Option<u64>,
    local_endpoint: Option<Endpoint>,
    remote_endpoint: Option<Endpoint>,
    #[serde(default, deserialize_with = "null_is_empty")]
    annotations: Vec<Annotation>,
    #[serde(default, deserialize_with = "null_is_empty")]
    binary_annotations: Vec<BinaryAnnotation>,
    #[serde(default, deserialize_with = "null_is_empty")]
    tags: Map<String, Json>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    #[serde(default, deserialize_with = "null_is_empty")]
    service_name: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    ipv4: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    ipv6: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    port: i64,
}

#[derive(Debug, Clone, Deserialize)]
struct Annotation {
    timestamp: u64,
    #[serde(default, deserialize_with = "null_is_empty")]
    value: String,
    endpoint: Option<Endpoint>,
}

#[derive(Debug, Clone, Deserialize)]
struct BinaryAnnotation {
    key: String,
    #[serde(default)]
    value: Json,
    endpoint: Option<Endpoint>,
}

fn null_is_empty<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
