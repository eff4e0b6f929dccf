//! A record becomes an OTLP request, whatever it was.

use bytes::Bytes;
use prost::Message;

use super::record::{Content, Record};
use crate::error::{Error, Result};
use crate::formats::{Converted, JsonShape, RefusedSpan, jaeger, zipkin};
use crate::otlp::json_to_protobuf;

/// The protobuf request that a record is, and the spans that have no place in it.
///
/// # Errors
/// [`crate::error::Kind::BadInput`] when it is none at all.
pub(in crate::cli) fn to_protobuf(record: &Record) -> Result<(Bytes, Vec<RefusedSpan>)> {
    let encoded = |converted: Converted| (Bytes::from(converted.request.encode_to_vec()), converted.refused);
    match record.content {
        Content::Protobuf => Ok((record.payload.clone(), Vec::new())),
        Content::JaegerJson => jaeger::from_json(&record.payload).map(encoded),
        Content::ZipkinJson => zipkin::from_json(&record.payload).map(encoded),
        Content::OtlpJson => {
            let protobuf = json_to_protobuf(&record.payload)?;
            if protobuf.is_empty() {
                explain_no_spans(&record.payload)?;
            }
            Ok((Bytes::from(protobuf), Vec::new()))
        }
    }
}

/// Refuses JSON that is not an OTLP trace request, and says what it looks like. An empty request is one.
fn explain_no_spans(json: &[u8]) -> Result<()> {
    let looks_like = match JsonShape::of(json) {
        None | Some(JsonShape::Otlp) => return Ok(()),
        Some(JsonShape::OtlpLogs) => "OTLP logs; only traces can be imported",
        Some(JsonShape::OtlpMetrics) => "OTLP metrics; only traces can be imported",
        Some(JsonShape::JaegerTraces | JsonShape::Jaeger) => "Jaeger JSON; say --format jaeger",
        Some(JsonShape::Zipkin) => "Zipkin JSON; say --format zipkin",
        Some(JsonShape::Unknown) => "some other JSON",
    };
    Err(Error::bad_input(format!("there is no resourceSpans in it: it looks like {looks_like}")))
}
