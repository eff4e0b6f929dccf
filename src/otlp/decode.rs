//! A protobuf `ExportTraceServiceRequest` becomes one batch of spans.

use super::columns::{Owner, SpanColumns, Surroundings};
use super::merge::merge_repeated;
use super::owner::{RESOURCE, RawOwner, SCOPE};
use super::refusals::{Position, RefusalReason, Refusals, Tally};
use super::span::Span;
use super::value::ValueFault;
use super::wire::{Fields, WireError};
use crate::error::{Error, Result};
use crate::model::SpanBatch;

/// What a request holds: the spans that are kept and the account of those that are refused.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// In the request's order.
    pub batch: SpanBatch,
    pub refusals: Refusals,
}

/// Decodes a protobuf `ExportTraceServiceRequest`.
///
/// The same bytes always give the same answer, since the log is replayed through here.
///
/// # Errors
/// [`crate::error::Kind::BadInput`] when the bytes are not such a message, [`crate::error::Kind::TooLarge`] when its spans, each with its
/// resource and scope, pass the limit of a batch.
pub fn decode_export(payload: &[u8]) -> Result<Decoded> {
    match Decoder::decode(payload) {
        Ok(decoded) => Ok(decoded),
        Err(Fault::Repeated) => {
            let merged = merge_repeated(payload).map_err(|error| bad_input(error, payload))?;
            Decoder::decode(&merged).map_err(|fault| fault.into_error(&merged))
        }
        Err(fault) => Err(fault.into_error(payload)),
    }
}

/// Why a request cannot be decoded.
enum Fault {
    Wire(WireError),
    Repeated,
    House(Error),
}

impl Fault {
    fn into_error(self, payload: &[u8]) -> Error {
        match self {
            Self::Wire(error) => bad_input(error, payload),
            Self::Repeated => Error::internal("a merged request holds a repeated message"),
            Self::House(error) => error,
        }
    }
}

pub(super) fn bad_input(error: WireError, payload: &[u8]) -> Error {
    let what = error.what.text();
    Error::bad_input(match error.offset_in(payload) {
        Some(offset) => format!("the request is not a protobuf ExportTraceServiceRequest: {what}, near byte {offset}"),
        None => format!("the request is not a protobuf ExportTraceServiceRequest: {what}"),
    })
}

impl From<WireError> for Fault {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

impl From<ValueFault> for Fault {
    fn from(fault: ValueFault) -> Self {
        match fault {
            ValueFault::Wire(error) => Self::Wire(error),
            ValueFault::Repeated => Self::Repeated,
            ValueFault::Utf8 => Self::House(Error::internal("text that is not UTF-8 left its span")),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::House(error)
    }
}

/// Walks a request and gathers its spans.
struct Decoder<'a> {
    columns: SpanColumns,
    resource: RawOwner<'a>,
    /// The resource as the columns take it, from the first kept span on: a request may hold millions of resources without one.
    encoded_resource: Option<Owner<'a>>,
    scope: RawOwner<'a>,
    span: Span<'a>,
    tally: Tally,
    position: Position,
}

impl<'a> Decoder<'a> {
    /// The bytes of the smallest span that is kept: two ids and two times. It bounds what a request can reserve.
    const SMALLEST_SPAN_BYTES: usize = 48;

    fn decode(payload: &'a [u8]) -> Result<Decoded, Fault> {
        let rows = count_spans(payload)?.min(payload.len() / Self::SMALLEST_SPAN_BYTES);
        let mut decoder = Self {
            columns: SpanColumns::with_capacity(rows),
            resource: RawOwner::default(),
            encoded_resource: None,
            scope: RawOwner::default(),
            span: Span::default(),
            tally: Tally::default(),
            position: Position::default(),
        };
        let mut fields = Fields::of(payload);
        while let Some(field) = fields.next()? {
            if field.number == 1 {
                decoder.resource_spans(field.bytes(&fields)?)?;
                decoder.position.resource += 1;
            }
        }
        Ok(Decoded { batch: decoder.columns.finish()?, refusals: decoder.tally.finish() })
    }

