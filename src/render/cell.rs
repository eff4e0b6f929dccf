//! One value of an Arrow column as text or as JSON.
//!
//! Text follows PostgreSQL (`t` and `f`, `2026-11-21 03:34:59.123456789+00`, `\x0aff`); maps, lists and structs are JSON inside it.

use std::fmt::Write as _;

use chrono::{Offset, TimeZone};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait, PrimitiveArray,
};
use datafusion::arrow::datatypes::*;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::cast::as_fixed_size_list_array;

use super::json::push_json_string;
use crate::error::{Error, Result};

/// Whether a cell is NULL; a column of type Null has no bits that say so.
pub(super) fn is_null(array: &dyn Array, row: usize) -> bool {
    array.data_type().is_null() || array.is_null(row)
}

/// Nanoseconds in a second.
const NANOS: i64 = 1_000_000_000;

/// Appends the value at `row` as text; appends nothing for NULL.
pub fn push_text(array: &dyn Array, row: usize, out: &mut String) -> Result<()> {
    if is_null(array, row) {
        return Ok(());
    }
    match array.data_type() {
        DataType::Boolean => out.push(if array.as_boolean().value(row) { 't' } else { 'f' }),
        DataType::Utf8 => out.push_str(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => out.push_str(array.as_string::<i64>().value(row)),
        DataType::Utf8View => out.push_str(array.as_string_view().value(row)),
        DataType::Timestamp(_, Some(zone)) if zone.as_ref() != "UTC" => {
            push_local(timestamp_parts(array, row)?, zone, out)
        }
        DataType::Timestamp(_, zone) => {
            push_timestamp(timestamp_parts(array, row)?, ' ', zone_suffix(zone, "+00"), out)
        }
        _ if is_nested(array.data_type()) => push_json(array, row, out)?,
        _ => push_scalar(array, row, out)?,
    }
    Ok(())
}

/// Appends the value at `row` as JSON; a non-finite number is a string, as JSON has none.
pub fn push_json(array: &dyn Array, row: usize, out: &mut String) -> Result<()> {
    if is_null(array, row) {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Null => out.push_str("null"),
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Utf8 => push_json_string(array.as_string::<i32>().value(row), out),
        DataType::LargeUtf8 => push_json_string(array.as_string::<i64>().value(row), out),
        DataType::Utf8View => push_json_string(array.as_string_view().value(row), out),
        DataType::Timestamp(_, zone) => {
            out.push('"');
            push_timestamp(timestamp_parts(array, row)?, 'T', zone_suffix(zone, "Z"), out);
            out.push('"');
        }
        DataType::Map(_, _) => push_map(array.as_map(), row, out)?,
        DataType::List(_) => push_list(array.as_list::<i32>(), row, out)?,
        DataType::LargeList(_) => push_list(array.as_list::<i64>(), row, out)?,
        DataType::FixedSizeList(_, _) => push_fixed_list(as_fixed_size_list_array(array).map_err(wrong)?, row, out)?,
        DataType::Struct(fields) => push_struct(fields, array.as_struct().columns(), row, out)?,
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            push_json(dictionary.values(), dictionary.normalized_keys()[row], out)?;
        }
        kind if is_json_number(kind) => push_json_number(array, row, out)?,
        _ => {
            let mut text = String::new();
            push_scalar(array, row, &mut text)?;
            push_json_string(&text, out);
        }
    }
    Ok(())
}

/// Whether a column of this type stands to the right in a table.
pub(super) fn is_number(kind: &DataType) -> bool {
    kind.is_numeric() || matches!(kind, DataType::Duration(_))
}

fn is_nested(kind: &DataType) -> bool {
    kind.is_nested() && !matches!(kind, DataType::Dictionary(_, _))
}

fn is_json_number(kind: &DataType) -> bool {
    kind.is_integer() || kind.is_floating() || matches!(kind, DataType::Decimal128(_, _) | DataType::Decimal256(_, _))
}

/// Appends a value that is neither text, timestamp, boolean nor nested.
fn push_scalar(array: &dyn Array, row: usize, out: &mut String) -> Result<()> {
    match array.data_type() {
        DataType::Null => {}
        DataType::Int64 => push_display(array.as_primitive::<Int64Type>(), row, out),
        DataType::Int32 => push_display(array.as_primitive::<Int32Type>(), row, out),
        DataType::UInt64 => push_display(array.as_primitive::<UInt64Type>(), row, out),
        DataType::Float64 => push_float(array.as_primitive::<Float64Type>().value(row), out),
        DataType::Float32 => push_float32(array.as_primitive::<Float32Type>().value(row), out),
        DataType::Binary => push_hex(array.as_binary::<i32>().value(row), out),
        DataType::LargeBinary => push_hex(array.as_binary::<i64>().value(row), out),
        DataType::BinaryView => push_hex(array.as_binary_view().value(row), out),
        DataType::FixedSizeBinary(_) => push_hex(array.as_fixed_size_binary().value(row), out),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            push_text(dictionary.values(), dictionary.normalized_keys()[row], out)?;
        }
        _ => push_any(array, row, out)?,
    }
    Ok(())
}

