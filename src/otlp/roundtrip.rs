//! Decoder and encoder against prost, which reads and writes the same messages from the proto files.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::fuzzing::{protobuf, same_spans};
use super::write::push_bytes;
use super::{decode_export, encode_export};

/// Bytes that prost reads come back from our decoder and encoder as prost read them.
fn check_round_trip(bytes: &[u8], read: &ExportTraceServiceRequest) -> Result<(), TestCaseError> {
    same_spans(bytes, read).map(drop).map_err(TestCaseError::fail)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![2 => "[a-c]{0,3}", 1 => ".{0,12}", 1 => Just(String::new()), 1 => Just("service.name".to_owned())]
}

fn value() -> impl Strategy<Value = AnyValue> {
    let double = prop_oneof![any::<f64>(), any::<u64>().prop_map(f64::from_bits), Just(1.0), Just(-0.0), Just(1e300)];
    let scalar = prop_oneof![
        4 => text().prop_map(|text| Some(Value::StringValue(text))),
        1 => any::<bool>().prop_map(|value| Some(Value::BoolValue(value))),
        2 => prop_oneof![any::<i64>(), -10i64..10].prop_map(|value| Some(Value::IntValue(value))),
        2 => double.prop_map(|value| Some(Value::DoubleValue(value))),
        1 => vec(any::<u8>(), 0..5).prop_map(|bytes| Some(Value::BytesValue(bytes))),
        1 => Just(None),
    ];
    scalar.prop_map(|value| AnyValue { value }).prop_recursive(4, 16, 4, |inner| {
        let array = vec(inner.clone(), 0..4).prop_map(|values| Value::ArrayValue(ArrayValue { values }));
        let list = vec((text(), inner), 0..4).prop_map(|pairs| {
            let values = pairs.into_iter().map(|(key, value)| KeyValue { key, value: Some(value), key_strindex: 0 });
            Value::KvlistValue(KeyValueList { values: values.collect() })
        });
        prop_oneof![array, list].prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let attribute = (text(), prop::option::weighted(0.9, value()));
    vec(attribute.prop_map(|(key, value)| KeyValue { key, value, key_strindex: 0 }), 0..4)
}

/// An id that is mostly as it should be.
fn id(len: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![20 => vec(any::<u8>(), len..=len), 1 => vec(any::<u8>(), 0..20), 1 => Just(vec![0; len])]
}

fn event() -> impl Strategy<Value = Event> {
    (any::<u64>(), text(), attributes(), 0u32..3).prop_map(|(time_unix_nano, name, attributes, dropped)| Event {
        time_unix_nano,
        name,
        attributes,
        dropped_attributes_count: dropped,
    })
}

fn link() -> impl Strategy<Value = Link> {
    (id(16), id(8), text(), attributes(), any::<u32>(), any::<u32>()).prop_map(
        |(trace_id, span_id, trace_state, attributes, dropped_attributes_count, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count,
            flags,
        },
    )
}

fn span() -> impl Strategy<Value = Span> {
    let ids = (id(16), id(8), prop_oneof![Just(Vec::new()), id(8)]);
    let times = prop_oneof![9 => (1u64..1 << 60, 0u64..1 << 40), 1 => (any::<u64>(), any::<u64>())];
    let counts = (any::<u32>(), prop_oneof![Just(0), any::<u32>()], 0u32..5);
    let status = prop::option::of((text(), prop_oneof![0..3, any::<i32>()]));
    let kind = prop_oneof![9 => 0..6, 1 => any::<i32>()];
    let lists = (attributes(), vec(event(), 0..3), vec(link(), 0..3));
    (ids, times, counts, status, kind, lists, text(), text(), any::<u32>()).prop_map(
        |(ids, (start, duration), counts, status, kind, lists, name, trace_state, flags)| Span {
            trace_id: ids.0,
            span_id: ids.1,
            parent_span_id: ids.2,
            trace_state,
            flags,
            name,
            kind,
            start_time_unix_nano: start,
            end_time_unix_nano: start.wrapping_add(duration),
            attributes: lists.0,
            dropped_attributes_count: counts.0,
            events: lists.1,
            dropped_events_count: counts.1,
            links: lists.2,
            dropped_links_count: counts.2,
            status: status.map(|(message, code)| Status { message, code }),
        },
    )
}

fn scope_spans() -> impl Strategy<Value = ScopeSpans> {
    let scope = (text(), text(), attributes(), 0u32..3).prop_map(|(name, version, attributes, dropped)| {
        InstrumentationScope { name, version, attributes, dropped_attributes_count: dropped }
    });
    (prop::option::of(scope), vec(span(), 0..4), text()).prop_map(|(scope, spans, schema_url)| ScopeSpans {
        scope,
        spans,
        schema_url,
    })
}

fn resource_spans() -> impl Strategy<Value = ResourceSpans> {
    let resource = (attributes(), 0u32..3).prop_map(|(attributes, dropped_attributes_count)| Resource {
        attributes,
        dropped_attributes_count,
        entity_refs: Vec::new(),
    });
    (prop::option::of(resource), vec(scope_spans(), 0..3), text())
        .prop_map(|(resource, scope_spans, schema_url)| ResourceSpans { resource, scope_spans, schema_url })
}

fn request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    vec(resource_spans(), 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

/// Wraps the bytes of a span as a request.
fn wrap_span(span: &[u8]) -> Vec<u8> {
    let wrap = |number, inner: &[u8]| {
        let mut out = Vec::new();
        push_bytes(number, inner, &mut out);
        out
    };
    wrap(1, &wrap(2, &wrap(2, span)))
}

fn check_against_prost(bytes: &[u8]) -> Result<(), TestCaseError> {
    protobuf(bytes).map(drop).map_err(TestCaseError::fail)
}

/// A field that no version of OTLP has, of any wire type; groups hold further ones.
fn unknown_field() -> impl Strategy<Value = Vec<u8>> {
    let key = |number: u32, wire_type: u32| {
        let mut out = Vec::new();
        prost::encoding::encode_varint(u64::from(number << 3 | wire_type), &mut out);
        out
    };
    let leaf = (100u32..1 << 20, any::<u64>(), vec(any::<u8>(), 0..5), 0..4usize).prop_map(
        move |(number, value, bytes, kind)| {
            let mut out = key(number, [0, 1, 2, 5][kind]);
            match kind {
                0 => prost::encoding::encode_varint(value, &mut out),
                1 => out.extend(value.to_le_bytes()),
                2 => {
                    prost::encoding::encode_varint(bytes.len() as u64, &mut out);
                    out.extend(bytes);
                }
                _ => out.extend((value as u32).to_le_bytes()),
            }
            out
        },
    );
    leaf.prop_recursive(3, 8, 3, move |inner| {
        (100u32..1 << 20, vec(inner, 0..3))
            .prop_map(move |(number, fields)| [key(number, 3), fields.concat(), key(number, 4)].concat())
    })
}

proptest! {
    #[test]
    fn what_came_in_is_given_back(request in request()) {
        check_round_trip(&request.encode_to_vec(), &request)?;
    }

    #[test]
    fn damaged_bytes_are_judged_as_prost_judges_them(
        request in request(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let mut bytes = request.encode_to_vec();
        for (place, byte, how) in damage.into_iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
            let place = place.index(bytes.len().max(1));
            match how {
                _ if bytes.is_empty() => {}
                0 => bytes[place] = byte,
                1 => bytes.truncate(place),
                _ => bytes.insert(place, byte),
            }
        }
        check_against_prost(&bytes)?;
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        check_against_prost(&bytes)?;
        check_against_prost(&wrap_span(&bytes))?;
    }

    #[test]
    fn messages_that_come_in_parts_merge(first in resource_spans(), second in resource_spans()) {
        let mut bytes = Vec::new();
        push_bytes(1, &[first.encode_to_vec(), second.encode_to_vec()].concat(), &mut bytes);
        check_against_prost(&bytes)?;
    }

    #[test]
    fn spans_and_values_that_come_in_parts_merge(first in span(), second in span(), values in vec(value(), 1..4)) {
        let mut span = [first.encode_to_vec(), second.encode_to_vec()].concat();
        let mut attribute = Vec::new();
        for value in &values {
            push_bytes(2, &value.encode_to_vec(), &mut attribute);
        }
        push_bytes(9, &attribute, &mut span);
        let joined: Vec<u8> = values.iter().flat_map(Message::encode_to_vec).collect();
        let mut element = Vec::new();
        push_bytes(1, &joined, &mut element);
        let mut array = Vec::new();
        push_bytes(5, &element, &mut array);
        let mut attribute = Vec::new();
        push_bytes(2, &array, &mut attribute);
        push_bytes(9, &attribute, &mut span);
        check_against_prost(&wrap_span(&span))?;
    }

    #[test]
    fn unknown_fields_are_passed_over_in_every_message(request in request(), unknown in vec(unknown_field(), 1..8)) {
        let next = std::cell::Cell::new(0);
        let with = |number: u32, mut inner: Vec<u8>, out: &mut Vec<u8>| {
            inner.extend_from_slice(&unknown[next.get() % unknown.len()]);
            next.set(next.get() + 1);
            push_bytes(number, &inner, out);
        };
        let mut bytes = Vec::new();
        for resource_spans in &request.resource_spans {
            let mut message = ResourceSpans { scope_spans: Vec::new(), resource: None, ..resource_spans.clone() }.encode_to_vec();
            if let Some(resource) = &resource_spans.resource {
                with(1, resource.encode_to_vec(), &mut message);
            }
            for scope_spans in &resource_spans.scope_spans {
                let mut inner = ScopeSpans { spans: Vec::new(), ..scope_spans.clone() }.encode_to_vec();
                for span in &scope_spans.spans {
                    let mut fields = Span { attributes: Vec::new(), ..span.clone() }.encode_to_vec();
                    span.attributes.iter().for_each(|attribute| with(9, attribute.encode_to_vec(), &mut fields));
                    with(2, fields, &mut inner);
                }
                with(2, inner, &mut message);
            }
            with(1, message, &mut bytes);
        }
        check_round_trip(&bytes, &request)?;
    }

    #[test]
    fn the_last_of_repeated_scalars_counts(first in span(), last in span()) {
        let scalars = Span { attributes: vec![], events: vec![], links: vec![], status: None, ..first };
        check_against_prost(&wrap_span(&[scalars.encode_to_vec(), last.encode_to_vec()].concat()))?;
    }

    #[test]
    fn a_request_cut_at_any_byte_is_judged_as_prost_judges_it(spans in resource_spans()) {
        let bytes = ExportTraceServiceRequest { resource_spans: vec![spans] }.encode_to_vec();
        for len in 0..bytes.len() {
            check_against_prost(&bytes[..len])?;
        }
    }
}

#[test]
fn the_slices_of_a_batch_encode_their_own_rows() {
    let span = |number: u8| Span {
        trace_id: vec![number; 16],
        span_id: vec![number; 8],
        start_time_unix_nano: 1,
        end_time_unix_nano: 1,
        events: vec![Event { name: format!("e{number}"), ..Event::default() }; usize::from(number)],
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: (1..=4).map(span).collect(), ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let batch = decode_export(&ExportTraceServiceRequest { resource_spans }.encode_to_vec()).expect("decodable").batch;
    let batch = batch.to_record_batch().expect("expanded");
    let encoded = encode_export(&batch.slice(2, 1)).expect("encodable");
    let read = ExportTraceServiceRequest::decode(&*encoded).expect("protobuf");
    assert_eq!(read.resource_spans[0].scope_spans[0].spans, [span(3)]);
}
