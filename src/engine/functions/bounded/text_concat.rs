//! `text_concat(a, b)`: what `a || b` means for texts; NULL when either is.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, StringViewBuilder};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// The name under which plans show it.
pub(super) const NAME: &str = "text_concat";

/// The function, without its bound.
pub(in crate::engine::functions) fn udf() -> ScalarUDF {
    ScalarUDF::from(TextConcat { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TextConcat {
    signature: Signature,
}

impl ScalarUDFImpl for TextConcat {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [_, _] => Ok(vec![DataType::Utf8View; 2]),
            _ => plan_err!("{NAME} takes two texts"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else { return exec_err!("{NAME} takes two texts") };
        // A constant becomes a column of views of one text.
        let (left, right) = (left.to_array(args.number_rows)?, right.to_array(args.number_rows)?);
        let (Some(left), Some(right)) = (left.as_string_view_opt(), right.as_string_view_opt()) else {
            return exec_err!("{NAME} takes texts");
        };
        let mut out = StringViewBuilder::with_capacity(left.len());
        let mut both = String::new();
        for row in 0..left.len() {
            if left.is_null(row) || right.is_null(row) {
                out.append_null();
                continue;
            }
            both.clear();
            both.push_str(left.value(row));
            both.push_str(right.value(row));
            out.try_append_value(&both)?;
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}
