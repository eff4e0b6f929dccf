//! What a file holds, told by its first bytes.

use clap::ValueEnum;

use super::split::closes_at;
use super::stream::{PEEKED_BYTES, ZSTD_MAGIC};
use crate::error::{Error, Result};
use crate::formats::{JsonShape, first_keys};

/// How records stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One protobuf request.
    Protobuf,
    /// Protobuf requests, each with its length as a varint before it.
    Delimited,
    /// Messages of the Collector's file exporter, each with its length in four bytes before it.
    Framed,
    /// One JSON value after the other, on any number of lines.
    Json,
    /// The same, in the list `data` of an object.
    JsonEnvelope,
    /// Small JSON objects, of which many are a record.
    JsonList,
    /// A JSON value a line.
    JsonLines,
    /// A Parquet file.
    Parquet,
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// OTLP requests: protobuf or JSON, also as the Collector's file exporter writes them
    Otlp,
    /// Jaeger JSON: an answer of the API, a trace, or spans with their processes
    Jaeger,
    /// Zipkin JSON of version 1 or 2
    Zipkin,
    /// Parquet of the ClickHouse exporter's table otel_traces
    Clickhouse,
    /// Parquet of GreptimeDB's table opentelemetry_traces
    Greptimedb,
    /// Parquet of the relation traces.spans of spanhouse
    Spanhouse,
}

const PARQUET_MAGIC: &[u8] = b"PAR1";

/// Tells the form and the format by the bytes at the start of the (decompressed) stream; a format that was given is believed.
///
/// # Errors
/// [`crate::error::Kind::BadInput`] when it is none that can be imported.
pub(super) fn detect(start: &[u8], given: Option<Format>) -> Result<(Form, Format)> {
    if start.starts_with(PARQUET_MAGIC) {
        return Ok((Form::Parquet, given.unwrap_or(Format::Spanhouse)));
    }
    if let Some(format @ (Format::Clickhouse | Format::Greptimedb | Format::Spanhouse)) = given {
        return Err(Error::bad_input(format!("it is no Parquet file, as {} has it", name(format))));
    }
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let text = text.trim_ascii_start();
    let (is_json, shape) = match text.first() {
        Some(b'{' | b'[') => (true, shape(text)),
        _ => (false, JsonShape::Unknown),
    };
    let format = given.unwrap_or(match shape {
        JsonShape::JaegerTraces | JsonShape::Jaeger => Format::Jaeger,
        JsonShape::Zipkin => Format::Zipkin,
        _ => Format::Otlp,
    });
    let form = match format {
        Format::Jaeger | Format::Zipkin if !is_json && !text.is_empty() => {
            return Err(Error::bad_input(format!("it is no JSON, as {} has it", name(format))));
        }
        Format::Zipkin => Form::JsonList,
        Format::Jaeger if shape == JsonShape::JaegerTraces => Form::JsonEnvelope,
        _ => form(start, text)?,
    };
    Ok((form, format))
}

