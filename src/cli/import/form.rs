//! What a file holds, told by its first bytes.

use std::io::{self, BufRead, BufReader, Read};

use crate::error::{Error, Result};

/// How records stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One protobuf request.
    Protobuf,
    /// Protobuf requests, each with its length as a varint before it.
    Delimited,
    /// One JSON value after the other, on any number of lines.
    Json,
    /// A JSON value a line.
    JsonLines,
}

/// Bytes that are looked at to tell the form.
const PEEKED_BYTES: usize = 256 << 10;

/// A stream with its compression undone.
pub(super) fn decompress<'a>(from: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut from = BufReader::with_capacity(PEEKED_BYTES, from);
    let start = from.fill_buf()?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(PEEKED_BYTES, flate2::bufread::MultiGzDecoder::new(from))));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        return Ok(Box::new(BufReader::with_capacity(PEEKED_BYTES, zstd::Decoder::with_buffer(from)?)));
    }
    Ok(Box::new(from))
}

/// Tells the form by the bytes at the start of the (decompressed) stream.
///
/// # Errors
/// [`crate::error::Kind::BadInput`] when it is none that can be imported.
pub(super) fn detect(start: &[u8]) -> Result<Form> {
    let text = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let text = text.trim_ascii_start();
    match text.first() {
        None => Ok(if start.is_empty() { Form::Protobuf } else { Form::Json }),
        Some(_) if later_line_is_request(text) => Ok(Form::JsonLines),
        Some(b'{' | b'[') => Ok(if first_line_is_whole(text) { Form::JsonLines } else { Form::Json }),
        Some(_) if is_single_request(start) => Ok(Form::Protobuf),
        Some(_) if is_delimited(start) => Ok(Form::Delimited),
        Some(_) => Err(Error::bad_input("it is neither OTLP protobuf nor JSON")),
    }
}

/// Whether the first line is a JSON object by itself.
fn first_line_is_whole(text: &[u8]) -> bool {
    let Some(end) = text.iter().position(|byte| *byte == b'\n') else {
        // A line longer than the peeked bytes is one record a line; anything shorter is the whole file.
        return text[0] == b'{';
    };
    is_whole_object(&text[..end])
}

fn is_whole_object(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    line.first() == Some(&b'{') && line.last() == Some(&b'}') && super::records::closes_at(line) == Some(line.len())
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
        let form = |text: &str| detect(text.as_bytes()).ok();
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
        let form = |bytes: &[u8]| detect(bytes).ok();
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
}
