//! Values in PostgreSQL's binary form (each type's `send` function).

use bytes::{BufMut, BytesMut};

use super::json::put_json;
use super::numbers::put_numeric_binary;
use super::text::put_characters;
use super::times::{Instant, POSTGRES_EPOCH_DAYS};
use super::values::Values;
use crate::error::{Error, Result};

/// The version byte before a `jsonb` value's text.
const JSONB_VERSION: u8 = 1;

/// Writes the value of row `at`, which is not NULL, without its length.
pub(crate) fn put_binary(out: &mut BytesMut, values: &Values, at: usize) -> Result<()> {
    match values {
        Values::Null => {}
        Values::Bool(a) => out.put_u8(u8::from(a.value(at))),
        Values::Int2(a) => out.put_i16(a.value(at)),
        Values::Int4(a) => out.put_i32(a.value(at)),
        Values::Int8(a) => out.put_i64(a.value(at)),
        Values::Oid(a) => out.put_u32(a.value(at)),
        Values::Float4(a) => out.put_f32(a.value(at)),
        Values::Float8(a) => out.put_f64(a.value(at)),
        Values::Decimal128(a, scale) => put_numeric_binary(out, &a.value(at).to_string(), *scale),
        Values::Decimal256(a, scale) => put_numeric_binary(out, &a.value(at).to_string(), *scale),
        Values::Text(a) | Values::Shown(a) => put_characters(out, a.value(at)),
        Values::TextView(a) => put_characters(out, a.value(at)),
        Values::Bytes(a) => out.put_slice(a.value(at)),
        Values::FixedBytes(a) => out.put_slice(a.value(at)),
        Values::Date(a) => out.put_i32(a.value(at).saturating_sub(POSTGRES_EPOCH_DAYS as i32)),
        Values::Time(a) => out.put_i64(a.value(at).div_euclid(1_000)),
        Values::Timestamp { values, per_second, .. } => {
            out.put_i64(Instant::from_units(values.value(at), *per_second).postgres_micros());
        }
        Values::Interval(a) => {
            let value = a.value(at);
            out.put_i64(value.nanoseconds.div_euclid(1_000));
            out.put_i32(value.days);
            out.put_i32(value.months);
        }
        Values::List { lists, elements, element } => {
            let offsets = lists.value_offsets();
            put_array(out, offsets[at] as usize..offsets[at + 1] as usize, elements, element.oid())?;
        }
        Values::JsonText(a) => {
            out.put_u8(JSONB_VERSION);
            put_characters(out, a.value(at));
        }
        Values::Json(array) => {
            out.put_u8(JSONB_VERSION);
            put_json(out, array.as_ref(), at)?;
        }
    }
    Ok(())
}

/// Writes an array of one dimension:
///
/// ```text
/// dimensions i32 | has nulls i32 | element OID u32 | [length i32 | lower bound i32] | (bytes i32, value) …
/// ```
fn put_array(out: &mut BytesMut, rows: std::ops::Range<usize>, elements: &Values, oid: u32) -> Result<()> {
    out.put_i32(i32::from(!rows.is_empty()));
    out.put_i32(i32::from(rows.clone().any(|row| elements.is_null(row))));
    out.put_u32(oid);
    if rows.is_empty() {
        return Ok(());
    }
    out.put_i32(rows.len() as i32);
    out.put_i32(1);
    for row in rows {
        put_sized(out, elements.is_null(row), |out| put_binary(out, elements, row))?;
    }
    Ok(())
}

/// Writes a value behind its length in bytes; −1 stands for NULL.
pub(crate) fn put_sized(out: &mut BytesMut, null: bool, write: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
    if null {
        out.put_i32(-1);
        return Ok(());
    }
    let start = out.len();
    out.put_i32(0);
    write(out)?;
    let length = i32::try_from(out.len() - start - 4)
        .map_err(|_| Error::new(crate::error::Kind::TooLarge, "a value is larger than 2 GiB; select less of it"))?;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}
