//! Writes protobuf while reading JSON, field by field, as the tables in [`super::schema`] say.

use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use super::reader::{Reader, Scalar, Step};
use super::schema::{ANY_VALUE, Field, Kind, Message, REQUEST};
use crate::error::{Error, Result};
use crate::otlp::write::{push_bytes, push_fixed32, push_fixed64, push_message, push_varint};

/// Turns an OTLP JSON `ExportTraceServiceRequest` into its protobuf bytes.
///
/// Takes what protobuf's JSON mapping and OTLP's exceptions to it allow: names in lowerCamelCase or as in the proto file, ids in hex, 64-bit numbers as
/// strings or numbers, enums as numbers or names, base64 of either alphabet, `null` for whatever is absent. Unknown fields are skipped.
/// An id that is not hex becomes an id of a wrong length, so that its span alone is refused.
///
/// # Errors
/// [`crate::error::Kind::BadInput`], with line, column and path.
pub fn json_to_protobuf(json: &[u8]) -> Result<Vec<u8>> {
    transcode(json, &REQUEST)
}

/// Turns the OTLP JSON of an `AnyValue` into its protobuf bytes.
pub(in crate::otlp) fn any_value_to_protobuf(json: &str) -> Result<Vec<u8>> {
    transcode(json.as_bytes(), &ANY_VALUE)
}

fn transcode(json: &[u8], message: &'static Message) -> Result<Vec<u8>> {
    let text = std::str::from_utf8(json).map_err(|error| {
        Error::bad_input(format!("the request is not OTLP JSON: byte {} is not UTF-8", error.valid_up_to()))
    })?;
    let mut reader = Reader::new(text);
    // Protobuf is smaller than its JSON: this rarely grows.
    let mut out = Vec::with_capacity(json.len() / 2);
    write_message(&mut reader, message, &mut out)?;
    reader.end()?;
    Ok(out)
}

/// Returns whether there was an object and not `null`.
fn write_message(reader: &mut Reader<'_>, message: &'static Message, out: &mut Vec<u8>) -> Result<bool> {
    reader.object(|reader, key| match message.fields.iter().find(|field| field.camel == key || field.snake == key) {
        Some(field) => reader.step(Step::Key(field.camel), |reader| write_field(reader, field, out)),
        None => reader.skip(),
    })
}

fn write_field(reader: &mut Reader<'_>, field: &'static Field, out: &mut Vec<u8>) -> Result<()> {
    match field.kind {
        Kind::One(message) => push_message(field.number, out, |out| write_message(reader, message, out)),
        // A null in a list stands for an empty element.
        Kind::Many(message) => reader
            .array(|reader| push_message(field.number, out, |out| write_message(reader, message, out).map(|_| true))),
        _ => match reader.scalar()? {
            Scalar::Null => Ok(()),
            scalar => write_scalar(reader, field, &scalar, out),
        },
    }
}

