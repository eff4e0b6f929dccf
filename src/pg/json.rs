//! Maps, structs and lists as JSON text, with keys in the order they have.

use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::types::*;
use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit};

use super::numbers::{put_decimal, put_float4, put_float8, put_integer};
use super::text::{ALL_SECOND_DIGITS, TextStyle, put_text};
use super::times::{Instant, put_date, put_timestamp};
use super::types::PgType;
use super::values::Values;
use crate::error::Result;
use crate::model::push_json_string_with;

/// What differs between those who read JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonStyle {
    /// What stands for a character of one byte that the reader does not take.
    instead: fn(u8) -> Option<&'static str>,
    /// What follows a time with time zone.
    utc: &'static str,
    /// What stands before the digits of bytes.
    hex: &'static str,
}

impl JsonStyle {
    /// A `jsonb` value. PostgreSQL's refuses an escaped NUL: it is replaced as in text.
    const JSONB: Self = Self { instead: |byte| (byte == 0).then_some("\\ufffd"), utc: "+00:00", hex: "" };
    /// A file of JSON, which keeps every character. A terminal does not show DEL, so it is escaped as other control characters are.
    pub(crate) const FILE: Self = Self { instead: |byte| (byte == 0x7f).then_some("\\u007f"), utc: "Z", hex: "\\\\x" };

    /// Appends a string with its quotes.
    pub(crate) fn push_string(&self, text: &str, out: &mut impl std::fmt::Write) {
        push_json_string_with(text, out, self.instead);
    }
}

/// Writes the value of row `at` as `jsonb`.
pub(crate) fn put_json(out: &mut BytesMut, array: &dyn Array, at: usize) -> Result<()> {
    put_json_in(&JsonStyle::JSONB, out, array, at)
}

/// Writes the value of row `at` as JSON.
pub(crate) fn put_json_in(style: &JsonStyle, out: &mut BytesMut, array: &dyn Array, at: usize) -> Result<()> {
    if array.is_null(at) {
        out.put_slice(b"null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Null => out.put_slice(b"null"),
        DataType::Boolean => out.put_slice(if array.as_boolean().value(at) { b"true" } else { b"false" }),
        DataType::Int8 => put_integer(out, array.as_primitive::<Int8Type>().value(at).into()),
        DataType::Int16 => put_integer(out, array.as_primitive::<Int16Type>().value(at).into()),
        DataType::Int32 => put_integer(out, array.as_primitive::<Int32Type>().value(at).into()),
        DataType::Int64 => put_integer(out, array.as_primitive::<Int64Type>().value(at).into()),
        DataType::UInt8 => put_integer(out, array.as_primitive::<UInt8Type>().value(at).into()),
        DataType::UInt16 => put_integer(out, array.as_primitive::<UInt16Type>().value(at).into()),
        DataType::UInt32 => put_integer(out, array.as_primitive::<UInt32Type>().value(at).into()),
        DataType::UInt64 => put_integer(out, array.as_primitive::<UInt64Type>().value(at).into()),
        DataType::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(at);
            put_number(out, value.is_finite(), |out| put_float4(out, value));
        }
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(at);
            put_number(out, value.is_finite(), |out| put_float8(out, value));
        }
        DataType::Decimal128(_, scale) => {
            put_decimal(out, &array.as_primitive::<Decimal128Type>().value(at).to_string(), *scale);
        }
        DataType::Utf8 => style.push_string(array.as_string::<i32>().value(at), out),
        DataType::LargeUtf8 => style.push_string(array.as_string::<i64>().value(at), out),
        DataType::Utf8View => style.push_string(array.as_string_view().value(at), out),
        DataType::Binary => put_hex(style, out, array.as_binary::<i32>().value(at)),
        DataType::LargeBinary => put_hex(style, out, array.as_binary::<i64>().value(at)),
        DataType::BinaryView => put_hex(style, out, array.as_binary_view().value(at)),
        DataType::FixedSizeBinary(_) => put_hex(style, out, array.as_fixed_size_binary().value(at)),
        DataType::Date32 => {
            out.put_u8(b'"');
            put_date(out, array.as_primitive::<Date32Type>().value(at).into());
            out.put_u8(b'"');
        }
        DataType::Timestamp(unit, zone) => put_time_of(style, out, array, at, *unit, zone.is_some()),
        DataType::Struct(_) => put_struct(style, out, array, at)?,
        DataType::Map(_, _) => {
            let entry = array.as_map().value(at);
            put_entries(style, out, entry.column(0), entry.column(1))?;
        }
        DataType::List(_) => put_list(style, out, &array.as_list::<i32>().value(at))?,
        DataType::LargeList(_) => put_list(style, out, &array.as_list::<i64>().value(at))?,
        DataType::FixedSizeList(_, _) => put_list(style, out, &array.as_fixed_size_list().value(at))?,
        DataType::Dictionary(_, _) => {
            let keys = array.as_any_dictionary();
            put_json_in(style, out, keys.values().as_ref(), keys.normalized_keys()[at])?;
        }
        DataType::ListView(_) => put_list(style, out, &array.as_list_view::<i32>().value(at))?,
        DataType::LargeListView(_) => put_list(style, out, &array.as_list_view::<i64>().value(at))?,
        kind if matches!(PgType::of(kind), PgType::Numeric { .. }) => out.put_slice(&shown(array, at)?),
        _ => {
            let text = shown(array, at)?;
            style.push_string(&String::from_utf8_lossy(&text), out);
        }
    }
    Ok(())
}

/// A value of a type that JSON does not have, as PostgreSQL's text.
fn shown(array: &dyn Array, at: usize) -> Result<BytesMut> {
    let style = TextStyle::in_zone("UTC", ALL_SECOND_DIGITS)?;
    let values = Values::new(&array.slice(at, 1), PgType::of(array.data_type()), style.zone)?;
    let mut out = BytesMut::new();
    put_text(&mut out, &values, 0, &style)?;
    Ok(out)
}

