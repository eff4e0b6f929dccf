//! How long the arguments of a call are.

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;

/// The longest text of a number or a time.
const MAX_PLAIN_BYTES: i128 = 32;

/// A column of whole numbers; NULL and what is no number count as zero. A series over times has its own arguments and is left alone.
pub(super) fn integers(arg: Option<&ColumnarValue>, rows: usize) -> Result<Vec<i128>> {
    let Some(array) = expanded(arg, rows)? else { return Ok(vec![0; rows]) };
    if !array.data_type().is_integer() {
        return Ok(vec![0; rows]);
    }
    let array = cast(&array, &DataType::Int64)?;
    Ok(array.as_primitive::<Int64Type>().iter().map(|n| n.map_or(0, i128::from)).collect())
}

/// The bytes of a text column together.
pub(super) fn text_bytes(arg: Option<&ColumnarValue>, rows: usize) -> Result<i128> {
    Ok(match arg {
        Some(ColumnarValue::Scalar(value)) => value.try_as_str().flatten().map_or(0, str::len) as i128 * rows as i128,
        Some(ColumnarValue::Array(array)) => array_text_bytes(array.as_ref()),
        None => 0,
    })
}

fn array_text_bytes(array: &dyn Array) -> i128 {
    fn between<T: Copy>(offsets: &[T], as_bytes: impl Fn(T) -> i128) -> i128 {
        match (offsets.first(), offsets.last()) {
            (Some(first), Some(last)) => as_bytes(*last) - as_bytes(*first),
            _ => 0,
        }
    }
    match array.data_type() {
        DataType::Utf8 => between(array.as_string::<i32>().value_offsets(), i128::from),
        DataType::LargeUtf8 => between(array.as_string::<i64>().value_offsets(), i128::from),
        // A view begins with its text's length.
        DataType::Utf8View => array.as_string_view().views().iter().map(|view| i128::from(*view as u32)).sum(),
        DataType::Binary => between(array.as_binary::<i32>().value_offsets(), i128::from),
        DataType::BinaryView => array.as_binary_view().views().iter().map(|view| i128::from(*view as u32)).sum(),
        _ => 0,
    }
}

/// The bytes of each row's text; other types count as nothing.
pub(super) fn lengths(arg: Option<&ColumnarValue>, rows: usize) -> Result<Vec<i128>> {
    if let Some(ColumnarValue::Scalar(value)) = arg {
        return Ok(vec![value.try_as_str().flatten().map_or(0, str::len) as i128; rows]);
    }
    let Some(array) = expanded(arg, rows)? else { return Ok(vec![0; rows]) };
    if !array.data_type().is_string() {
        return Ok(vec![0; rows]);
    }
    let array = cast(&array, &DataType::Utf8View)?;
    Ok(array.as_string_view().iter().map(|text| text.map_or(0, |text| text.len() as i128)).collect())
}

/// The bytes of each row's value, of whatever type; the rows of a column of lists count evenly.
pub(super) fn row_bytes(arg: Option<&ColumnarValue>, rows: usize) -> Result<Vec<i128>> {
    match arg {
        Some(ColumnarValue::Array(array)) if array.data_type().is_nested() => {
            let (elements, bytes) = leaves_of(array.as_ref())?;
            // Any one row may have all of it.
            Ok(vec![bytes.max(elements); rows])
        }
        Some(ColumnarValue::Scalar(value)) if value.data_type().is_nested() => {
            let (elements, bytes) = leaves_of(value.to_array()?.as_ref())?;
            Ok(vec![bytes.max(elements); rows])
        }
        arg => lengths(arg, rows),
    }
}

/// How many elements the lists have, and how many bytes as text.
pub(super) fn leaves(arg: Option<&ColumnarValue>, rows: usize) -> Result<(i128, i128)> {
    match arg {
        Some(ColumnarValue::Array(array)) => leaves_of(array.as_ref()),
        Some(ColumnarValue::Scalar(value)) => {
            let (elements, bytes) = leaves_of(value.to_array()?.as_ref())?;
            Ok((elements * rows as i128, bytes * rows as i128))
        }
        None => Ok((0, 0)),
    }
}

fn leaves_of(array: &dyn Array) -> Result<(i128, i128)> {
    match array.data_type() {
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            let (start, end) = (lists.value_offsets()[0] as usize, lists.value_offsets()[lists.len()] as usize);
            leaves_of(lists.values().slice(start, end - start).as_ref())
        }
        DataType::LargeList(_) => leaves_of(array.as_list::<i64>().values().as_ref()),
        DataType::FixedSizeList(..) => leaves_of(array.as_fixed_size_list().values().as_ref()),
        data_type if data_type.is_string() => Ok((array.len() as i128, array_text_bytes(array))),
        DataType::Struct(_) | DataType::Map(..) => {
            Ok((array.len() as i128, array.to_data().get_slice_memory_size()? as i128))
        }
        _ => Ok((array.len() as i128, array.len() as i128 * MAX_PLAIN_BYTES)),
    }
}

/// The argument as a column; `None` when it is missing or NULL throughout.
pub(super) fn expanded(arg: Option<&ColumnarValue>, rows: usize) -> Result<Option<ArrayRef>> {
    match arg {
        None | Some(ColumnarValue::Scalar(ScalarValue::Null)) => Ok(None),
        Some(arg) => arg.to_array(rows).map(Some),
    }
}