/// Appends a value of a rare type the way Arrow shows it.
fn push_any(array: &dyn Array, row: usize, out: &mut String) -> Result<()> {
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(array, &options).map_err(wrong)?;
    write!(out, "{}", formatter.value(row)).map_err(wrong)
}

fn push_display<T: ArrowPrimitiveType<Native: std::fmt::Display>>(
    array: &PrimitiveArray<T>,
    row: usize,
    out: &mut String,
) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{}", array.value(row));
}

/// Appends the shortest decimal that reads back equal, with an exponent only where digits would run on.
fn push_float(value: f64, out: &mut String) {
    let _ = match value {
        v if v.is_nan() => write!(out, "NaN"),
        v if v.is_infinite() => write!(out, "{}Infinity", if v < 0.0 { "-" } else { "" }),
        v if v != 0.0 && !(1e-5..1e15).contains(&v.abs()) => write!(out, "{v:e}"),
        v => write!(out, "{v}"),
    };
}

/// As [`push_float`], with the fewer digits that the shorter type needs.
fn push_float32(value: f32, out: &mut String) {
    match value.is_finite() && (value == 0.0 || (1e-5..1e15).contains(&value.abs())) {
        true => {
            let _ = write!(out, "{value}");
        }
        false if value.is_finite() => {
            let _ = write!(out, "{value:e}");
        }
        false => push_float(value.into(), out),
    }
}

fn push_json_number(array: &dyn Array, row: usize, out: &mut String) -> Result<()> {
    let start = out.len();
    push_scalar(array, row, out)?;
    if array.data_type().is_floating() && out[start..].ends_with(|c: char| c.is_ascii_alphabetic()) {
        out.insert(start, '"');
        out.push('"');
    }
    Ok(())
}

fn push_hex(bytes: &[u8], out: &mut String) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.push_str("\\x");
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)] as char);
        out.push(DIGITS[usize::from(byte & 15)] as char);
    }
}

/// A timestamp as seconds since 1970 and the nanoseconds in that second.
fn timestamp_parts(array: &dyn Array, row: usize) -> Result<(i64, u32)> {
    let (value, per_second) = match array.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => (array.as_primitive::<TimestampSecondType>().value(row), 1),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            (array.as_primitive::<TimestampMillisecondType>().value(row), 1_000)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            (array.as_primitive::<TimestampMicrosecondType>().value(row), 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            (array.as_primitive::<TimestampNanosecondType>().value(row), NANOS)
        }
        other => return Err(Error::internal(format!("{other} is not a timestamp"))),
    };
    let nanos = value.rem_euclid(per_second) * (NANOS / per_second);
    Ok((value.div_euclid(per_second), nanos as u32))
}

