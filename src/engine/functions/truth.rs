//! `truth(condition, name)`: the condition; what functions in FROM check with that a condition of theirs is one.

use std::sync::Arc;

use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::exec_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    cast as cast_expr,
};

use crate::engine::wording::in_postgres_words;
use crate::error::Error;

/// The function's name.
pub(in crate::engine) const TRUTH: &str = "truth";

/// The function.
pub(super) fn udf() -> ScalarUDF {
    ScalarUDF::from(Truth { signature: Signature::any(2, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Truth {
    signature: Signature,
}

impl ScalarUDFImpl for Truth {
    fn name(&self) -> &str {
        TRUTH
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let given = args.arg_fields.first().map_or(&DataType::Null, |given| given.data_type());
        if !matches!(given, DataType::Boolean | DataType::Null) {
            let name = args.scalar_arguments.get(1).and_then(|name| name.and_then(|name| name.try_as_str()).flatten());
            let given = in_postgres_words(&given.to_string());
            let message = format!("argument {} must be type boolean, not type {given}", name.unwrap_or(TRUTH));
            return Err(DataFusionError::External(Box::new(Error::bad_input(message).with_sqlstate("42804"))));
        }
        let is_nullable = args.arg_fields.first().is_none_or(|given| given.is_nullable());
        Ok(Arc::new(Field::new(self.name(), DataType::Boolean, is_nullable)))
    }

    /// Nothing is left of it in a plan: what a condition says of rows is seen by whoever reads these.
    fn simplify(&self, mut args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        args.truncate(1);
        Ok(match args.pop() {
            Some(Expr::Literal(value, _)) => {
                ExprSimplifyResult::Simplified(cast_expr(Expr::Literal(value, None), DataType::Boolean))
            }
            Some(condition) => ExprSimplifyResult::Simplified(condition),
            None => ExprSimplifyResult::Original(args),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(condition) = args.args.first() else { return exec_err!("truth wants a condition") };
        let condition = condition.to_array(args.number_rows)?;
        Ok(ColumnarValue::Array(cast(&condition, &DataType::Boolean)?))
    }
}
