//! A request without what a censor takes out of it: the same protobuf message, written anew.
//!
//! What is written holds nothing that the censor was not asked about or that has no place for texts of senders: unknown fields are left out, and of a
//! value that stands twice only the one that counts stays.

use std::borrow::Cow;

use super::limits::MAX_VALUE_LEVELS;
use super::merge::merge_repeated;
use super::value::{AnyValue, ValueFault, field, read_any_value, read_key_value};
use super::wire::{Fields, WireError, WireFault};
use super::write::{push_bytes, push_fixed64, push_varint};
use crate::error::{Error, Result};

/// Judges the texts of a request.
pub trait Censor {
    /// What it makes of keys.
    type Keys: Copy;

    /// Judges the key of an attribute, or of an entry inside one as [`Entry::key`] has it: once, however many values of an array stand under it.
    /// `outer` is what it made of the keys around it.
    fn keys(&mut self, owner: Owner, key: &[u8], outer: Option<Self::Keys>) -> Self::Keys;

    /// Judges an attribute, an entry of a key-value list in one, or an element of an array in one. Lists and arrays that are kept are
    /// gone through.
    fn entry(&mut self, entry: &Entry<'_, Self::Keys>) -> Verdict;

    /// Judges a text that is no attribute; gives what stands in its place.
    fn text(&mut self, place: TextPlace, text: &[u8]) -> Option<Vec<u8>>;

    /// Forgets what was judged: the request is gone through from its beginning.
    fn begin(&mut self);
}

/// What becomes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Keep,
    Delete,
    /// A string stands in its place.
    Replace(Vec<u8>),
}

/// Whose an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Resource,
    Scope,
    Span,
    Event,
    Link,
}

/// What a text that is no attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextPlace {
    SpanName,
    EventName,
    StatusMessage,
}

/// A key and its value.
#[derive(Debug)]
pub struct Entry<'a, K> {
    pub owner: Owner,
    /// The attribute's key, and behind it those of the entries inside it, with dots between; of long ones around the last without the middle. Perhaps
    /// no UTF-8.
    pub key: &'a [u8],
    /// What its judge made of the key.
    pub keys: K,
    /// Whether it lies inside an attribute.
    pub is_nested: bool,
    pub value: Value<'a>,
}

