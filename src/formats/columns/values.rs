//! Cells of any Arrow type as OTLP values.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StructArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampNanosecondType};
use datafusion::arrow::util::display::array_value_to_string;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};

use crate::error::{Error, Result};

/// A column with its encodings undone: dictionaries are plain, bytes of text are text, times are nanoseconds.
pub(super) fn plain_column(batch: &RecordBatch, place: usize) -> Result<ArrayRef> {
    plain(batch.column(place)).map_err(|error| {
        Error::bad_input(format!("the column {:?} cannot be read: {error}", batch.schema_ref().field(place).name()))
    })
}

fn plain(column: &ArrayRef) -> Result<ArrayRef, datafusion::arrow::error::ArrowError> {
    match column.data_type() {
        DataType::Dictionary(_, values) => plain(&cast(column, values)?),
        DataType::RunEndEncoded(_, values) => plain(&cast(column, values.data_type())?),
        DataType::LargeUtf8 | DataType::Utf8View => cast(column, &DataType::Utf8),
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => cast(column, &DataType::Binary),
        DataType::LargeList(element) | DataType::ListView(element) => cast(column, &DataType::List(element.clone())),
        DataType::Timestamp(unit, zone) if *unit != TimeUnit::Nanosecond => {
            cast(column, &DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()))
        }
        _ => Ok(column.clone()),
    }
}

/// A cell's text, of a column of texts or of bytes that are one; `None` for NULL and other types.
pub(super) fn text(column: &dyn Array, row: usize) -> Option<&str> {
    match column.data_type() {
        _ if column.is_null(row) => None,
        DataType::Utf8 => Some(column.as_string::<i32>().value(row)),
        DataType::Binary => std::str::from_utf8(column.as_binary::<i32>().value(row)).ok(),
        _ => None,
    }
}

/// A cell of a time, in nanoseconds since 1970; `unit_ns` is what a plain number counts.
pub(super) fn instant_ns(column: &dyn Array, row: usize, unit_ns: i64) -> Option<i64> {
    match column.data_type() {
        _ if column.is_null(row) => None,
        DataType::Timestamp(..) => Some(column.as_primitive::<TimestampNanosecondType>().value(row)),
        _ => match text(column, row) {
            Some(text) => time_of_text(text),
            None => length_ns(column, row, unit_ns),
        },
    }
}

/// A cell of a length of time in nanoseconds.
pub(super) fn length_ns(column: &dyn Array, row: usize, unit_ns: i64) -> Option<i64> {
    let cell = column.slice(row, 1);
    match column.data_type() {
        _ if column.is_null(row) => None,
        DataType::Float16
        | DataType::Float32
        | DataType::Float64
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => {
            let number = cast(&cell, &DataType::Float64).ok()?.as_primitive::<Float64Type>().value(0);
            let ns = (number * unit_ns as f64).round();
            (ns.abs() < i64::MAX as f64).then_some(ns as i64)
        }
        DataType::Duration(_) => {
            let ns = cast(&cell, &DataType::Duration(TimeUnit::Nanosecond)).ok()?;
            Some(cast(&ns, &DataType::Int64).ok()?.as_primitive::<Int64Type>().value(0))
        }
        kind if kind.is_integer() => {
            let number = cast(&cell, &DataType::Int64).ok().filter(|number| number.is_valid(0))?;
            number.as_primitive::<Int64Type>().value(0).checked_mul(unit_ns)
        }
        _ => None,
    }
}

/// Forms of times in texts, beside RFC 3339; without a zone they are UTC.
const TIME_FORMS: [&str; 2] = ["%Y-%m-%d %H:%M:%S%.f%z", "%Y-%m-%dT%H:%M:%S%.f%z"];
const LOCAL_FORMS: [&str; 2] = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];

/// The nanoseconds since 1970 of a time in a text.
pub(super) fn time_of_text(text: &str) -> Option<i64> {
    let with_zone = chrono::DateTime::parse_from_rfc3339(text)
        .ok()
        .or_else(|| TIME_FORMS.iter().find_map(|form| chrono::DateTime::parse_from_str(text, form).ok()));
    let utc = with_zone.map(|time| time.to_utc()).or_else(|| {
        let local = LOCAL_FORMS.iter().find_map(|form| chrono::NaiveDateTime::parse_from_str(text, form).ok());
        local.map(|time| time.and_utc())
    });
    utc?.timestamp_nanos_opt()
}

/// A cell as an OTLP value, whatever its type; `None` for NULL.
pub(super) fn any_value(column: &ArrayRef, row: usize) -> Option<Value> {
    if column.is_null(row) {
        return None;
    }
    let column = &plain(column).ok()?;
    Some(match column.data_type() {
        DataType::Boolean => Value::BoolValue(column.as_boolean().value(row)),
        DataType::Binary => match text(column, row) {
            Some(text) => Value::StringValue(text.to_owned()),
            None => Value::BytesValue(column.as_binary::<i32>().value(row).to_vec()),
        },
        DataType::Utf8 => Value::StringValue(column.as_string::<i32>().value(row).to_owned()),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let number = cast(&column.slice(row, 1), &DataType::Float64).ok()?;
            Value::DoubleValue(number.as_primitive::<Float64Type>().value(0))
        }
        kind if kind.is_integer() => {
            let number = cast(&column.slice(row, 1), &DataType::Int64).ok()?;
            match number.is_valid(0) {
                true => Value::IntValue(number.as_primitive::<Int64Type>().value(0)),
                false => Value::StringValue(array_value_to_string(column, row).ok()?),
            }
        }
        DataType::List(_) => {
            let elements = column.as_list::<i32>().value(row);
            let value = |place| AnyValue { value: any_value(&elements, place) };
            Value::ArrayValue(ArrayValue { values: (0..elements.len()).map(value).collect() })
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            Value::KvlistValue(KeyValueList { values: entries_of(&entries) })
        }
        DataType::Struct(_) => Value::KvlistValue(KeyValueList { values: parts_of(column.as_struct(), row) }),
        _ => Value::StringValue(array_value_to_string(column, row).ok()?),
    })
}

/// The entries of one map.
fn entries_of(entries: &StructArray) -> Vec<KeyValue> {
    let (keys, values) = (entries.column(0), entries.column(1));
    let entry = |place| {
        let key = match any_value(keys, place)? {
            Value::StringValue(key) => key,
            _ => array_value_to_string(keys, place).ok()?,
        };
        Some(KeyValue { key, value: Some(AnyValue { value: any_value(values, place) }), ..KeyValue::default() })
    };
    (0..entries.len()).filter_map(entry).collect()
}

/// The parts of a struct that are not NULL.
fn parts_of(parts: &StructArray, row: usize) -> Vec<KeyValue> {
    let part = |(name, column): (&str, &ArrayRef)| {
        let value = any_value(column, row)?;
        Some(KeyValue { key: name.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() })
    };
    parts.column_names().into_iter().zip(parts.columns()).filter_map(part).collect()
}