/// What follows the time: nothing for a timestamp without zone.
fn zone_suffix(zone: &Option<std::sync::Arc<str>>, utc: &'static str) -> &'static str {
    if zone.is_some() { utc } else { "" }
}

/// Appends date and time in UTC with as many fractional digits as are not zero.
fn push_timestamp((seconds, nanos): (i64, u32), between: char, suffix: &str, out: &mut String) {
    let Some(time) = chrono::DateTime::from_timestamp(seconds, nanos) else {
        let _ = write!(out, "{seconds}s");
        return;
    };
    let _ = write!(out, "{}{between}{}", time.format("%Y-%m-%d"), time.format("%H:%M:%S"));
    if nanos > 0 {
        let fraction = format!("{nanos:09}");
        let _ = write!(out, ".{}", fraction.trim_end_matches('0'));
    }
    out.push_str(suffix);
}

/// Appends date and time in a zone, with its offset as PostgreSQL writes it; in UTC where the zone is not known.
fn push_local((seconds, nanos): (i64, u32), zone: &str, out: &mut String) {
    let time = chrono::DateTime::from_timestamp(seconds, 0).map(|time| time.naive_utc());
    let zone = zone.parse::<Tz>().ok();
    let offset = zone.zip(time).map_or(0, |(zone, time)| zone.offset_from_utc_datetime(&time).fix().local_minus_utc());
    push_timestamp((seconds + i64::from(offset), nanos), ' ', "", out);
    let (sign, offset) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
    let _ = write!(out, "{sign}{:02}", offset / 3600);
    let (minutes, seconds) = (offset / 60 % 60, offset % 60);
    if minutes > 0 || seconds > 0 {
        let _ = write!(out, ":{minutes:02}");
    }
    if seconds > 0 {
        let _ = write!(out, ":{seconds:02}");
    }
}

fn push_map(map: &MapArray, row: usize, out: &mut String) -> Result<()> {
    let entries = map.value(row);
    let (keys, values) = (entries.column(0), entries.column(1));
    let mut key = String::new();
    out.push('{');
    for entry in 0..entries.len() {
        if entry > 0 {
            out.push_str(", ");
        }
        key.clear();
        push_text(keys, entry, &mut key)?;
        push_json_string(&key, out);
        out.push_str(": ");
        push_json(values, entry, out)?;
    }
    out.push('}');
    Ok(())
}

fn push_list<O: OffsetSizeTrait>(list: &GenericListArray<O>, row: usize, out: &mut String) -> Result<()> {
    push_elements(&list.value(row), out)
}

fn push_fixed_list(list: &FixedSizeListArray, row: usize, out: &mut String) -> Result<()> {
    push_elements(&list.value(row), out)
}

fn push_elements(elements: &ArrayRef, out: &mut String) -> Result<()> {
    out.push('[');
    for element in 0..elements.len() {
        if element > 0 {
            out.push_str(", ");
        }
        push_json(elements, element, out)?;
    }
    out.push(']');
    Ok(())
}

fn push_struct(fields: &Fields, columns: &[ArrayRef], row: usize, out: &mut String) -> Result<()> {
    out.push('{');
    for (position, (field, column)) in fields.iter().zip(columns).enumerate() {
        if position > 0 {
            out.push_str(", ");
        }
        push_json_string(field.name(), out);
        out.push_str(": ");
        push_json(column, row, out)?;
    }
    out.push('}');
    Ok(())
}

fn wrong(cause: impl std::fmt::Display) -> Error {
    Error::internal(format!("a value cannot be shown: {cause}"))
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::*;

    use super::*;

    fn text(array: impl Array) -> String {
        let mut out = String::new();
        push_text(&array, 0, &mut out).expect("shown");
        out
    }

    fn json(array: impl Array) -> String {
        let mut out = String::new();
        push_json(&array, 0, &mut out).expect("shown");
        out
    }

    #[test]
    fn scalars_read_as_postgres_writes_them() {
        assert_eq!(text(BooleanArray::from(vec![true])), "t");
        assert_eq!(text(Int64Array::from(vec![i64::MIN])), "-9223372036854775808");
        assert_eq!(text(Float64Array::from(vec![0.1 + 0.2])), "0.30000000000000004");
        assert_eq!(text(Float64Array::from(vec![1e21])), "1e21");
        assert_eq!(text(Float32Array::from(vec![0.1])), "0.1");
        assert_eq!(text(Float64Array::from(vec![f64::NEG_INFINITY])), "-Infinity");
        assert_eq!(text(BinaryArray::from(vec![&[0u8, 255][..]])), "\\x00ff");
        assert_eq!(text(Int64Array::from(vec![None])), "");
        assert_eq!(text(Decimal128Array::from(vec![1234]).with_precision_and_scale(9, 2).expect("decimal")), "12.34");
    }

    #[test]
    fn timestamps_keep_their_nanoseconds() {
        let zoned = TimestampNanosecondArray::from(vec![1_700_000_000_123_456_780]).with_timezone("UTC");
        assert_eq!(text(zoned.clone()), "2023-11-14 22:13:20.12345678+00");
        assert_eq!(json(zoned), "\"2023-11-14T22:13:20.12345678Z\"");
        assert_eq!(text(TimestampMillisecondArray::from(vec![-1])), "1969-12-31 23:59:59.999");
    }

    #[test]
    fn json_has_strings_for_what_it_lacks() {
        assert_eq!(json(Float64Array::from(vec![f64::NAN])), "\"NaN\"");
        assert_eq!(json(Float64Array::from(vec![1.5])), "1.5");
        assert_eq!(json(StringArray::from(vec!["a\"b\u{1}\n"])), r#""a\"b\u0001\n""#);
        let dictionary: DictionaryArray<Int32Type> = vec!["x"].into_iter().collect();
        assert_eq!(json(dictionary), "\"x\"");
    }

    #[test]
    fn maps_lists_and_structs_are_json() {
        let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        map.keys().append_value("http.route");
        map.values().append_value("/cart");
        map.keys().append_value("none");
        map.values().append_null();
        map.append(true).expect("a map");
        assert_eq!(text(map.finish()), r#"{"http.route": "/cart", "none": null}"#);
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), None])]);
        assert_eq!(text(list.clone()), "[1, null]");
        let field = Arc::new(Field::new("l", list.data_type().clone(), true));
        let parts: StructArray = vec![(field, Arc::new(list) as ArrayRef)].into();
        assert_eq!(json(parts), r#"{"l": [1, null]}"#);
    }
}