    /// Reads the resource first, wherever it stands, and then its scopes.
    fn resource_spans(&mut self, message: &'a [u8]) -> Result<(), Fault> {
        // A request can be millions of these.
        if message.is_empty() {
            return Ok(());
        }
        let mut resource: Option<&[u8]> = None;
        let mut schema_url: &[u8] = &[];
        let mut fields = Fields::of(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 if resource.is_some() => return Err(Fault::Repeated),
                1 => resource = Some(field.bytes(&fields)?),
                2 => drop(field.bytes(&fields)?),
                3 => schema_url = field.bytes(&fields)?,
                _ => {}
            }
        }
        self.resource.read(resource.unwrap_or_default(), &RESOURCE, schema_url)?;
        self.encoded_resource = None;
        self.position.scope = 0;
        let mut fields = Fields::of(message);
        while let Some(field) = fields.next()? {
            if field.number == 2 {
                self.scope_spans(field.bytes(&fields)?)?;
                self.position.scope += 1;
            }
        }
        Ok(())
    }

    fn scope_spans(&mut self, message: &'a [u8]) -> Result<(), Fault> {
        let mut scope: Option<&[u8]> = None;
        let mut schema_url: &[u8] = &[];
        let mut fields = Fields::of(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 if scope.is_some() => return Err(Fault::Repeated),
                1 => scope = Some(field.bytes(&fields)?),
                2 => drop(field.bytes(&fields)?),
                3 => schema_url = field.bytes(&fields)?,
                _ => {}
            }
        }
        self.scope.read(scope.unwrap_or_default(), &SCOPE, schema_url)?;
        let owners_are_text = self.resource.is_text() && self.scope.is_text();
        let rows_before = self.columns.rows();
        self.position.span = 0;
        let mut fields = Fields::of(message);
        while let Some(field) = fields.next()? {
            if field.number == 2 {
                self.read_span(field.bytes(&fields)?, owners_are_text)?;
                self.position.span += 1;
            }
        }
        let rows = self.columns.rows() - rows_before;
        if rows == 0 {
            return Ok(());
        }
        let resource = &*self.encoded_resource.get_or_insert_with(|| self.resource.encode());
        Ok(self.columns.append_surroundings(&Surroundings { resource, scope: &self.scope.encode() }, rows)?)
    }

    #[inline]
    fn read_span(&mut self, message: &'a [u8], owners_are_text: bool) -> Result<(), Fault> {
        self.span.read(message)?;
        let refusal = self.span.refusal().or((!owners_are_text).then_some(RefusalReason::Utf8));
        match refusal {
            None => self.columns.append(&self.span)?,
            Some(reason) => self.tally.add(reason, self.span.span_id, self.span.raw_name, self.position),
        }
        Ok(())
    }
}

