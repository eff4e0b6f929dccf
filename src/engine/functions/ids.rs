//! `id_text(bytes)`: a trace or span id as lower-case hex; `id_bytes_16(text)` and `id_bytes_8(text)`: the other way round.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, StringViewArray,
};
use datafusion::arrow::array::{ArrayDataBuilder, make_view};
use datafusion::arrow::buffer::{Buffer, ScalarBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::CastExpr;
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};

use crate::model::{SpanId, TraceId};

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

/// The expression for the bytes of the id of `width` bytes that a text shows; NULL when it shows none, so that it equals no id. `None` when
/// there are no ids of that width.
pub(in crate::engine) fn id_bytes(text: Expr, width: i32) -> Option<Expr> {
    let name = match width as usize {
        TraceId::LEN => "id_bytes_16",
        SpanId::LEN => "id_bytes_8",
        _ => return None,
    };
    let signature = Signature::string(1, Volatility::Immutable);
    Some(ScalarUDF::from(IdBytes { name, width, signature }).call(vec![text]))
}

/// What a planned conversion of an id between bytes and text, or between types of text, is applied to.
pub(in crate::engine) fn id_argument(expr: &Arc<dyn PhysicalExpr>) -> Option<&Arc<dyn PhysicalExpr>> {
    if let Some(cast) = expr.downcast_ref::<CastExpr>() {
        return cast.cast_type().is_string().then_some(cast.expr());
    }
    let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
    let is_of_ids = call.fun().inner().is::<IdText>() || call.fun().inner().is::<IdBytes>();
    call.args().first().filter(|_| is_of_ids)
}

/// The id that `expr` shows as text; ids are in the same order as their text.
pub(in crate::engine) fn shown_id(expr: &Arc<dyn PhysicalExpr>) -> Option<&Arc<dyn PhysicalExpr>> {
    let call = expr.downcast_ref::<ScalarFunctionExpr>()?;
    call.args().first().filter(|_| call.fun().inner().is::<IdText>())
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

#[derive(Debug, PartialEq, Eq, Hash)]
struct IdBytes {
    name: &'static str,
    width: i32,
    signature: Signature,
}

impl ScalarUDFImpl for IdBytes {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::FixedSizeBinary(self.width))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [text] = args.args.as_slice() else { return exec_err!("{} takes one argument", self.name) };
        let scalar = matches!(text, ColumnarValue::Scalar(_));
        let text = cast(&text.to_array(1)?, &DataType::Utf8View)?;
        let ids: ArrayRef = Arc::new(id_bytes_array(text.as_string_view(), self.width)?);
        match scalar {
            true => Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&ids, 0)?)),
            false => Ok(ColumnarValue::Array(ids)),
        }
    }
}

fn id_bytes_array(texts: &StringViewArray, width: i32) -> Result<FixedSizeBinaryArray> {
    let mut ids = FixedSizeBinaryBuilder::with_capacity(texts.len(), width);
    let mut id = Vec::with_capacity(width as usize);
    for text in texts {
        id.clear();
        match text.filter(|text| hex_bytes(text, width, &mut id)) {
            Some(_) => ids.append_value(&id)?,
            None => ids.append_null(),
        }
    }
    Ok(ids.finish())
}

/// Reads lower-case hex of `width` bytes into `bytes`; false when the text is anything else. An id in capitals is another text.
pub(in crate::engine) fn hex_bytes(text: &str, width: i32, bytes: &mut Vec<u8>) -> bool {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let pairs = text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?));
    text.len() == 2 * width as usize
        && pairs.map(|byte| byte.map(|byte| bytes.push(byte))).all(|pushed| pushed.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_id_text_did_not_write_shows_no_id() {
        let texts =
            ["0aff00010203045b", "0AFF00010203045b", "0aff00010203045", "0aff00010203045g", "", "0aff00010203045b00"];
        let ids = id_bytes_array(&texts.iter().map(|text| Some(*text)).chain([None]).collect(), 8).expect("ids");
        assert_eq!(ids.value(0), [0x0a, 0xff, 0, 1, 2, 3, 4, 0x5b]);
        assert_eq!((0..ids.len()).filter(|row| ids.is_valid(*row)).collect::<Vec<_>>(), [0]);
    }

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
