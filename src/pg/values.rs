//! A column of a batch, looked at once: the few shapes that cells are written from.

use std::sync::Arc;

use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::types::{
    Date32Type, Decimal128Type, Decimal256Type, DurationNanosecondType, Float32Type, Float64Type, Int16Type, Int32Type,
    Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64NanosecondType, UInt32Type, UInt64Type,
};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, Int64Array, ListArray,
    PrimitiveArray, StringArray, StringViewArray,
};
use datafusion::arrow::compute::{CastOptions, cast_with_options};
use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};

use super::types::{Element, PgType};
use crate::error::{Error, Result};

/// A column's values in the shape that cells are written from.
pub(crate) enum Values {
    /// Every value is NULL.
    Null,
    Bool(BooleanArray),
    Int2(PrimitiveArray<Int16Type>),
    Int4(PrimitiveArray<Int32Type>),
    Int8(PrimitiveArray<Int64Type>),
    Oid(PrimitiveArray<UInt32Type>),
    Float4(PrimitiveArray<Float32Type>),
    Float8(PrimitiveArray<Float64Type>),
    Decimal128(PrimitiveArray<Decimal128Type>, i8),
    Decimal256(PrimitiveArray<Decimal256Type>, i8),
    Text(StringArray),
    TextView(StringViewArray),
    Bytes(BinaryViewArray),
    FixedBytes(FixedSizeBinaryArray),
    Date(PrimitiveArray<Date32Type>),
    Time(PrimitiveArray<Time64NanosecondType>),
    Timestamp {
        values: Int64Array,
        per_second: i64,
        zone: Option<Tz>,
    },
    Interval(PrimitiveArray<IntervalMonthDayNanoType>),
    List {
        lists: ListArray,
        elements: Box<Values>,
        element: Element,
    },
    Json(ArrayRef),
    /// JSON that is text already.
    JsonText(StringViewArray),
    /// Anything else: already as Arrow's own text.
    Shown(StringArray),
}

impl Values {
    /// Brings `array` into a shape of `to`; fails when it is of another kind.
    ///
    /// `zone` is where a timestamp with time zone is shown.
    pub(crate) fn new(array: &ArrayRef, to: PgType, zone: Tz) -> Result<Self> {
        if array.data_type() == &DataType::Null {
            return Ok(Self::Null);
        }
        Ok(match to {
            PgType::Bool => Self::Bool(as_type(array, &DataType::Boolean)?.as_boolean().clone()),
            PgType::Int2 => Self::Int2(as_type(array, &DataType::Int16)?.as_primitive().clone()),
            PgType::Int4 => Self::Int4(as_type(array, &DataType::Int32)?.as_primitive().clone()),
            PgType::Int8 => Self::Int8(int8(array)?),
            PgType::Oid => Self::Oid(as_type(array, &DataType::UInt32)?.as_primitive().clone()),
            PgType::Float4 => Self::Float4(as_type(array, &DataType::Float32)?.as_primitive().clone()),
            PgType::Float8 => Self::Float8(as_type(array, &DataType::Float64)?.as_primitive().clone()),
            PgType::Numeric { scale, .. } => numeric(&plain(array)?, scale)?,
            PgType::Text => text(&plain(array)?)?,
            PgType::Bytea => bytes(&plain(array)?)?,
            PgType::Date => Self::Date(as_type(array, &DataType::Date32)?.as_primitive().clone()),
            PgType::Time => Self::Time(as_type(array, &DataType::Time64(TimeUnit::Nanosecond))?.as_primitive().clone()),
            PgType::Timestamp => timestamp(&plain(array)?, None)?,
            PgType::Timestamptz => timestamp(&plain(array)?, Some(zone))?,
            PgType::Interval if matches!(array.data_type(), DataType::Duration(_)) => {
                Self::Interval(days_and_time(array)?)
            }
            PgType::Interval => {
                let unit = DataType::Interval(IntervalUnit::MonthDayNano);
                Self::Interval(as_type(array, &unit)?.as_primitive().clone())
            }
            PgType::Jsonb => match plain(array)? {
                text if text.data_type().is_string() => {
                    Self::JsonText(as_type(&text, &DataType::Utf8View)?.as_string_view().clone())
                }
                nested => Self::Json(nested),
            },
            PgType::Array(element) => list(&plain(array)?, element, zone)?,
        })
    }

    /// Whether the value of row `at` is NULL.
    pub(crate) fn is_null(&self, at: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(a) => a.is_null(at),
            Self::Int2(a) => a.is_null(at),
            Self::Int4(a) => a.is_null(at),
            Self::Int8(a) => a.is_null(at),
            Self::Oid(a) => a.is_null(at),
            Self::Float4(a) => a.is_null(at),
            Self::Float8(a) => a.is_null(at),
            Self::Decimal128(a, _) => a.is_null(at),
            Self::Decimal256(a, _) => a.is_null(at),
            Self::Text(a) | Self::Shown(a) => a.is_null(at),
            Self::TextView(a) | Self::JsonText(a) => a.is_null(at),
            Self::Bytes(a) => a.is_null(at),
            Self::FixedBytes(a) => a.is_null(at),
            Self::Date(a) => a.is_null(at),
            Self::Time(a) => a.is_null(at),
            Self::Timestamp { values, .. } => values.is_null(at),
            Self::Interval(a) => a.is_null(at),
            Self::List { lists, .. } => lists.is_null(at),
            Self::Json(a) => a.is_null(at),
        }
    }
}