/// The format as it is typed.
fn name(format: Format) -> String {
    format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// What the first object of a text is an object of.
fn shape(text: &[u8]) -> JsonShape {
    let object = text.iter().position(|byte| *byte == b'{').map_or(&[][..], |begins| &text[begins..]);
    let known = match std::str::from_utf8(object) {
        Ok(object) => object,
        // The last character may be cut.
        Err(error) => std::str::from_utf8(&object[..error.valid_up_to()]).unwrap_or_default(),
    };
    JsonShape::of_keys(first_keys(known).iter().map(String::as_str))
}

/// How OTLP's records, or lines and documents of JSON, stand in a file.
fn form(start: &[u8], text: &[u8]) -> Result<Form> {
    match text.first() {
        None => Ok(if start.is_empty() { Form::Protobuf } else { Form::Json }),
        Some(_) if is_framed(start) => Ok(Form::Framed),
        Some(_) if later_line_is_request(text) => Ok(Form::JsonLines),
        Some(b'{' | b'[') => Ok(if first_line_is_whole(text) { Form::JsonLines } else { Form::Json }),
        Some(_) if is_single_request(start) => Ok(Form::Protobuf),
        Some(_) if is_delimited(start) => Ok(Form::Delimited),
        Some(_) => Err(Error::bad_input("it is neither OTLP protobuf, nor JSON, nor Parquet")),
    }
}

/// Whether the bytes begin with a length in four bytes, of less than 16 MiB, and a message of that length or its beginning.
fn is_framed(start: &[u8]) -> bool {
    let Some((length, message)) = start.split_first_chunk::<4>() else { return false };
    let length = u32::from_be_bytes(*length) as usize;
    let message = &message[..message.len().min(length)];
    let is_whole = message.len() == length || start.len() >= PEEKED_BYTES;
    let begins = message.starts_with(&ZSTD_MAGIC) || message.starts_with(b"{") || is_single_request(message);
    (2..1 << 24).contains(&length) && is_whole && begins
}

/// Whether the first line is a JSON object by itself.
fn first_line_is_whole(text: &[u8]) -> bool {
    let Some(end) = text.iter().position(|byte| *byte == b'\n') else {
        // A line longer than the peeked bytes is one record a line; anything shorter is the whole file.
        return text[0] == b'{';
    };
    is_whole_object(&text[..end])
}

pub(super) fn is_whole_object(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    line.first() == Some(&b'{') && line.last() == Some(&b'}') && closes_at(line) == Some(line.len())
}

/// A line that goes past the peeked bytes and has more of them than this is no opening of a document on several lines.
const LONG_LINE_BYTES: usize = 1 << 10;

/// Whether this is text whose second line or a later one is a request by itself: then the lines before it are bad ones.
fn later_line_is_request(text: &[u8]) -> bool {
    // Nothing but lines has text before its first request. Protobuf has bytes there that no text has.
    let is_text = |line: &[u8]| !line.iter().any(|byte| *byte < b' ' && !b"\t\r".contains(byte));
    let begins = |line: &[u8]| {
        line.strip_prefix(b"{").is_some_and(|rest| {
            let key = rest.trim_ascii_start();
            key.starts_with(b"\"resourceSpans\"") || key.starts_with(b"\"resource_spans\"")
        })
    };
    let mut lines = text.split(|byte| *byte == b'\n').peekable();
    if text[0] == b'[' || lines.next().is_none_or(|first| !is_text(first)) {
        return false;
    }
    while let Some(line) = lines.next() {
        let is_cut = lines.peek().is_none() && line.len() > LONG_LINE_BYTES;
        if !is_text(line) || begins(line) && (is_cut || is_whole_object(line)) {
            return is_text(line);
        }
    }
    false
}

/// Whether the bytes begin as a request does: field 1 with a `ResourceSpans`, whose fields are 1 to 3 with lengths.
fn is_single_request(start: &[u8]) -> bool {
    let Some(rest) = start.strip_prefix(&[0x0a]) else { return false };
    let Some((length, used)) = varint(rest) else { return false };
    length == 0 || matches!(rest.get(used), Some(0x0a | 0x12 | 0x1a))
}

/// Whether the bytes begin with a length and then a request, or with the length of an empty request.
fn is_delimited(start: &[u8]) -> bool {
    match varint(start) {
        Some((0, used)) => start.len() == used || is_delimited(&start[used..]),
        Some((length, used)) => length >= 2 && start.get(used) == Some(&0x0a),
        None => false,
    }
}

/// A varint and how many bytes it takes; `None` when there is none.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (place, byte) in bytes.iter().take(10).enumerate() {
        if place == 9 && *byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, place + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_first_line_does_not_hide_the_lines_after_it() {
        let form = |text: &str| detect(text.as_bytes(), None).ok().map(|told| told.0);
        let line = "{\"resourceSpans\":[]}\n";
        for bad in ["x", "# a comment", "{\"resourceSpans\":[{", "}", "nonsense\n\nmore"] {
            assert_eq!(form(&format!("{bad}\n{line}")), Some(Form::JsonLines), "{bad}");
        }
        let long = format!("{{\"resourceSpans\":[{}", " ".repeat(2 << 10));
        assert_eq!(form(&format!("x\n{long}")), Some(Form::JsonLines), "a line that is longer than what was peeked at");
        // Documents one after the other, and a list, are no lines.
        let document = "{\"resourceSpans\": [\n{}\n]}\n";
        assert_eq!(form(&document.repeat(3)), Some(Form::Json));
        assert_eq!(form(&format!("[\n{line}]")), Some(Form::Json));
        // A record of 0x78 bytes begins as a line with an x does.
        assert_eq!(form("x\n\u{12}\u{1}\n{\"resourceSpans\":[]}\n"), Some(Form::Delimited));
    }

    #[test]
    fn the_first_bytes_tell_the_form() {
        let form = |bytes: &[u8]| detect(bytes, None).ok().map(|told| told.0);
        assert_eq!(form(b""), Some(Form::Protobuf));
        assert_eq!(form(b"{\"resourceSpans\":[]}"), Some(Form::JsonLines));
        assert_eq!(form(b"{\"resourceSpans\":[]}\n{}\n"), Some(Form::JsonLines));
        assert_eq!(form(b"\xef\xbb\xbf {\n  \"resourceSpans\": []\n}"), Some(Form::Json));
        assert_eq!(form(b"[{\"resourceSpans\":[]}]"), Some(Form::Json));
        // A request with one ResourceSpans of three bytes.
        assert_eq!(form(&[0x0a, 3, 0x0a, 1, 0]), Some(Form::Protobuf));
        assert_eq!(form(&[5, 0x0a, 3, 0x0a, 1, 0]), Some(Form::Delimited));
        // A record of ten bytes: its length looks like the key of field 1, and what follows it does not.
        assert_eq!(form(&[0x0a, 0x0a, 8, 0x0a, 6, 0, 0, 0, 0, 0, 0]), Some(Form::Delimited));
        assert_eq!(form(b"hello"), None);
        assert_eq!(form(b"hello\nworld\n"), None);
        assert_eq!(form(&[0xff; 20]), None);
    }

    #[test]
    fn the_format_is_told_by_the_first_object() {
        let told = |text: &str| detect(text.as_bytes(), None).ok();
        assert_eq!(told(r#"{"data":[{"traceID":"1"}]}"#), Some((Form::JsonEnvelope, Format::Jaeger)));
        assert_eq!(told("{\n\"traceID\":\"1\",\n\"spans\":[]}"), Some((Form::Json, Format::Jaeger)));
        assert_eq!(told("{\"traceID\":\"1\"}\n{\"traceID\":\"2\"}\n"), Some((Form::JsonLines, Format::Jaeger)));
        assert_eq!(told(r#"[[{"traceId":"1","id":"2"}]]"#), Some((Form::JsonList, Format::Zipkin)));
        assert_eq!(told("PAR1.."), Some((Form::Parquet, Format::Spanhouse)));
        let given = |text: &str, format| detect(text.as_bytes(), Some(format)).map_err(|error| error.to_string());
        assert_eq!(given("[{\"id\":\"2\"}]", Format::Zipkin), Ok((Form::JsonList, Format::Zipkin)));
        assert_eq!(given("{}", Format::Clickhouse), Err("it is no Parquet file, as clickhouse has it".to_owned()));
        assert_eq!(given("PK", Format::Jaeger), Err("it is no JSON, as jaeger has it".to_owned()));
    }

    #[test]
    fn messages_with_their_length_in_four_bytes_are_told_from_others() {
        let told = |bytes: &[u8]| detect(bytes, None).ok().map(|told| told.0);
        assert_eq!(told(b"\0\0\0\x02{}"), Some(Form::Framed));
        assert_eq!(told(&[0, 0, 0, 5, 0x0a, 3, 0x0a, 1, 0]), Some(Form::Framed));
        // A record of no bytes, then one of five with its length as a varint.
        assert_eq!(told(&[0, 5, 0x0a, 3, 0x0a, 1, 0]), Some(Form::Delimited));
    }
}