/// A value as its judge sees it.
#[derive(Debug)]
pub enum Value<'a> {
    /// The text of a string, bytes, a number or a truth; perhaps no UTF-8.
    Text(Cow<'a, [u8]>),
    /// What has none: an array, a list, nothing; as the request has it.
    Other(&'a [u8]),
}

/// Writes the protobuf `ExportTraceServiceRequest` in `payload` anew.
///
/// # Errors
/// [`crate::error::Kind::BadInput`] when the bytes are not such a message.
pub fn rewrite_export(payload: &[u8], censor: &mut impl Censor) -> Result<Vec<u8>> {
    let rewrite = |payload: &[u8], censor: &mut _| {
        let mut out = Vec::with_capacity(payload.len());
        Rewriter { censor }.message(payload, &REQUEST, &mut out).map(|()| out)
    };
    censor.begin();
    match rewrite(payload, censor) {
        Err(ValueFault::Repeated) => {
            let merged = merge_repeated(payload).map_err(|error| super::decode::bad_input(error, payload))?;
            censor.begin();
            rewrite(&merged, censor).map_err(|fault| into_error(fault, &merged))
        }
        written => written.map_err(|fault| into_error(fault, payload)),
    }
}

fn into_error(fault: ValueFault, payload: &[u8]) -> Error {
    match fault {
        ValueFault::Wire(error) => super::decode::bad_input(error, payload),
        ValueFault::Repeated => Error::internal("a merged request holds a repeated message"),
        ValueFault::Utf8 => Error::internal("a text was read where none is"),
    }
}

/// Of the keys around an entry, so many of the first and of the last bytes are judged with it: a long key around many entries would be gone through
/// for each of them.
const OUTER_END_BYTES: usize = 128;

/// The fields of a message that are written; all others are left out.
struct Shape(&'static [(u32, Part)]);

#[derive(Clone, Copy)]
enum Part {
    /// Written as it is.
    Plain,
    Message(&'static Shape),
    Attribute(Owner),
    Text(TextPlace),
}

static REQUEST: Shape = Shape(&[(1, Part::Message(&RESOURCE_SPANS))]);
static RESOURCE_SPANS: Shape =
    Shape(&[(1, Part::Message(&RESOURCE)), (2, Part::Message(&SCOPE_SPANS)), (3, Part::Plain)]);
/// Without its references to entities, which are kept nowhere.
static RESOURCE: Shape = Shape(&[(1, Part::Attribute(Owner::Resource)), (2, Part::Plain)]);
static SCOPE_SPANS: Shape = Shape(&[(1, Part::Message(&SCOPE)), (2, Part::Message(&SPAN)), (3, Part::Plain)]);
static SCOPE: Shape =
    Shape(&[(1, Part::Plain), (2, Part::Plain), (3, Part::Attribute(Owner::Scope)), (4, Part::Plain)]);
static SPAN: Shape = Shape(&[
    (1, Part::Plain),
    (2, Part::Plain),
    (3, Part::Plain),
    (4, Part::Plain),
    (5, Part::Text(TextPlace::SpanName)),
    (6, Part::Plain),
    (7, Part::Plain),
    (8, Part::Plain),
    (9, Part::Attribute(Owner::Span)),
    (10, Part::Plain),
    (11, Part::Message(&EVENT)),
    (12, Part::Plain),
    (13, Part::Message(&LINK)),
    (14, Part::Plain),
    (15, Part::Message(&STATUS)),
    (16, Part::Plain),
]);
static EVENT: Shape = Shape(&[
    (1, Part::Plain),
    (2, Part::Text(TextPlace::EventName)),
    (3, Part::Attribute(Owner::Event)),
    (4, Part::Plain),
]);
static LINK: Shape = Shape(&[
    (1, Part::Plain),
    (2, Part::Plain),
    (3, Part::Plain),
    (4, Part::Attribute(Owner::Link)),
    (5, Part::Plain),
    (6, Part::Plain),
]);
static STATUS: Shape = Shape(&[(2, Part::Text(TextPlace::StatusMessage)), (3, Part::Plain)]);

struct Rewriter<'c, C> {
    censor: &'c mut C,
}

/// Where a value stands.
#[derive(Clone, Copy)]
struct At<'a, K> {
    owner: Owner,
    /// The key, and those of what it lies in before it.
    path: &'a [u8],
    /// What the censor made of them.
    keys: K,
    is_nested: bool,
    levels_left: usize,
}

impl<'a, K> At<'a, K> {
    /// An attribute.
    fn attribute(owner: Owner, key: &'a [u8], keys: K) -> Self {
        Self { owner, path: key, keys, is_nested: false, levels_left: MAX_VALUE_LEVELS }
    }

    /// What lies in it, under keys that may be its own.
    fn inside(self, path: &'a [u8], keys: K) -> Self {
        Self { path, keys, is_nested: true, ..self }
    }
}

impl<C: Censor> Rewriter<'_, C> {
    fn message(&mut self, message: &[u8], shape: &Shape, out: &mut Vec<u8>) -> Result<(), ValueFault> {
        let mut fields = Fields::of(message);
        let mut before = message;
        while let Some(read) = fields.next()? {
            let whole = &before[..before.len() - fields.rest().len()];
            before = fields.rest();
            let part = shape.0.iter().find(|(number, _)| *number == read.number).map(|(_, part)| *part);
            match part {
                None => {}
                Some(Part::Plain) => out.extend_from_slice(whole),
                Some(Part::Message(inner)) => {
                    let mut written = Vec::new();
                    self.message(read.bytes(&fields)?, inner, &mut written)?;
                    push_bytes(read.number, &written, out);
                }
                Some(Part::Attribute(owner)) => {
                    let (key, value) = read_key_value(read.bytes(&fields)?)?;
                    let keys = self.censor.keys(owner, key, None);
                    self.key_value(read.number, key, At::attribute(owner, key, keys), value, out)?;
                }
                Some(Part::Text(place)) => match self.censor.text(place, read.bytes(&fields)?) {
                    Some(text) => push_bytes(read.number, &text, out),
                    None => out.extend_from_slice(whole),
                },
            }
        }
        Ok(())
    }

    /// Writes an attribute or an entry with its own key, unless it is to be left out.
    fn key_value(
        &mut self,
        number: u32,
        key: &[u8],
        at: At<'_, C::Keys>,
        value: AnyValue<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), ValueFault> {
        let mut written = Vec::new();
        if !self.value(at, value, &mut written)? {
            return Ok(());
        }
        let mut entry = Vec::with_capacity(key.len() + written.len() + 8);
        push_bytes(field::KEY, key, &mut entry);
        push_bytes(field::VALUE, &written, &mut entry);
        push_bytes(number, &entry, out);
        Ok(())
    }

    /// Writes an `AnyValue`; `false` when it is to be left out.
    fn value(&mut self, at: At<'_, C::Keys>, value: AnyValue<'_>, out: &mut Vec<u8>) -> Result<bool, ValueFault> {
        let At { owner, path: key, keys, is_nested, levels_left } = at;
        let Some(levels_left) = levels_left.checked_sub(1) else {
            return Err(WireError::at(WireFault::ValuesTooDeep, key).into());
        };
        match self.censor.entry(&Entry { owner, key, keys, is_nested, value: seen(value) }) {
            Verdict::Keep => {}
            Verdict::Delete => return Ok(false),
            Verdict::Replace(text) => {
                // What is left of bytes may be no text, and a string that is none would have its span refused.
                let is_text = !matches!(value, AnyValue::Bytes(_)) || std::str::from_utf8(&text).is_ok();
                push_bytes(if is_text { field::STRING } else { field::BYTES }, &text, out);
                return Ok(true);
            }
        }
        let at = At { levels_left, ..at };
        match value {
            AnyValue::Empty => {}
            AnyValue::String(text) => push_bytes(field::STRING, text, out),
            AnyValue::Bool(truth) => push_varint(field::BOOL, u64::from(truth), out),
            AnyValue::Int(number) => push_varint(field::INT, number as u64, out),
            AnyValue::Double(number) => push_fixed64(field::DOUBLE, number.to_bits(), out),
            AnyValue::Bytes(bytes) => push_bytes(field::BYTES, bytes, out),
            AnyValue::Array(message) => {
                let mut list = Vec::new();
                each_value(message, |element| {
                    let mut written = Vec::new();
                    if self.value(at.inside(key, keys), read_any_value(element)?, &mut written)? {
                        push_bytes(field::VALUES, &written, &mut list);
                    }
                    Ok(())
                })?;
                push_bytes(field::ARRAY, &list, out);
            }
            AnyValue::KeyValueList(message) => {
                let mut list = Vec::new();
                each_value(message, |entry| {
                    let (inner, value) = read_key_value(entry)?;
                    let path = path_inside(key, inner);
                    let keys = self.censor.keys(owner, &path, Some(keys));
                    self.key_value(field::VALUES, inner, at.inside(&path, keys), value, &mut list)
                })?;
                push_bytes(field::KEY_VALUE_LIST, &list, out);
            }
        }
        Ok(true)
    }
}