fn write_scalar(reader: &Reader<'_>, field: &Field, scalar: &Scalar<'_>, out: &mut Vec<u8>) -> Result<()> {
    let number = field.number;
    match (field.kind, scalar) {
        (Kind::String, Scalar::String(text)) => push_bytes(number, text.as_bytes(), out),
        (Kind::Bool, Scalar::Bool(value)) => push_varint(number, u64::from(*value), out),
        (Kind::Id, Scalar::String(text)) => push_bytes(number, &read_hex(text).unwrap_or_else(|| vec![0]), out),
        (Kind::Base64, Scalar::String(text)) => {
            let bytes = read_base64(text).ok_or_else(|| reader.error("this is not base64"))?;
            push_bytes(number, &bytes, out);
        }
        (Kind::Double, scalar) => {
            let value = read_double(scalar).ok_or_else(|| reader.error("a number was expected here"))?;
            push_fixed64(number, value.to_bits(), out);
        }
        (Kind::Int64, scalar) => {
            let value = read_integer(scalar, i64::MIN.into(), i64::MAX.into());
            let value = value.ok_or_else(|| reader.error("a signed 64-bit integer was expected here"))?;
            push_varint(number, value as i64 as u64, out);
        }
        (Kind::Fixed64, scalar) => {
            let value = read_integer(scalar, 0, u64::MAX.into());
            let value = value.ok_or_else(|| reader.error("an unsigned 64-bit integer was expected here"))?;
            push_fixed64(number, value as u64, out);
        }
        (Kind::Fixed32 | Kind::Uint32, scalar) => {
            let value = read_integer(scalar, 0, u32::MAX.into());
            let value = value.ok_or_else(|| reader.error("an unsigned 32-bit integer was expected here"))? as u32;
            match field.kind {
                Kind::Fixed32 => push_fixed32(number, value, out),
                _ => push_varint(number, u64::from(value), out),
            }
        }
        (Kind::Enum(names), scalar) => {
            let value = read_enum(scalar, names).ok_or_else(|| reader.error(&unknown_name(names)))?;
            push_varint(number, i64::from(value) as u64, out);
        }
        (Kind::Bool, _) => return Err(reader.error("true or false was expected here")),
        _ => return Err(reader.error("a string was expected here")),
    }
    Ok(())
}

fn unknown_name(names: &[&str]) -> String {
    format!("a number or one of {} was expected here", names.join(", "))
}

/// An integer as a number or as a string.
fn read_integer(scalar: &Scalar<'_>, min: i128, max: i128) -> Option<i128> {
    let text = match scalar {
        Scalar::Number(text) => text,
        Scalar::String(text) => &**text,
        _ => return None,
    };
    let value = text.parse::<i128>().ok().or_else(|| read_decimal(text))?;
    (min..=max).contains(&value).then_some(value)
}

/// The integer that is written with a fraction or an exponent, as the JSON mapping allows: `1.0`, `1.5e3`. Exact, which a double is not beyond 2^53.
fn read_decimal(text: &str) -> Option<i128> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa.strip_prefix('+').unwrap_or(mantissa)),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_end_matches('0').len();
    // How many digits stand before the point, wherever it was written.
    let before_point = i64::try_from(whole.len()).ok()?.checked_add(exponent)?;
    match usize::try_from(before_point) {
        _ if significant == 0 => return Some(0),
        Ok(places) if (significant..=significant.max(MAX_INTEGER_DIGITS)).contains(&places) => {
            digits.truncate(significant);
            digits.extend(std::iter::repeat_n('0', places - significant));
        }
        _ => return None,
    }
    format!("{sign}{digits}").parse().ok()
}

/// Most digits of an integer that an `i128` holds.
const MAX_INTEGER_DIGITS: usize = 39;

fn read_double(scalar: &Scalar<'_>) -> Option<f64> {
    let text = match scalar {
        Scalar::Number(text) => text,
        Scalar::String(text) => match &**text {
            "NaN" => return Some(f64::NAN),
            "Infinity" => return Some(f64::INFINITY),
            "-Infinity" => return Some(f64::NEG_INFINITY),
            // Rust also reads words such as "inf", which the JSON mapping does not know.
            text if text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) => text,
            _ => return None,
        },
        _ => return None,
    };
    text.parse().ok()
}

fn read_enum(scalar: &Scalar<'_>, names: &[&str]) -> Option<i32> {
    if let Scalar::String(text) = scalar
        && let Some(value) = names.iter().position(|name| name == text)
    {
        return i32::try_from(value).ok();
    }
    read_integer(scalar, i32::MIN.into(), i32::MAX.into()).map(|value| value as i32)
}

fn read_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let bytes = pairs.iter().map(|[high, low]| Some((digit(*high)? << 4 | digit(*low)?) as u8)).collect::<Option<_>>();
    bytes.filter(|_| rest.is_empty())
}

