//! Export requests of a usual shape, each unlike the others.

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const START_NS: u64 = 1_767_268_800_000_000_000;
/// Spans of a trace; the spans of a request belong to about as many traces as this.
const SPANS_OF_TRACE: u64 = 40;

/// Request number `number` with `spans` spans of 10 attributes each, and 8 of its resource.
pub fn request(number: u64, spans: u64) -> Bytes {
    let mut random = ChaCha8Rng::seed_from_u64(number);
    let spans = (0..spans).map(|index| span(&mut random, number * spans + index)).collect();
    let resource = Resource {
        attributes: (0..8)
            .map(|key| attribute(&format!("resource.key.{key}"), format!("value {}", number % 20)))
            .collect(),
        ..Default::default()
    };
    let scope_spans = vec![ScopeSpans { spans, ..Default::default() }];
    let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, ..Default::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

fn span(random: &mut ChaCha8Rng, index: u64) -> Span {
    let start = START_NS + index * 20_000 + random.random_range(0..5_000_000);
    Span {
        trace_id: xxhash_rust::xxh3::xxh3_128(&(index / SPANS_OF_TRACE % 997 + index / 40_000 * 997).to_le_bytes())
            .to_be_bytes()
            .to_vec(),
        span_id: random.random::<u64>().max(1).to_be_bytes().to_vec(),
        parent_span_id: random.random::<u64>().max(1).to_be_bytes().to_vec(),
        name: format!("GET /api/resource/{}", index % 50),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + random.random_range(10_000..80_000_000),
        attributes: (0..9)
            .map(|key| attribute(&format!("span.key.{key}"), format!("value {}", (index + key) % 300)))
            .chain([valued(
                "span.code",
                Value::IntValue(if index.is_multiple_of(701) { 503 } else { 200 + index as i64 % 3 }),
            )])
            .collect(),
        ..Default::default()
    }
}

fn attribute(key: &str, value: String) -> KeyValue {
    valued(key, Value::StringValue(value))
}

fn valued(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}
