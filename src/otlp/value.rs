//! An `AnyValue` becomes text and a type letter, as [`AttributeType`] says.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::limits::{MAX_ATTRIBUTE_VALUE_BYTES, MAX_VALUE_LEVELS};
use super::wire::{Fields, WireError, WireFault};
use crate::model::{AttributeType, bool_text, push_json_string, write_double, write_int};

/// Field numbers of `AnyValue`, `ArrayValue`, `KeyValueList` and `KeyValue`.
pub(super) mod field {
    pub const STRING: u32 = 1;
    pub const BOOL: u32 = 2;
    pub const INT: u32 = 3;
    pub const DOUBLE: u32 = 4;
    pub const ARRAY: u32 = 5;
    pub const KEY_VALUE_LIST: u32 = 6;
    pub const BYTES: u32 = 7;
    /// An index into a table that only profiles have; no value in a trace.
    pub const STRING_INDEX: u32 = 8;
    pub const VALUES: u32 = 1;
    pub const KEY: u32 = 1;
    pub const VALUE: u32 = 2;
}

/// An `AnyValue` whose outermost level was read.
#[derive(Debug, Clone, Copy)]
pub(super) enum AnyValue<'a> {
    Empty,
    /// Not yet known to be UTF-8.
    String(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    Bytes(&'a [u8]),
    Array(&'a [u8]),
    KeyValueList(&'a [u8]),
}

/// Why a value could not be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum ValueFault {
    Wire(WireError),
    /// A text in it is not UTF-8: the span's own fault, not the request's.
    Utf8,
    /// A message that may stand once stands twice, or something stands in its place: the request must be merged first, see [`super::merge`].
    Repeated,
}

impl From<WireError> for ValueFault {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// Reads the outermost level of an `AnyValue`.
#[inline]
pub(super) fn read_any_value(message: &[u8]) -> Result<AnyValue<'_>, ValueFault> {
    let mut fields = Fields::of(message);
    let mut value = AnyValue::Empty;
    while let Some(read) = fields.next()? {
        value = match (read.number, value) {
            (field::ARRAY, AnyValue::Array(_)) | (field::KEY_VALUE_LIST, AnyValue::KeyValueList(_)) => {
                read.bytes(&fields)?;
                return Err(ValueFault::Repeated);
            }
            // What it takes the place of is no part of the request and has to be sound all the same: merging looks at that.
            (field::STRING..=field::STRING_INDEX, AnyValue::Array(_) | AnyValue::KeyValueList(_)) => {
                return Err(ValueFault::Repeated);
            }
            (field::STRING, _) => AnyValue::String(read.bytes(&fields)?),
            (field::BOOL, _) => AnyValue::Bool(read.varint(&fields)? != 0),
            (field::INT, _) => AnyValue::Int(read.varint(&fields)? as i64),
            (field::DOUBLE, _) => AnyValue::Double(f64::from_bits(read.fixed64(&fields)?)),
            (field::ARRAY, _) => AnyValue::Array(read.bytes(&fields)?),
            (field::KEY_VALUE_LIST, _) => AnyValue::KeyValueList(read.bytes(&fields)?),
            (field::BYTES, _) => AnyValue::Bytes(read.bytes(&fields)?),
            (field::STRING_INDEX, _) => {
                read.varint(&fields)?;
                AnyValue::Empty
            }
            (_, value) => value,
        };
    }
    Ok(value)
}

/// Reads a `KeyValue`: its key, not yet known to be UTF-8, and its value.
#[inline]
pub(super) fn read_key_value(message: &[u8]) -> Result<(&[u8], AnyValue<'_>), ValueFault> {
    const KEY_INDEX: u32 = 3;
    let mut fields = Fields::of(message);
    let mut key: &[u8] = &[];
    let mut value = None;
    while let Some(read) = fields.next()? {
        match read.number {
            field::KEY => key = read.bytes(&fields)?,
            field::VALUE => {
                let inner = read_any_value(read.bytes(&fields)?)?;
                if value.replace(inner).is_some() {
                    return Err(ValueFault::Repeated);
                }
            }
            KEY_INDEX => drop(read.varint(&fields)?),
            _ => {}
        }
    }
    Ok((key, value.unwrap_or(AnyValue::Empty)))
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str, ValueFault> {
    std::str::from_utf8(bytes).map_err(|_| ValueFault::Utf8)
}

/// Writes a value that is not a string into `out`; `None` when its text would pass [`MAX_ATTRIBUTE_VALUE_BYTES`].
pub(super) fn write_value(value: AnyValue<'_>, out: &mut String) -> Result<Option<AttributeType>, ValueFault> {
    let start = out.len();
    let kind = match value {
        AnyValue::Empty => AttributeType::Empty,
        AnyValue::String(text) => {
            out.push_str(utf8(text)?);
            AttributeType::String
        }
        AnyValue::Bool(value) => {
            out.push_str(bool_text(value));
            AttributeType::Bool
        }
        AnyValue::Int(value) => {
            write_int(value, out);
            AttributeType::Int
        }
        AnyValue::Double(value) => {
            write_double(value, out);
            AttributeType::Double
        }
        AnyValue::Bytes(bytes) => {
            if bytes.len() > MAX_ATTRIBUTE_VALUE_BYTES {
                return Ok(None);
            }
            BASE64.encode_string(bytes, out);
            AttributeType::Bytes
        }
        AnyValue::Array(_) | AnyValue::KeyValueList(_) => return write_nested(value, out),
    };
    Ok((out.len() - start <= MAX_ATTRIBUTE_VALUE_BYTES).then_some(kind))
}

fn write_nested(value: AnyValue<'_>, out: &mut String) -> Result<Option<AttributeType>, ValueFault> {
    let start = out.len();
    let mut writer =
        NestedWriter { out, end: start + MAX_ATTRIBUTE_VALUE_BYTES, style: Style::Plain, plain: true, full: false };
    writer.value(value, 1)?;
    let mut kind = match value {
        AnyValue::Array(_) => AttributeType::Array,
        _ => AttributeType::KeyValueList,
    };
    if !writer.plain {
        writer.out.truncate(start);
        writer.full = false;
        writer.style = Style::Otlp;
        writer.value(value, 1)?;
        kind = AttributeType::OtlpJson;
    }
    Ok((!writer.full).then_some(kind))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Style {
    /// JSON as a person would write it.
    Plain,
    /// OTLP's JSON, which names each type.
    Otlp,
}

/// Writes nested values up to a bound, and goes on checking them past it.
struct NestedWriter<'o> {
    out: &'o mut String,
    end: usize,
    style: Style,
    /// Whether plain JSON gives all of it back.
    plain: bool,
    full: bool,
}

impl NestedWriter<'_> {
    fn value(&mut self, value: AnyValue<'_>, level: usize) -> Result<(), ValueFault> {
        match value {
            AnyValue::Array(message) => self.array(message, level),
            AnyValue::KeyValueList(message) => self.key_value_list(message, level),
            scalar => self.scalar(scalar),
        }
    }

    fn scalar(&mut self, value: AnyValue<'_>) -> Result<(), ValueFault> {
        match value {
            AnyValue::String(bytes) => {
                let text = utf8(bytes)?;
                self.typed("stringValue", |writer| writer.string(text));
            }
            AnyValue::Bool(value) => {
                self.typed("boolValue", |writer| writer.push(if value { "true" } else { "false" }))
            }
            AnyValue::Int(value) if self.style == Style::Plain => self.push(itoa::Buffer::new().format(value)),
            AnyValue::Int(value) => self.typed("intValue", |writer| writer.quoted(itoa::Buffer::new().format(value))),
            AnyValue::Double(value) => {
                self.plain &= value.is_finite();
                let mut text = String::new();
                write_double(value, &mut text);
                self.typed("doubleValue", |writer| match value.is_finite() {
                    true => writer.push(&text),
                    false => writer.quoted(&text),
                });
            }
            AnyValue::Bytes(bytes) => {
                self.plain = false;
                if bytes.len() > MAX_ATTRIBUTE_VALUE_BYTES {
                    self.full = true;
                    return Ok(());
                }
                let text = BASE64.encode(bytes);
                self.typed("bytesValue", |writer| writer.quoted(&text));
            }
            _ => {
                self.plain = false;
                self.push("{}");
            }
        }
        Ok(())
    }

    fn array(&mut self, message: &[u8], level: usize) -> Result<(), ValueFault> {
        let mut fields = Fields::of(message);
        self.push(if self.style == Style::Plain { "[" } else { "{\"arrayValue\":{\"values\":[" });
        let mut first = true;
        while let Some(read) = fields.next()? {
            if read.number == field::VALUES {
                check_level(level + 1, message)?;
                let value = read_any_value(read.bytes(&fields)?)?;
                self.comma(&mut first);
                self.value(value, level + 1)?;
            }
        }
        self.push(if self.style == Style::Plain { "]" } else { "]}}" });
        Ok(())
    }

    fn key_value_list(&mut self, message: &[u8], level: usize) -> Result<(), ValueFault> {
        let mut fields = Fields::of(message);
        self.push(if self.style == Style::Plain { "{" } else { "{\"kvlistValue\":{\"values\":[" });
        let mut first = true;
        let mut keys = HashSet::new();
        while let Some(read) = fields.next()? {
            if read.number != field::VALUES {
                continue;
            }
            check_level(level + 1, message)?;
            let (key, value) = read_key_value(read.bytes(&fields)?)?;
            let key = utf8(key)?;
            self.plain &= self.style == Style::Otlp || keys.insert(key);
            self.comma(&mut first);
            self.push(if self.style == Style::Plain { "" } else { "{\"key\":" });
            self.string(key);
            self.push(if self.style == Style::Plain { ":" } else { ",\"value\":" });
            self.value(value, level + 1)?;
            self.push(if self.style == Style::Plain { "" } else { "}" });
        }
        self.push(if self.style == Style::Plain { "}" } else { "]}}" });
        Ok(())
    }

    fn typed(&mut self, name: &str, write: impl FnOnce(&mut Self)) {
        if self.style == Style::Plain {
            return write(self);
        }
        self.push("{");
        self.quoted(name);
        self.push(":");
        write(self);
        self.push("}");
    }

    fn comma(&mut self, first: &mut bool) {
        if !std::mem::take(first) {
            self.push(",");
        }
    }

    fn quoted(&mut self, text: &str) {
        self.push("\"");
        self.push(text);
        self.push("\"");
    }

    fn string(&mut self, text: &str) {
        if self.full || text.len() > MAX_ATTRIBUTE_VALUE_BYTES {
            self.full = true;
            return;
        }
        push_json_string(text, self.out);
        self.full = self.out.len() > self.end;
    }

    fn push(&mut self, text: &str) {
        if self.full || self.out.len() + text.len() > self.end {
            self.full = true;
            return;
        }
        self.out.push_str(text);
    }
}

fn check_level(level: usize, place: &[u8]) -> Result<(), WireError> {
    if level > MAX_VALUE_LEVELS { Err(WireError::at(WireFault::ValuesTooDeep, place)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length-delimited field with a one-byte length.
    fn sub(number: u8, message: &[u8]) -> Vec<u8> {
        [&[number << 3 | 2, message.len() as u8], message].concat()
    }

    fn text_of(message: &[u8]) -> (String, Option<AttributeType>) {
        let mut out = String::new();
        let value = read_any_value(message).expect("readable");
        let kind = write_value(value, &mut out).expect("valid");
        (out, kind)
    }

    #[test]
    fn scalars_have_their_text_and_type() {
        let double = |value: f64| [&[4 << 3 | 1][..], &value.to_le_bytes()].concat();
        let cases: &[(&[u8], &str, AttributeType)] = &[
            (&[], "", AttributeType::Empty),
            (&[0x0a, 2, b'h', b'i'], "hi", AttributeType::String),
            (&[0x10, 1], "true", AttributeType::Bool),
            (&[0x18, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], "-1", AttributeType::Int),
            (&double(0.1), "0.1", AttributeType::Double),
            (&double(1.0), "1.0", AttributeType::Double),
            (&double(f64::NAN), "NaN", AttributeType::Double),
            (&double(f64::NEG_INFINITY), "-Infinity", AttributeType::Double),
            (&[0x3a, 2, 0xfb, 0xff], "+/8=", AttributeType::Bytes),
        ];
        for (message, text, kind) in cases {
            assert_eq!(text_of(message), ((*text).to_owned(), Some(*kind)));
        }
    }

    #[test]
    fn nested_values_are_plain_json_when_that_gives_them_back() {
        let int = sub(1, &[0x18, 7]);
        let text = sub(1, &sub(1, "a\"\u{1}é".as_bytes()));
        assert_eq!(
            text_of(&sub(5, &[int.clone(), text].concat())),
            ("[7,\"a\\\"\\u0001é\"]".to_owned(), Some(AttributeType::Array))
        );
        let entry = sub(1, &[sub(1, b"k"), sub(2, &[0x10, 0])].concat());
        assert_eq!(text_of(&sub(6, &entry)), ("{\"k\":false}".to_owned(), Some(AttributeType::KeyValueList)));
        assert_eq!(text_of(&sub(5, &[])), ("[]".to_owned(), Some(AttributeType::Array)));
        let twice = [entry.clone(), entry].concat();
        let pair = "{\"key\":\"k\",\"value\":{\"boolValue\":false}}";
        assert_eq!(
            text_of(&sub(6, &twice)),
            (format!("{{\"kvlistValue\":{{\"values\":[{pair},{pair}]}}}}"), Some(AttributeType::OtlpJson))
        );
        assert_eq!(
            text_of(&sub(5, &[int, sub(1, &[])].concat())),
            ("{\"arrayValue\":{\"values\":[{\"intValue\":\"7\"},{}]}}".to_owned(), Some(AttributeType::OtlpJson))
        );
    }

    #[test]
    fn thirty_two_levels_pass_and_thirty_three_do_not() {
        let nested = |levels: usize| (1..levels).fold(vec![0x10, 1], |inner, _| nest(&inner));
        let mut out = String::new();
        let read = |message: &[u8], out: &mut String| {
            write_value(read_any_value(message).expect("readable"), out).map_err(|fault| format!("{fault:?}"))
        };
        assert_eq!(read(&nested(MAX_VALUE_LEVELS), &mut out), Ok(Some(AttributeType::Array)));
        assert!(read(&nested(MAX_VALUE_LEVELS + 1), &mut out).is_err_and(|fault| fault.contains("ValuesTooDeep")));
    }

    fn nest(inner: &[u8]) -> Vec<u8> {
        let values = delimited(1, inner);
        delimited(5, &values)
    }

    fn delimited(number: u8, message: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2];
        prost::encoding::encode_varint(message.len() as u64, &mut out);
        out.extend_from_slice(message);
        out
    }
}
