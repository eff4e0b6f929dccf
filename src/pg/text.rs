//! Values in PostgreSQL's text form.

use std::str::FromStr;

use bytes::{BufMut, BytesMut};
use chrono::{Offset, TimeZone};
use datafusion::arrow::array::timezone::Tz;

use super::json::put_json;
use super::numbers::{put_decimal, put_float4, put_float8, put_integer};
use super::times::{Instant, put_date, put_interval, put_time, put_timestamp};
use super::values::Values;
use crate::error::{Error, Result};

/// The decimals of a second that keep its nanoseconds.
pub(crate) const ALL_SECOND_DIGITS: u8 = 9;

/// How a session wants text to look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TextStyle {
    /// Where timestamps with time zone are shown.
    pub(crate) zone: Tz,
    /// Most decimals of a second, 0‥9.
    pub(crate) second_digits: u8,
}

impl TextStyle {
    /// Creates a style that shows times in the zone of that name or offset.
    pub(crate) fn in_zone(zone: &str, second_digits: u8) -> Result<Self> {
        let zone = Tz::from_str(zone).map_err(|_| {
            Error::bad_input(format!("time zone {zone:?} is not known; use an IANA name or an offset like +02:00"))
                .with_sqlstate("22023")
        })?;
        Ok(Self { zone, second_digits })
    }
}

/// Writes the value of row `at`, which is not NULL, without a length.
pub(crate) fn put_text(out: &mut BytesMut, values: &Values, at: usize, style: &TextStyle) -> Result<()> {
    match values {
        Values::Null => {}
        Values::Bool(a) => out.put_u8(if a.value(at) { b't' } else { b'f' }),
        Values::Int2(a) => put_integer(out, i128::from(a.value(at))),
        Values::Int4(a) => put_integer(out, i128::from(a.value(at))),
        Values::Int8(a) => put_integer(out, i128::from(a.value(at))),
        Values::Oid(a) => put_integer(out, i128::from(a.value(at))),
        Values::Float4(a) => put_float4(out, a.value(at)),
        Values::Float8(a) => put_float8(out, a.value(at)),
        Values::Decimal128(a, 0) => put_integer(out, a.value(at)),
        Values::Decimal128(a, scale) => put_decimal(out, &a.value(at).to_string(), *scale),
        Values::Decimal256(a, scale) => put_decimal(out, &a.value(at).to_string(), *scale),
        Values::Text(a) | Values::Shown(a) => put_characters(out, a.value(at)),
        Values::TextView(a) | Values::JsonText(a) => put_characters(out, a.value(at)),
        Values::Bytes(a) => put_bytea(out, a.value(at)),
        Values::FixedBytes(a) => put_bytea(out, a.value(at)),
        Values::Date(a) => put_date(out, i64::from(a.value(at))),
        Values::Time(a) => {
            let nanos = a.value(at).rem_euclid(86_400_000_000_000);
            put_time(out, (nanos / 1_000_000_000) as u32, (nanos % 1_000_000_000) as u32, style.second_digits);
        }
        Values::Timestamp { values, per_second, zone } => {
            let instant = Instant::from_units(values.value(at), *per_second);
            let offset = zone.map(|zone| offset_seconds(zone, instant));
            put_timestamp(out, instant, offset, style.second_digits);
        }
        Values::Interval(a) => {
            let value = a.value(at);
            put_interval(out, value.months, value.days, value.nanoseconds, style.second_digits);
        }
        Values::List { lists, elements, .. } => put_array(out, lists.value_offsets(), elements, at, style)?,
        Values::Json(array) => put_json(out, array.as_ref(), at)?,
    }
    Ok(())
}

/// What stands for NUL, which PostgreSQL's text does not have: clients end a value there.
pub(super) const NUL_STAND_IN: char = char::REPLACEMENT_CHARACTER;

/// Writes text as PostgreSQL has it, which is without NUL.
pub(super) fn put_characters(out: &mut BytesMut, text: &str) {
    let mut stand_in = [0; 4];
    let stand_in = NUL_STAND_IN.encode_utf8(&mut stand_in).as_bytes();
    for (index, stretch) in text.split('\0').enumerate() {
        if index > 0 {
            out.put_slice(stand_in);
        }
        out.put_slice(stretch.as_bytes());
    }
}

fn offset_seconds(zone: Tz, at: Instant) -> i32 {
    chrono::DateTime::from_timestamp(at.seconds, 0)
        .map_or(0, |utc| zone.offset_from_utc_datetime(&utc.naive_utc()).fix().local_minus_utc())
}

fn put_bytea(out: &mut BytesMut, value: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(2 + value.len() * 2);
    out.put_slice(b"\\x");
    for byte in value {
        out.put_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
    }
}

/// Writes `{a,"b c",NULL}`.
fn put_array(out: &mut BytesMut, offsets: &[i32], elements: &Values, at: usize, style: &TextStyle) -> Result<()> {
    let quoted = matches!(
        elements,
        Values::Text(_)
            | Values::TextView(_)
            | Values::Shown(_)
            | Values::Bytes(_)
            | Values::FixedBytes(_)
            | Values::Timestamp { .. }
    );
    let mut scratch = BytesMut::new();
    out.put_u8(b'{');
    for (index, element) in (offsets[at] as usize..offsets[at + 1] as usize).enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        if elements.is_null(element) {
            out.put_slice(b"NULL");
        } else if quoted {
            scratch.clear();
            put_text(&mut scratch, elements, element, style)?;
            put_element(out, &scratch);
        } else {
            put_text(out, elements, element, style)?;
        }
    }
    out.put_u8(b'}');
    Ok(())
}

/// Writes an array element, in quotes where the array syntax needs them.
fn put_element(out: &mut BytesMut, text: &[u8]) {
    let special =
        |byte: &u8| matches!(byte, b'{' | b'}' | b',' | b'"' | b'\\') || byte.is_ascii_whitespace() || *byte == 0x0b;
    if !text.is_empty() && !text.iter().any(special) && !text.eq_ignore_ascii_case(b"null") {
        out.put_slice(text);
        return;
    }
    out.put_u8(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.put_u8(b'\\');
        }
        out.put_u8(*byte);
    }
    out.put_u8(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nul_in_text_is_replaced_and_nothing_else() {
        for (text, written) in [("", ""), ("a\u{1}b", "a\u{1}b"), ("a\0b", "a\u{fffd}b"), ("\0\0", "\u{fffd}\u{fffd}")]
        {
            let mut out = BytesMut::new();
            put_characters(&mut out, text);
            assert_eq!(out, written.as_bytes());
        }
    }
}