fn as_type(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    if array.data_type() == to {
        return Ok(array.clone());
    }
    let from = array.data_type();
    let would_lose = to.is_integer() && (from.is_floating() || from.is_decimal())
        || matches!((from, to), (DataType::Timestamp(..), DataType::Date32));
    if would_lose {
        return Err(Error::internal(format!("a column was described as {to} and is {from}")));
    }
    cast_with_options(array, to, &CastOptions { safe: false, ..CastOptions::default() }).map_err(|cause| {
        Error::internal(format!("cannot show a value of type {} as {to}: {cause}", array.data_type()))
            .with_source(cause)
    })
}

/// Brings whole numbers to 64 signed bits.
///
/// # Errors
/// SQLSTATE 22003 for a value beyond them, which a cast would make NULL.
fn int8(array: &ArrayRef) -> Result<PrimitiveArray<Int64Type>> {
    let array = plain(array)?;
    if let Some(unsigned) = array.as_primitive_opt::<UInt64Type>()
        && let Some(beyond) = unsigned.iter().flatten().find(|value| i64::try_from(*value).is_err())
    {
        return Err(Error::bad_input(format!("value {beyond} is out of range for type bigint"))
            .with_sqlstate("22003")
            .with_hint("cast it to numeric or text"));
    }
    Ok(as_type(&array, &DataType::Int64)?.as_primitive().clone())
}

/// Unpacks dictionaries and runs.
pub(super) fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    match array.data_type() {
        DataType::Dictionary(_, value) => match value.as_ref() {
            // A view array repeats a value by pointing to it.
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => as_type(array, &DataType::Utf8View),
            other => as_type(array, other),
        },
        DataType::RunEndEncoded(_, value) => plain(&as_type(array, value.data_type())?),
        _ => Ok(array.clone()),
    }
}

const DAY_NS: i64 = super::times::DAY_SECONDS * 1_000_000_000;

/// Durations as PostgreSQL has the difference of two times: days and the rest.
pub(crate) fn days_and_time(durations: &ArrayRef) -> Result<PrimitiveArray<IntervalMonthDayNanoType>> {
    let durations = as_type(durations, &DataType::Duration(TimeUnit::Nanosecond))?;
    Ok(durations.as_primitive::<DurationNanosecondType>().unary(|ns| {
        let days = i32::try_from(ns / DAY_NS).unwrap_or(i32::MAX);
        IntervalMonthDayNano::new(0, days, ns % DAY_NS)
    }))
}

fn numeric(array: &ArrayRef, scale: i8) -> Result<Values> {
    Ok(match array.data_type() {
        DataType::Decimal128(_, s) if *s == scale => Values::Decimal128(array.as_primitive().clone(), scale),
        DataType::Decimal256(_, s) if *s == scale => Values::Decimal256(array.as_primitive().clone(), scale),
        DataType::Decimal32(..) | DataType::Decimal64(..) => {
            Values::Decimal128(as_type(array, &DataType::Decimal128(38, scale))?.as_primitive().clone(), scale)
        }
        _ => Values::Decimal256(as_type(array, &DataType::Decimal256(76, scale))?.as_primitive().clone(), scale),
    })
}

fn text(array: &ArrayRef) -> Result<Values> {
    Ok(match array.data_type() {
        DataType::Utf8 => Values::Text(array.as_string().clone()),
        DataType::Utf8View => Values::TextView(array.as_string_view().clone()),
        DataType::LargeUtf8 => Values::TextView(as_type(array, &DataType::Utf8View)?.as_string_view().clone()),
        _ => Values::Shown(shown(array)?),
    })
}

fn shown(array: &ArrayRef) -> Result<StringArray> {
    let options = FormatOptions::default();
    let fail = |cause| Error::internal(format!("cannot show a value of type {}: {cause}", array.data_type()));
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options).map_err(fail)?;
    (0..array.len())
        .map(|at| match array.is_null(at) {
            true => Ok(None),
            false => formatter.value(at).try_to_string().map(Some).map_err(fail),
        })
        .collect()
}

fn bytes(array: &ArrayRef) -> Result<Values> {
    Ok(match array.data_type() {
        DataType::FixedSizeBinary(_) => Values::FixedBytes(array.as_fixed_size_binary().clone()),
        _ => Values::Bytes(as_type(array, &DataType::BinaryView)?.as_binary_view().clone()),
    })
}

fn timestamp(array: &ArrayRef, zone: Option<Tz>) -> Result<Values> {
    let unit = match array.data_type() {
        DataType::Timestamp(unit, _) => *unit,
        _ => {
            let to = DataType::Timestamp(TimeUnit::Microsecond, None);
            return timestamp(&as_type(array, &to)?, zone);
        }
    };
    let per_second = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let values = as_type(array, &DataType::Int64)?.as_primitive().clone();
    Ok(Values::Timestamp { values, per_second, zone })
}

fn list(array: &ArrayRef, element: Element, zone: Tz) -> Result<Values> {
    let inner = match array.data_type() {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::ListView(field)
        | DataType::LargeListView(field) => field.data_type().clone(),
        other => return Err(Error::internal(format!("a column of type {other} was described as an array"))),
    };
    let lists = as_type(array, &DataType::List(Arc::new(Field::new_list_field(inner, true))))?;
    let lists = lists.as_list::<i32>().clone();
    let to = match element {
        Element::Bool => PgType::Bool,
        Element::Int2 => PgType::Int2,
        Element::Int4 => PgType::Int4,
        Element::Int8 => PgType::Int8,
        Element::Oid => PgType::Oid,
        Element::Float4 => PgType::Float4,
        Element::Float8 => PgType::Float8,
        Element::Numeric => PgType::of(lists.values().data_type()),
        Element::Text => PgType::Text,
        Element::Bytea => PgType::Bytea,
        Element::Date => PgType::Date,
        Element::Timestamp => PgType::Timestamp,
        Element::Timestamptz => PgType::Timestamptz,
    };
    let elements = Box::new(Values::new(lists.values(), to, zone)?);
    Ok(Values::List { lists, elements, element })
}
