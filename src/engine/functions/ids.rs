//! `id_text(bytes)`: a trace or span id as lower-case hex.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryArray, StringViewArray};
use datafusion::arrow::array::{ArrayDataBuilder, make_view};
use datafusion::arrow::buffer::{Buffer, ScalarBuffer};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// The function's name.
pub(super) const NAME: &str = "id_text";

/// The function.
pub(super) fn udf() -> ScalarUDF {
    ScalarUDF::from(IdText { signature: Signature::user_defined(Volatility::Immutable) })
}

/// The expression `id_text(bytes)`.
pub(in crate::engine) fn id_text(bytes: Expr) -> Expr {
    udf().call(vec![bytes])
}

/// The bytes behind `id_text(bytes)`.
pub(in crate::engine) fn id_text_argument(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == NAME && call.args.len() == 1 => call.args.first(),
        _ => None,
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IdText {
    signature: Signature,
}

impl ScalarUDFImpl for IdText {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [DataType::FixedSizeBinary(_)] => Ok(types.to_vec()),
            _ => plan_err!("id_text takes one id of fixed length"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ids] = args.args.as_slice() else { return exec_err!("id_text takes one argument") };
        let scalar = matches!(ids, ColumnarValue::Scalar(_));
        let ids = ids.to_array(1)?;
        let Some(ids) = ids.as_fixed_size_binary_opt() else { return exec_err!("id_text takes an id of fixed length") };
        let text: ArrayRef = Arc::new(id_text_array(ids)?);
        match scalar {
            true => Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&text, 0)?)),
            false => Ok(ColumnarValue::Array(text)),
        }
    }
}

/// Writes each id as hex digits into one buffer, and a view of it for each.
pub(super) fn id_text_array(ids: &FixedSizeBinaryArray) -> Result<StringViewArray> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let width = 2 * ids.value_length() as usize;
    let mut text = Vec::with_capacity(width * ids.len());
    for row in 0..ids.len() {
        for byte in ids.value(row) {
            text.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
    }
    if text.len() > u32::MAX as usize {
        return exec_err!("too many ids in one batch");
    }
    let views: Vec<u128> =
        (0..ids.len()).map(|row| make_view(&text[row * width..][..width], 0, (row * width) as u32)).collect();
    let data = ArrayDataBuilder::new(DataType::Utf8View)
        .len(ids.len())
        .add_buffer(ScalarBuffer::from(views).into_inner())
        .add_buffer(Buffer::from_vec(text))
        .nulls(ids.nulls().cloned())
        .build()?;
    Ok(StringViewArray::from(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_lower_case_hex_and_null_stays_null() {
        let ids = FixedSizeBinaryArray::try_from_sparse_iter_with_size(
            [Some(vec![0x0a, 0xff, 0, 1, 2, 3, 4, 0x5b]), None, Some(vec![0xde; 8])].into_iter(),
            8,
        )
        .expect("valid");
        let text = id_text_array(&ids).expect("valid");
        assert_eq!(text.iter().collect::<Vec<_>>(), [Some("0aff00010203045b"), None, Some("dededededededede")]);
        assert_eq!(id_text_array(&ids.slice(2, 1)).expect("valid").value(0), "dededededededede");
    }
}
