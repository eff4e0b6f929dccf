//! Plain JSON, as attribute values of type `a` and `k` are kept, becomes an `AnyValue` again.

use super::reader::{Reader, Scalar, Shape};
use crate::error::Result;
use crate::otlp::value::field;
use crate::otlp::write::{push_bytes, push_fixed64, push_message, push_varint};

/// Appends the `AnyValue` that a plain JSON text stands for.
///
/// # Errors
/// [`crate::error::Kind::BadInput`] when the text is not JSON, or holds a `null`, which no plain value does.
pub(in crate::otlp) fn plain_to_any_value(text: &str, out: &mut Vec<u8>) -> Result<()> {
    let mut reader = Reader::new(text);
    write_value(&mut reader, out)?;
    reader.end()
}

fn write_value(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<()> {
    match reader.shape() {
        Shape::Array => push_message(field::ARRAY, out, |out| {
            reader.array(|reader| push_message(field::VALUES, out, |out| write_value(reader, out).map(|()| true)))?;
            Ok(true)
        }),
        Shape::Object => push_message(field::KEY_VALUE_LIST, out, |out| {
            reader.object(|reader, key| {
                push_message(field::VALUES, out, |out| {
                    push_bytes(field::KEY, key.as_bytes(), out);
                    push_message(field::VALUE, out, |out| write_value(reader, out).map(|()| true))?;
                    Ok(true)
                })
            })
        }),
        Shape::Scalar => write_scalar(reader, out),
    }
}

fn write_scalar(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<()> {
    match reader.scalar()? {
        Scalar::Null => return Err(reader.error("a plain value holds no null")),
        Scalar::Bool(value) => push_varint(field::BOOL, u64::from(value), out),
        Scalar::String(text) => push_bytes(field::STRING, text.as_bytes(), out),
        Scalar::Number(text) => {
            let is_integer = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
            match text.parse::<i64>() {
                Ok(value) if is_integer => push_varint(field::INT, value as u64, out),
                _ => {
                    let value = text.parse::<f64>().map_err(|_| reader.error("this is not a number"))?;
                    push_fixed64(field::DOUBLE, value.to_bits(), out);
                }
            }
        }
    }
    Ok(())
}