/// Writes a number; JSON has none for NaN and the infinities, so they are strings.
fn put_number(out: &mut BytesMut, finite: bool, write: impl FnOnce(&mut BytesMut)) {
    if finite {
        return write(out);
    }
    out.put_u8(b'"');
    write(out);
    out.put_u8(b'"');
}

fn put_time_of(style: &JsonStyle, out: &mut BytesMut, array: &dyn Array, at: usize, unit: TimeUnit, zoned: bool) {
    let (value, per_second) = match unit {
        TimeUnit::Second => (array.as_primitive::<TimestampSecondType>().value(at), 1),
        TimeUnit::Millisecond => (array.as_primitive::<TimestampMillisecondType>().value(at), 1_000),
        TimeUnit::Microsecond => (array.as_primitive::<TimestampMicrosecondType>().value(at), 1_000_000),
        TimeUnit::Nanosecond => (array.as_primitive::<TimestampNanosecondType>().value(at), 1_000_000_000),
    };
    out.put_u8(b'"');
    let start = out.len();
    put_timestamp(out, Instant::from_units(value, per_second), None, ALL_SECOND_DIGITS);
    // RFC 3339 has a T between day and time and a full offset.
    if let Some(space) = out[start..].iter().position(|byte| *byte == b' ') {
        out[start + space] = b'T';
    }
    if zoned {
        out.put_slice(style.utc.as_bytes());
    }
    out.put_u8(b'"');
}

fn put_struct(style: &JsonStyle, out: &mut BytesMut, array: &dyn Array, at: usize) -> Result<()> {
    let fields = array.as_struct();
    out.put_u8(b'{');
    for (index, (field, column)) in fields.fields().iter().zip(fields.columns()).enumerate() {
        if index > 0 {
            out.put_slice(b", ");
        }
        style.push_string(field.name(), out);
        out.put_slice(b": ");
        put_json_in(style, out, column.as_ref(), at)?;
    }
    out.put_u8(b'}');
    Ok(())
}

fn put_entries(style: &JsonStyle, out: &mut BytesMut, keys: &ArrayRef, values: &ArrayRef) -> Result<()> {
    out.put_u8(b'{');
    for at in 0..keys.len() {
        if at > 0 {
            out.put_slice(b", ");
        }
        match keys.data_type() {
            DataType::Utf8 => style.push_string(keys.as_string::<i32>().value(at), out),
            DataType::Utf8View => style.push_string(keys.as_string_view().value(at), out),
            _ => style.push_string(&String::from_utf8_lossy(&shown(keys.as_ref(), at)?), out),
        }
        out.put_slice(b": ");
        put_json_in(style, out, values.as_ref(), at)?;
    }
    out.put_u8(b'}');
    Ok(())
}

fn put_list(style: &JsonStyle, out: &mut BytesMut, elements: &ArrayRef) -> Result<()> {
    out.put_u8(b'[');
    for at in 0..elements.len() {
        if at > 0 {
            out.put_slice(b", ");
        }
        put_json_in(style, out, elements.as_ref(), at)?;
    }
    out.put_u8(b']');
    Ok(())
}

fn put_hex(style: &JsonStyle, out: &mut BytesMut, value: &[u8]) {
    out.put_u8(b'"');
    out.put_slice(style.hex.as_bytes());
    for byte in value {
        out.put_slice(&[char_of(byte >> 4), char_of(byte & 15)]);
    }
    out.put_u8(b'"');
}

fn char_of(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::builder::{MapBuilder, StringBuilder};
    use datafusion::arrow::array::{Float64Array, StructArray, TimestampNanosecondArray};
    use datafusion::arrow::datatypes::Field;

    use super::*;

    fn json(array: &dyn Array, at: usize) -> serde_json::Value {
        let mut out = BytesMut::new();
        put_json(&mut out, array, at).expect("json");
        serde_json::from_slice(&out).expect("another parser reads it")
    }

    #[test]
    fn maps_keep_their_order_and_escape_every_control_character() {
        let all: String = (1u8..0x80).map(char::from).chain("é\u{2028}\u{1f600}".chars()).collect();
        let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        maps.keys().append_value("z");
        maps.values().append_value(&all);
        maps.keys().append_value("a\"b");
        maps.values().append_null();
        maps.append(true).expect("a map");
        let value = json(&maps.finish(), 0);
        assert_eq!(value["z"], all);
        assert_eq!(value.as_object().expect("object").keys().collect::<Vec<_>>(), ["z", "a\"b"]);
        assert!(value["a\"b"].is_null());
    }

    #[test]
    fn a_nul_is_replaced_as_jsonb_has_none() {
        let texts = datafusion::arrow::array::StringArray::from(vec!["a\0b"]);
        assert_eq!(json(&texts, 0), "a\u{fffd}b");
    }

    #[test]
    fn structs_hold_times_and_numbers_that_json_lacks() {
        let times = TimestampNanosecondArray::from(vec![1_700_000_000_000_000_001]).with_timezone("UTC");
        let fields = StructArray::from(vec![
            (Arc::new(Field::new("at", times.data_type().clone(), true)), Arc::new(times) as ArrayRef),
            (
                Arc::new(Field::new("x", DataType::Float64, true)),
                Arc::new(Float64Array::from(vec![f64::NAN])) as ArrayRef,
            ),
        ]);
        let value = json(&fields, 0);
        assert_eq!(value["at"], "2023-11-14T22:13:20.000000001+00:00");
        assert_eq!(value["x"], "NaN");
    }
}