/// Counts the spans of a request without reading them.
fn count_spans(payload: &[u8]) -> Result<usize, WireError> {
    fn count(message: &[u8], path: &[u32]) -> Result<usize, WireError> {
        let Some((number, deeper)) = path.split_first() else {
            return Ok(1);
        };
        let mut total = 0;
        let mut fields = Fields::of(message);
        while let Some(field) = fields.next()? {
            if field.number == *number {
                total += count(field.bytes(&fields)?, deeper)?;
            }
        }
        Ok(total)
    }
    count(payload, &[1, 2, 2])
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array, AsArray, RecordBatch};
    use datafusion::arrow::datatypes::Int64Type;
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::span::Event;
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
    use prost::Message;

    use super::*;
    use crate::error::Kind;
    use crate::model::schema;
    use crate::otlp::limits;
    use crate::otlp::write::push_bytes;

    fn attribute(key: &str, value: Value) -> KeyValue {
        KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
    }

    fn text(key: &str, value: &str) -> KeyValue {
        attribute(key, Value::StringValue(value.into()))
    }

    fn span() -> Span {
        Span {
            trace_id: (1..=16).collect(),
            span_id: (1..=8).collect(),
            name: "GET /".into(),
            kind: 2,
            start_time_unix_nano: 1_700_000_000_000_000_001,
            end_time_unix_nano: 1_700_000_000_000_000_003,
            ..Span::default()
        }
    }

    fn request(spans: Vec<Span>) -> ExportTraceServiceRequest {
        let resource = Resource { attributes: vec![text("service.name", "shop")], ..Resource::default() };
        let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
        let resource_spans = vec![ResourceSpans { resource: Some(resource), scope_spans, schema_url: String::new() }];
        ExportTraceServiceRequest { resource_spans }
    }

    fn decode(spans: Vec<Span>) -> Decoded {
        decode_export(&request(spans).encode_to_vec()).expect("decodable")
    }

    fn rows(decoded: &Decoded) -> RecordBatch {
        decoded.batch.to_record_batch().expect("expanded")
    }

    fn string(batch: &RecordBatch, column: &str, row: usize) -> Option<String> {
        let column = batch.column_by_name(column).expect("a column").as_string_view();
        column.is_valid(row).then(|| column.value(row).to_owned())
    }

    /// A row of a map as its text.
    fn map(batch: &RecordBatch, column: &str, row: usize) -> Vec<(String, Option<String>)> {
        let entries = batch.column_by_name(column).expect("a column").as_map().value(row);
        let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
        let value = |place: usize| values.is_valid(place).then(|| values.value(place).to_owned());
        (0..entries.len()).map(|place| (keys.value(place).to_owned(), value(place))).collect()
    }

    #[test]
    fn an_empty_request_is_an_empty_batch() {
        let decoded = decode_export(&[]).expect("decodable");
        assert_eq!(decoded.batch.num_rows(), 0);
        assert_eq!(rows(&decoded).schema(), schema::physical_schema());
        assert_eq!(decoded.refusals, Refusals::default());
    }

    #[test]
    fn a_span_lies_in_its_columns() {
        let mut span = span();
        span.parent_span_id = vec![9; 8];
        span.attributes = vec![text("a", "x"), attribute("n", Value::IntValue(-5)), text("a", "again")];
        span.status = Some(Status { code: 2, message: String::new() });
        let message = text("exception.message", "boom");
        span.events = vec![Event { name: "exception".into(), attributes: vec![message], ..Event::default() }];
        let decoded = decode(vec![span.clone(), Span { kind: 77, ..span }]);
        let batch = rows(&decoded);
        assert_eq!(decoded.refusals.rejected_spans, 0);
        assert_eq!(batch.num_rows(), 2);
        let int = |column: &str| batch.column_by_name(column).expect("a column").as_primitive::<Int64Type>().value(0);
        assert_eq!(int(schema::START_NS), 1_700_000_000_000_000_001);
        assert_eq!(int(schema::DURATION_NS), 2);
        assert_eq!(string(&batch, schema::SERVICE_NAME, 1).as_deref(), Some("shop"));
        assert_eq!(string(&batch, schema::SPAN_KIND, 0).as_deref(), Some("SERVER"));
        assert_eq!(string(&batch, schema::SPAN_KIND, 1).as_deref(), Some("77"));
        assert_eq!(string(&batch, schema::STATUS_CODE, 0).as_deref(), Some("ERROR"));
        assert_eq!(string(&batch, schema::EXCEPTION_MESSAGE, 0).as_deref(), Some("boom"));
        assert_eq!(string(&batch, schema::ATTRIBUTE_TYPES, 0).as_deref(), Some("sis"));
        assert_eq!(string(&batch, schema::RESOURCE_ATTRIBUTE_TYPES, 0), None);
        let pair = |key: &str, value: &str| (key.to_owned(), Some(value.to_owned()));
        assert_eq!(map(&batch, schema::ATTRIBUTES, 1), [pair("a", "x"), pair("n", "-5"), pair("a", "again")]);
        assert_eq!(map(&batch, schema::RESOURCE_ATTRIBUTES, 1), [pair("service.name", "shop")]);
        let parents = batch.column_by_name(schema::PARENT_SPAN_ID).expect("a column").as_fixed_size_binary();
        assert_eq!(parents.value(0), [9; 8]);
    }

    #[test]
    fn each_bad_span_is_refused_with_its_reason_and_the_others_are_kept() {
        let bad = [
            (RefusalReason::TraceId, Span { trace_id: vec![1, 2], ..span() }),
            (RefusalReason::TraceId, Span { trace_id: vec![0; 16], ..span() }),
            (RefusalReason::SpanId, Span { span_id: vec![], ..span() }),
            (RefusalReason::SpanId, Span { span_id: vec![0; 8], ..span() }),
            (RefusalReason::ParentSpanId, Span { parent_span_id: vec![1; 7], ..span() }),
            (RefusalReason::StartTime, Span { start_time_unix_nano: 0, ..span() }),
            (RefusalReason::StartTime, Span { start_time_unix_nano: u64::MAX, end_time_unix_nano: u64::MAX, ..span() }),
            (RefusalReason::StartTime, Span { start_time_unix_nano: limits::END_OF_TIME_NS, ..span() }),
            (RefusalReason::EndTime, Span { end_time_unix_nano: 0, ..span() }),
            (RefusalReason::EndTime, Span { end_time_unix_nano: u64::MAX, ..span() }),
        ];
        let spans = bad.iter().flat_map(|(_, bad)| [bad.clone(), span()]).collect();
        let Decoded { batch, refusals } = decode(spans);
        assert_eq!(batch.num_rows(), bad.len());
        assert_eq!(refusals.rejected_spans, bad.len() as u64);
        for reason in RefusalReason::ALL {
            let expected = bad.iter().filter(|(found, _)| *found == reason).count() as u64;
            assert_eq!(refusals.counts[reason as usize], expected, "{reason:?}");
        }
        let first = "1 with a parent span id that is neither empty nor 8 bytes (first: span '0102030405060708' \"GET /\" at \
                     resource_spans[0].scope_spans[0].spans[8])";
        assert!(refusals.message.contains(first), "{}", refusals.message);
        assert!(refusals.message.starts_with("10 spans refused: 2 with a trace id"), "{}", refusals.message);
    }

    #[test]
    fn a_parent_of_zeros_is_none() {
        let batch = rows(&decode(vec![Span { parent_span_id: vec![0; 8], ..span() }]));
        assert!(batch.column_by_name(schema::PARENT_SPAN_ID).expect("a column").is_null(0));
    }

    #[test]
    fn text_that_is_not_utf8_refuses_its_spans_only() {
        let good = request(vec![span()]);
        for needle in ["GET /", "value"] {
            let mut with = span();
            with.attributes.push(text("key", "value"));
            let mut bytes = request(vec![with]).encode_to_vec();
            let place = bytes.windows(needle.len()).position(|part| part == needle.as_bytes()).expect("there");
            bytes[place] = 0xff;
            bytes.extend(good.encode_to_vec());
            let decoded = decode_export(&bytes).expect("decodable");
            assert_eq!((decoded.batch.num_rows(), decoded.refusals.rejected_spans), (1, 1), "{needle}");
            assert_eq!(decoded.refusals.counts[RefusalReason::Utf8 as usize], 1);
        }
        let mut bytes = request(vec![span(), span()]).encode_to_vec();
        let place = bytes.windows(4).position(|part| part == b"shop").expect("there");
        bytes[place] = 0xff;
        assert_eq!(decode_export(&bytes).expect("decodable").refusals.rejected_spans, 2);
    }

    #[test]
    fn caps_cut_and_count() {
        let long = "é".repeat(limits::MAX_ATTRIBUTE_VALUE_BYTES);
        let big_bytes = Value::BytesValue(vec![1; limits::MAX_ATTRIBUTE_VALUE_BYTES]);
        let mut large = span();
        large.attributes = vec![text("long", &long), attribute("bytes", big_bytes)];
        let mut many = span();
        many.dropped_attributes_count = 1;
        many.attributes = (0..100_000).map(|index| text(&format!("k{index}"), "v")).collect();
        many.events = (0..limits::MAX_EVENTS + 3).map(|_| Event::default()).collect();
        many.name = format!("x{}", "é".repeat(limits::MAX_NAME_BYTES / 2));
        let batch = rows(&decode(vec![large, many]));
        let count = |column: &str, row: usize| {
            batch
                .column_by_name(column)
                .expect("a column")
                .as_primitive::<datafusion::arrow::datatypes::Int32Type>()
                .value(row)
        };
        let kept = map(&batch, schema::ATTRIBUTES, 0);
        assert_eq!(kept.len(), 1);
        assert_eq!(kept[0].1.as_ref().map(String::len), Some(limits::MAX_ATTRIBUTE_VALUE_BYTES));
        assert_eq!(count(schema::DROPPED_ATTRIBUTES_COUNT, 0), 2);
        assert_eq!(map(&batch, schema::ATTRIBUTES, 1).len(), limits::MAX_ATTRIBUTES);
        assert_eq!(count(schema::DROPPED_ATTRIBUTES_COUNT, 1), 100_000 - limits::MAX_ATTRIBUTES as i32 + 1);
        assert_eq!(count(schema::DROPPED_EVENTS_COUNT, 1), 3);
        assert_eq!(string(&batch, schema::SPAN_NAME, 1).map(|name| name.len()), Some(limits::MAX_NAME_BYTES - 1));
    }

    #[test]
    fn a_request_that_would_become_too_large_is_refused() {
        let mut request = request(vec![span(); 1_000]);
        let resource = request.resource_spans[0].resource.as_mut().expect("a resource");
        resource.attributes.push(text("big", &"x".repeat(limits::MAX_ATTRIBUTE_VALUE_BYTES)));
        let error = decode_export(&request.encode_to_vec()).expect_err("too large");
        assert_eq!(error.kind, Kind::TooLarge, "{error}");
    }

    #[test]
    fn a_resource_may_follow_its_spans_and_come_in_parts() {
        let whole = request(vec![span()]);
        let scope_spans = whole.resource_spans[0].scope_spans[0].encode_to_vec();
        let part = |key: &str, value: &str| {
            Resource { attributes: vec![text(key, value)], ..Resource::default() }.encode_to_vec()
        };
        let mut message = Vec::new();
        push_bytes(2, &scope_spans, &mut message);
        push_bytes(1, &part("service.name", "late"), &mut message);
        push_bytes(1, &part("k", "v"), &mut message);
        let mut bytes = Vec::new();
        push_bytes(1, &message, &mut bytes);
        let batch = rows(&decode_export(&bytes).expect("decodable"));
        assert_eq!(string(&batch, schema::SERVICE_NAME, 0).as_deref(), Some("late"));
        assert_eq!(map(&batch, schema::RESOURCE_ATTRIBUTES, 0).len(), 2);
    }

    #[test]
    fn owners_without_spans_are_no_rows_and_still_checked() {
        let counts = |bytes: &[u8]| {
            let decoded = decode_export(bytes).expect("decodable");
            (decoded.batch.num_rows(), decoded.refusals.rejected_spans)
        };
        assert_eq!(counts(&[0x0a, 0].repeat(100_000)), (0, 0));
        assert_eq!(counts(&[0x0a, 2, 0x12, 0].repeat(100_000)), (0, 0));
        assert_eq!(counts(&[0x0a, 4, 0x12, 2, 0x12, 0].repeat(100_000)), (0, 100_000));
        // A resource with an attribute that runs past its end, then a scope with one.
        for bytes in [&[0x0a_u8, 4, 0x0a, 2, 0x0a, 9] as &[u8], &[0x0a, 6, 0x12, 4, 0x0a, 2, 0x1a, 9]] {
            let error = decode_export(bytes).expect_err("malformed");
            assert_eq!(error.kind, Kind::BadInput, "{error}");
        }
    }

    #[test]
    fn a_scratch_that_held_a_rich_owner_gives_the_next_one_nothing() {
        let mut rich = request(vec![span()]);
        let resource = &mut rich.resource_spans[0];
        resource.schema_url = "https://schema".into();
        resource.resource.as_mut().expect("a resource").dropped_attributes_count = 7;
        let scope = InstrumentationScope { name: "lib".into(), version: "1".into(), ..InstrumentationScope::default() };
        resource.scope_spans[0].scope = Some(scope);
        rich.resource_spans[0].scope_spans.push(ScopeSpans { spans: vec![span()], ..ScopeSpans::default() });
        rich.resource_spans.push(ResourceSpans {
            scope_spans: vec![ScopeSpans { spans: vec![span()], ..ScopeSpans::default() }],
            ..ResourceSpans::default()
        });
        let batch = rows(&decode_export(&rich.encode_to_vec()).expect("decodable"));
        let column = |name: &str| (0..3).map(|row| string(&batch, name, row)).collect::<Vec<_>>();
        let (some, shop) = (|text: &str| Some(text.to_owned()), Some("shop".to_owned()));
        assert_eq!(column(schema::SERVICE_NAME), [shop.clone(), shop, some(schema::UNKNOWN_SERVICE)]);
        assert_eq!(column(schema::SCOPE_NAME), [some("lib"), None, None]);
        assert_eq!(column(schema::RESOURCE_SCHEMA_URL), [some("https://schema"), some("https://schema"), None]);
        assert!(map(&batch, schema::RESOURCE_ATTRIBUTES, 2).is_empty());
    }

    #[test]
    fn bytes_that_are_no_request_are_bad_input() {
        let bytes = request(vec![span()]).encode_to_vec();
        for len in (1..bytes.len()).filter(|len| *len != 0) {
            let error = decode_export(&bytes[..len]).expect_err("truncated");
            assert_eq!(error.kind, Kind::BadInput, "{len}: {error}");
        }
        let error = decode_export(b"not protobuf at all").expect_err("no protobuf");
        assert_eq!(error.kind, Kind::BadInput, "{error}");
    }
}