/// Base64 of either alphabet, with or without padding.
fn read_base64(text: &str) -> Option<Vec<u8>> {
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const STANDARD: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT);
    const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT);
    STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use opentelemetry_proto::tonic::common::v1::AnyValue;
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    use prost::Message as _;

    use super::*;

    fn request(json: &str) -> ExportTraceServiceRequest {
        let bytes = json_to_protobuf(json.as_bytes()).expect("OTLP JSON");
        ExportTraceServiceRequest::decode(&*bytes).expect("protobuf")
    }

    fn value(json: &str) -> Option<Value> {
        let bytes = any_value_to_protobuf(json).expect("OTLP JSON");
        AnyValue::decode(&*bytes).expect("protobuf").value
    }

    fn span(fields: &str) -> String {
        format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#)
    }

    #[test]
    fn a_span_in_either_spelling_is_the_same() {
        let camel = span(
            r#""traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"eee19b7ec3c1b174","parentSpanId":"","name":"é",
               "startTimeUnixNano":"1544712660000000001","endTimeUnixNano":1544712661000000001,"kind":2,"flags":"257",
               "droppedAttributesCount":"3","status":{"code":"STATUS_CODE_ERROR","message":"m"},"unknown":{"a":[1,{}]},
               "attributes":[{"key":"k","value":{"intValue":"-7"}}],"events":[{"timeUnixNano":1e3,"name":"e"}],"links":null"#,
        );
        let snake = camel
            .replace("traceId", "trace_id")
            .replace("parentSpanId", "parent_span_id")
            .replace("startTimeUnixNano", "start_time_unix_nano")
            .replace("droppedAttributesCount", "dropped_attributes_count")
            .replace("\"kind\":2", "\"kind\":\"SPAN_KIND_SERVER\"");
        let read = request(&camel);
        assert_eq!(read, request(&snake));
        let span = &read.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!((span.trace_id[0], span.span_id.len(), span.parent_span_id.len()), (0x5b, 8, 0));
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (1544712660000000001, 1544712661000000001));
        assert_eq!((span.kind, span.flags, span.dropped_attributes_count), (2, 257, 3));
        assert_eq!(span.status.as_ref().map(|status| status.code), Some(2));
        assert_eq!(span.events[0].time_unix_nano, 1000);
    }

    #[test]
    fn values_of_every_kind_are_read() {
        let cases = [
            (r#"{"doubleValue":"1.5"}"#, Some(Value::DoubleValue(1.5))),
            (r#"{"doubleValue":1}"#, Some(Value::DoubleValue(1.0))),
            (r#"{"doubleValue":"-Infinity"}"#, Some(Value::DoubleValue(f64::NEG_INFINITY))),
            (r#"{"intValue":9007199254740993}"#, Some(Value::IntValue(9007199254740993))),
            (r#"{"intValue":"-9223372036854775808"}"#, Some(Value::IntValue(i64::MIN))),
            (r#"{"boolValue":false}"#, Some(Value::BoolValue(false))),
            (r#"{"stringValue":""}"#, Some(Value::StringValue(String::new()))),
            (r#"{"bytesValue":"+/8="}"#, Some(Value::BytesValue(vec![0xfb, 0xff]))),
            (r#"{"bytesValue":"-_8"}"#, Some(Value::BytesValue(vec![0xfb, 0xff]))),
            (r#"{"arrayValue":{}}"#, Some(Value::ArrayValue(Default::default()))),
            (r#"{"kvlistValue":{"values":null}}"#, Some(Value::KvlistValue(Default::default()))),
            (r#"{"stringValue":null}"#, None),
            (r#"{"arrayValue":null}"#, None),
            ("{}", None),
            ("null", None),
        ];
        for (json, expected) in cases {
            assert_eq!(value(json), expected, "{json}");
        }
        assert!(matches!(value(r#"{"doubleValue":"NaN"}"#), Some(Value::DoubleValue(value)) if value.is_nan()));
        let nested = value(r#"{"arrayValue":{"values":[{"intValue":1},null]}}"#);
        assert!(matches!(nested, Some(Value::ArrayValue(array)) if array.values.len() == 2));
    }

    #[test]
    fn integers_with_a_fraction_or_an_exponent_keep_every_digit() {
        let cases = [
            ("1700000000000000001.0", Some(1_700_000_000_000_000_001)),
            ("1.700000000000000001e18", Some(1_700_000_000_000_000_001)),
            ("17000000000000000010e-1", Some(1_700_000_000_000_000_001)),
            ("0.00012e5", Some(12)),
            ("-9223372036854775808.000", Some(i64::MIN)),
            ("1e3", Some(1000)),
            ("-0.0", Some(0)),
            ("0e400", Some(0)),
            ("9223372036854775807.5", None),
            ("1.5", None),
            ("5e-1", None),
            ("1e19", None),
            ("1e4000000000", None),
        ];
        for (text, expected) in cases {
            for json in [format!("{{\"intValue\":{text}}}"), format!("{{\"intValue\":\"{text}\"}}")] {
                let read = any_value_to_protobuf(&json).ok().map(|bytes| AnyValue::decode(&*bytes).expect("protobuf"));
                assert_eq!(read.and_then(|read| read.value), expected.map(Value::IntValue), "{json}");
            }
        }
        for text in ["", ".", "e1", "1e", "1.2.3", "0x1", "1_000", "NaN", "1 ", "--1"] {
            any_value_to_protobuf(&format!("{{\"intValue\":\"{text}\"}}")).expect_err("no integer");
        }
    }

    #[test]
    fn ids_that_are_no_hex_or_have_a_wrong_length_strike_their_span_only() {
        for id in ["0x8effF798038103D269B633813FC60C00", "W47/95gDgQPSabYzgT/GDA==", "zzzzzzzzzzzzzzzz", "ab", "abc"] {
            let json = span(&format!(
                r#""traceId":"{id}","spanId":"eee19b7ec3c1b174","startTimeUnixNano":1,"endTimeUnixNano":1"#
            ));
            let bytes = json_to_protobuf(json.as_bytes()).expect("OTLP JSON");
            let refusals = crate::otlp::decode_export(&bytes).expect("decodable").refusals;
            assert_eq!(refusals.counts[crate::otlp::RefusalReason::TraceId as usize], 1, "{id}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let cases = [
            (span(r#""kind":"SPAN_KIND_TEAPOT""#), "spans[0].kind: a number or one of SPAN_KIND_UNSPECIFIED"),
            (span(r#""startTimeUnixNano":-1"#), "startTimeUnixNano: an unsigned 64-bit integer"),
            (span(r#""startTimeUnixNano":"18446744073709551616""#), "an unsigned 64-bit integer"),
            (span(r#""attributes":[{"key":"k","value":{"intValue":1.5}}]"#), "attributes[0].value.intValue: a signed"),
            (span(r#""attributes":[{"key":"k","value":{"doubleValue":"inf"}}]"#), "doubleValue: a number"),
            (span(r#""attributes":{}"#), "attributes: an array or null"),
            (span(r#""name":7"#), "name: a string"),
            ("[]".to_owned(), "line 1, column 1: an object"),
            ("{} x".to_owned(), "column 4: something follows"),
            ("{\"resourceSpans\": [".to_owned(), "resourceSpans[0]: an object"),
        ];
        for (json, expected) in cases {
            let error = json_to_protobuf(json.as_bytes()).expect_err("wrong");
            assert!(error.to_string().contains(expected), "{error}");
        }
        assert!(json_to_protobuf(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn empty_requests_are_empty() {
        assert_eq!(json_to_protobuf(b"{}").expect("empty"), b"");
        assert_eq!(json_to_protobuf(br#" {"resourceSpans":[]} "#).expect("empty"), b"");
        assert_eq!(json_to_protobuf(br#"{"resourceSpans":null}"#).expect("empty"), b"");
    }
}