fn path_inside(outer: &[u8], key: &[u8]) -> Vec<u8> {
    if outer.len() <= 2 * OUTER_END_BYTES {
        return [outer, b".", key].concat();
    }
    [&outer[..OUTER_END_BYTES], &outer[outer.len() - OUTER_END_BYTES..], b".", key].concat()
}

/// Gives the elements of an `ArrayValue`, or the entries of a `KeyValueList`.
fn each_value<'a>(
    message: &'a [u8],
    mut give: impl FnMut(&'a [u8]) -> Result<(), ValueFault>,
) -> Result<(), ValueFault> {
    let mut fields = Fields::of(message);
    while let Some(read) = fields.next()? {
        if read.number == field::VALUES {
            give(read.bytes(&fields)?)?;
        }
    }
    Ok(())
}

fn seen(value: AnyValue<'_>) -> Value<'_> {
    match value {
        AnyValue::String(text) | AnyValue::Bytes(text) => Value::Text(text.into()),
        AnyValue::Bool(truth) => Value::Text(truth.to_string().into_bytes().into()),
        AnyValue::Int(number) => Value::Text(number.to_string().into_bytes().into()),
        AnyValue::Double(number) => Value::Text(number.to_string().into_bytes().into()),
        AnyValue::Array(message) | AnyValue::KeyValueList(message) => Value::Other(message),
        AnyValue::Empty => Value::Other(&[]),
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1 as common;
    use opentelemetry_proto::tonic::common::v1::any_value::Value as Sent;
    use opentelemetry_proto::tonic::resource::v1::Resource;
    use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
    use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
    use prost::Message;

    use super::*;

    /// Notes what it is asked, deletes what is called `gone`, and puts `new` in the place of `old`.
    #[derive(Default)]
    struct Notes(Vec<String>);

    impl Censor for Notes {
        type Keys = ();

        fn keys(&mut self, _: Owner, _: &[u8], _: Option<()>) {}

        fn entry(&mut self, entry: &Entry<'_, ()>) -> Verdict {
            let key = String::from_utf8_lossy(entry.key);
            let Value::Text(text) = &entry.value else { return Verdict::Keep };
            self.0.push(format!("{:?} {key}={}", entry.owner, String::from_utf8_lossy(text)));
            match text.as_ref() {
                _ if key.ends_with("gone") => Verdict::Delete,
                b"old" => Verdict::Replace(b"new".to_vec()),
                _ => Verdict::Keep,
            }
        }

        fn text(&mut self, place: TextPlace, text: &[u8]) -> Option<Vec<u8>> {
            self.0.push(format!("{place:?}={}", String::from_utf8_lossy(text)));
            (text == b"old").then(|| b"new".to_vec())
        }

        fn begin(&mut self) {
            self.0.clear();
        }
    }

    fn value(value: Sent) -> common::AnyValue {
        common::AnyValue { value: Some(value) }
    }

    fn entry(key: &str, sent: Sent) -> common::KeyValue {
        common::KeyValue { key: key.into(), value: Some(value(sent)), key_strindex: 0 }
    }

    fn text(key: &str, text: &str) -> common::KeyValue {
        entry(key, Sent::StringValue(text.into()))
    }

    /// A request with an attribute of each owner and each type.
    fn request(of: &str) -> ExportTraceServiceRequest {
        let list = common::KeyValueList { values: vec![text("inner", of), entry("n", Sent::IntValue(-7))] };
        let array = common::ArrayValue { values: vec![value(Sent::KvlistValue(list)), value(Sent::DoubleValue(1.5))] };
        let attributes = vec![
            text("s", of),
            entry("b", Sent::BoolValue(true)),
            entry("y", Sent::BytesValue(vec![0xff, 1])),
            entry("a", Sent::ArrayValue(array)),
            common::KeyValue { key: "empty".into(), value: Some(common::AnyValue { value: None }), key_strindex: 0 },
        ];
        let event = Event { time_unix_nano: 5, name: of.into(), attributes: vec![text("e", of)], ..Event::default() };
        let link =
            Link { trace_id: vec![1; 16], span_id: vec![2; 8], attributes: vec![text("l", of)], ..Link::default() };
        let span = Span {
            trace_id: vec![3; 16],
            span_id: vec![4; 8],
            trace_state: "x=y".into(),
            name: of.into(),
            kind: 2,
            start_time_unix_nano: 9,
            end_time_unix_nano: 10,
            attributes,
            events: vec![event],
            links: vec![link],
            status: Some(Status { code: 2, message: of.into() }),
            flags: 1,
            ..Span::default()
        };
        let scope = common::InstrumentationScope {
            name: "lib".into(),
            attributes: vec![text("c", of)],
            ..common::InstrumentationScope::default()
        };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans: vec![span], schema_url: "u".into() }];
        let resource = Resource { attributes: vec![text("r", of)], ..Resource::default() };
        ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { resource: Some(resource), scope_spans, schema_url: "v".into() }],
        }
    }

    #[test]
    fn what_is_kept_is_written_as_it_came_and_what_is_replaced_everywhere() {
        let mut notes = Notes::default();
        let kept = request("kept");
        assert_eq!(rewrite_export(&kept.encode_to_vec(), &mut notes).unwrap(), kept.encode_to_vec());
        let asked = [
            "Resource r=kept",
            "Scope c=kept",
            "SpanName=kept",
            "Span s=kept",
            "Span b=true",
            "Span y=\u{fffd}\u{1}",
            "Span a.inner=kept",
            "Span a.n=-7",
            "Span a=1.5",
            "EventName=kept",
            "Event e=kept",
            "Link l=kept",
            "StatusMessage=kept",
        ];
        assert_eq!(notes.0, asked);
        let written = rewrite_export(&request("old").encode_to_vec(), &mut notes).unwrap();
        assert_eq!(ExportTraceServiceRequest::decode(&*written).unwrap(), request("new"));
    }

    #[test]
    fn what_is_deleted_leaves_nothing_behind() {
        let mut sent = request("kept");
        let whole = sent.clone();
        let span = &mut sent.resource_spans[0].scope_spans[0].spans[0];
        span.attributes.insert(1, text("gone", "secret"));
        span.events[0].attributes.push(text("gone", "secret"));
        let Some(Sent::ArrayValue(array)) = span.attributes[4].value.as_mut().and_then(|of| of.value.as_mut()) else {
            panic!("the array")
        };
        let Some(Sent::KvlistValue(list)) = array.values[0].value.as_mut() else { panic!("the list") };
        list.values.push(text("gone", "secret"));
        let written = rewrite_export(&sent.encode_to_vec(), &mut Notes::default()).unwrap();
        assert_eq!(written, whole.encode_to_vec());
    }

    /// What the decoder would not see: fields that nobody knows, and values before the last one.
    #[test]
    fn nothing_hides_where_the_decoder_does_not_look() {
        let mut any = Vec::new();
        push_bytes(field::STRING, b"secret", &mut any);
        push_bytes(field::STRING, b"shown", &mut any);
        push_bytes(99, b"secret", &mut any);
        let mut attribute = Vec::new();
        push_bytes(field::KEY, b"secret", &mut attribute);
        push_bytes(field::KEY, b"k", &mut attribute);
        push_bytes(field::VALUE, &any, &mut attribute);
        let mut resource = Vec::new();
        push_bytes(1, &attribute, &mut resource);
        push_bytes(3, b"secret", &mut resource);
        push_bytes(77, b"secret", &mut resource);
        let mut spans = Vec::new();
        push_bytes(1, &resource, &mut spans);
        let mut payload = Vec::new();
        push_bytes(1, &spans, &mut payload);
        push_bytes(5, b"secret", &mut payload);
        let written = rewrite_export(&payload, &mut Notes::default()).unwrap();
        assert!(!written.windows(6).any(|part| part == b"secret"), "{written:?}");
        let seen = ExportTraceServiceRequest::decode(&*written).unwrap();
        assert_eq!(seen.resource_spans[0].resource.as_ref().unwrap().attributes, [text("k", "shown")]);
        // A value in two parts is merged first, as the decoder does.
        let twice = [0x0a, 13, 0x0a, 11, 0x0a, 9, 0x12, 2, 0x2a, 0, 0x12, 3, 0x0a, 1, b'x'];
        assert!(rewrite_export(&twice, &mut Notes::default()).is_ok());
    }

    /// Notes the keys that it judges, and which of them was around each.
    #[derive(Default)]
    struct KeyNotes(Vec<(String, Option<usize>)>);

    impl Censor for KeyNotes {
        type Keys = usize;

        fn keys(&mut self, _: Owner, key: &[u8], outer: Option<usize>) -> usize {
            self.0.push((String::from_utf8_lossy(key).into_owned(), outer));
            self.0.len() - 1
        }

        fn entry(&mut self, entry: &Entry<'_, usize>) -> Verdict {
            assert_eq!(self.0[entry.keys].0.as_bytes(), entry.key);
            Verdict::Keep
        }

        fn text(&mut self, _: TextPlace, _: &[u8]) -> Option<Vec<u8>> {
            None
        }

        fn begin(&mut self) {
            self.0.clear();
        }
    }

    #[test]
    fn a_key_is_judged_once_however_many_values_stand_under_it() {
        let long = format!("first{}last", "-".repeat(10_000));
        let list = common::KeyValueList { values: vec![text("x", "1"), text("y", "2")] };
        let mut values = vec![value(Sent::BoolValue(true)); 1_000];
        values.push(value(Sent::KvlistValue(list)));
        let attribute = entry(&long, Sent::ArrayValue(common::ArrayValue { values }));
        let resource = Resource { attributes: vec![attribute], ..Resource::default() };
        let sent = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans { resource: Some(resource), ..ResourceSpans::default() }],
        };
        let mut notes = KeyNotes::default();
        assert_eq!(rewrite_export(&sent.encode_to_vec(), &mut notes).unwrap(), sent.encode_to_vec());
        let inner = |key: &str| {
            let (first, last) = ("-".repeat(OUTER_END_BYTES - 5), "-".repeat(OUTER_END_BYTES - 4));
            (format!("first{first}{last}last.{key}"), Some(0_usize))
        };
        assert_eq!(notes.0, [(long, None), inner("x"), inner("y")]);
    }

    #[test]
    fn what_is_no_request_is_refused_as_the_decoder_refuses_it() {
        let bytes = request("kept").encode_to_vec();
        for len in [1, 2, bytes.len() / 2, bytes.len() - 1] {
            let refused = rewrite_export(&bytes[..len], &mut Notes::default()).expect_err("truncated");
            assert_eq!(refused.kind, crate::error::Kind::BadInput, "{refused}");
        }
        let mut deep = value(Sent::BoolValue(true));
        for _ in 0..MAX_VALUE_LEVELS {
            deep = value(Sent::ArrayValue(common::ArrayValue { values: vec![deep] }));
        }
        let mut sent = request("kept");
        let attribute = common::KeyValue { key: "deep".into(), value: Some(deep), key_strindex: 0 };
        sent.resource_spans[0].scope_spans[0].spans[0].attributes.push(attribute);
        let payload = sent.encode_to_vec();
        assert!(super::super::decode_export(&payload).is_err());
        assert!(rewrite_export(&payload, &mut Notes::default()).is_err());
    }
}
