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
    let line = text[..end].trim_ascii_end();
    line.first() == Some(&b'{') && line.last() == Some(&b'}') && super::records::closes_at(line) == Some(line.len())
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
        assert_eq!(form(&[0xff; 20]), None);
    }
}
