//! `text_concat(a, b, …)`: what `a || b` means for texts; NULL when one of them is. A long chain is one call with all of its texts.

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
            [_, _, ..] => Ok(vec![DataType::Utf8View; types.len()]),
            _ => plan_err!("{NAME} takes two texts or more"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8View)
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        // A constant becomes a column of views of one text.
        let columns = args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<Result<Vec<_>>>()?;
        let Some(texts) = columns.iter().map(|column| column.as_string_view_opt()).collect::<Option<Vec<_>>>() else {
            return exec_err!("{NAME} takes texts");
        };
        let mut out = StringViewBuilder::with_capacity(args.number_rows);
        let mut all = String::new();
        for row in 0..args.number_rows {
            if texts.iter().any(|text| text.is_null(row)) {
                out.append_null();
                continue;
            }
            all.clear();
            texts.iter().for_each(|text| all.push_str(text.value(row)));
            out.try_append_value(&all)?;
        }
        Ok(ColumnarValue::Array(Arc::new(out.finish())))
    }
}
