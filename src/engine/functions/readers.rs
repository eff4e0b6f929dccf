//! What texts stand for that Arrow reads otherwise: `read_interval(text)` is `text::interval`, `read_bytes(text)` is `text::bytea`; and
//! `bytes_length(b)`, since `length` is of texts. A text that stands for nothing is NULL.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BinaryArray, Int32Array, IntervalMonthDayNanoArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, IntervalUnit};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Expr, ScalarUDF, Signature, SimpleScalarUDF, Volatility};

use crate::engine::interval_text::interval_of;

/// The functions.
pub(super) fn udfs() -> Vec<ScalarUDF> {
    vec![interval_udf(), bytes_udf(), length_udf()]
}

/// `text::interval`.
pub(in crate::engine) fn read_interval(text: Expr) -> Expr {
    interval_udf().call(vec![text])
}

/// `text::bytea`.
pub(in crate::engine) fn read_bytes(text: Expr) -> Expr {
    bytes_udf().call(vec![text])
}

/// `length(bytes)`.
pub(in crate::engine) fn bytes_length(bytes: Expr) -> Expr {
    length_udf().call(vec![bytes])
}

/// The bytes that a text stands for: hexadecimal after `\x`, else as they are, with `\\` and three octal digits after a backslash.
pub(in crate::engine) fn bytes_of(text: &str) -> Option<Vec<u8>> {
    match text.strip_prefix("\\x") {
        Some(digits) => {
            let digits: Vec<u8> = digits.bytes().filter(|digit| !digit.is_ascii_whitespace()).collect();
            let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            let byte = |pair: &[u8]| match pair {
                [high, low] => Some(value(high)? * 16 + value(low)?),
                _ => None,
            };
            digits.chunks(2).map(byte).collect()
        }
        None => escaped(text.as_bytes()),
    }
}

fn escaped(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        let byte;
        (byte, text) = match (first, rest) {
            (b'\\', [b'\\', rest @ ..]) => (b'\\', rest),
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..]) => {
                ((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'), rest)
            }
            (b'\\', _) => return None,
            (plain, rest) => (*plain, rest),
        };
        bytes.push(byte);
    }
    Some(bytes)
}

fn interval_udf() -> ScalarUDF {
    let read = |texts: &ArrayRef| {
        let texts = cast(texts, &DataType::Utf8View)?;
        let read: IntervalMonthDayNanoArray =
            texts.as_string_view().iter().map(|text| text.and_then(interval_of)).collect();
        Ok(Arc::new(read) as ArrayRef)
    };
    let signature = Signature::string(1, Volatility::Immutable);
    udf("read_interval", signature, DataType::Interval(IntervalUnit::MonthDayNano), read)
}

fn bytes_udf() -> ScalarUDF {
    let read = |texts: &ArrayRef| {
        let texts = cast(texts, &DataType::Utf8View)?;
        let read: BinaryArray = texts.as_string_view().iter().map(|text| text.and_then(bytes_of)).collect();
        Ok(Arc::new(read) as ArrayRef)
    };
    udf("read_bytes", Signature::string(1, Volatility::Immutable), DataType::Binary, read)
}

fn length_udf() -> ScalarUDF {
    let measure = |bytes: &ArrayRef| {
        let bytes = cast(bytes, &DataType::BinaryView)?;
        let length = |bytes: &[u8]| i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        let lengths: Int32Array = bytes.as_binary_view().iter().map(|bytes| bytes.map(length)).collect();
        Ok(Arc::new(lengths) as ArrayRef)
    };
    udf("bytes_length", Signature::any(1, Volatility::Immutable), DataType::Int32, measure)
}

/// A function of one value.
fn udf(
    name: &str,
    signature: Signature,
    made: DataType,
    make: impl Fn(&ArrayRef) -> Result<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    let call = move |args: &[ColumnarValue]| {
        let [value] = args else { return datafusion::common::exec_err!("a function of one value") };
        Ok(match value {
            ColumnarValue::Scalar(value) => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&make(&value.to_array()?)?, 0)?)
            }
            ColumnarValue::Array(values) => ColumnarValue::Array(make(values)?),
        })
    };
    ScalarUDF::from(SimpleScalarUDF::new_with_signature(name, signature, made, Arc::new(call)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_as_in_postgresql() {
        for (text, bytes) in [
            ("\\xDEad", Some(vec![0xde, 0xad])),
            ("\\x de ad ", Some(vec![0xde, 0xad])),
            ("\\x", Some(vec![])),
            ("\\xd", None),
            ("\\xzz", None),
            ("a\\\\\\001", Some(vec![b'a', b'\\', 1])),
            ("\\9", None),
        ] {
            assert_eq!(bytes_of(text), bytes, "{text}");
        }
    }
}
