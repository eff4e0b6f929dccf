//! `+`, `-` and `*` of integers that end with 22003 where the result does not fit, instead of wrapping around.

use std::fmt::Write as _;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Datum};
use datafusion::arrow::compute::kernels::numeric::{add, mul, sub};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

use crate::error::Error;

const SUM: &str = "checked_add";

/// The functions, one for each operator.
pub(super) fn udfs() -> Vec<ScalarUDF> {
    [Operator::Plus, Operator::Minus, Operator::Multiply].into_iter().filter_map(udf).collect()
}

/// The checked form of an operator of two integers of one type; `None` where nothing can overflow.
pub(in crate::engine) fn checked(left: Expr, op: Operator, right: Expr) -> Option<Expr> {
    Some(udf(op)?.call(vec![left, right]))
}

/// Whether it is the checked form of `+`.
pub(in crate::engine) fn is_checked_sum(function: &ScalarUDF) -> bool {
    function.name() == SUM
}

fn udf(op: Operator) -> Option<ScalarUDF> {
    let name = match op {
        Operator::Plus => SUM,
        Operator::Minus => "checked_subtract",
        Operator::Multiply => "checked_multiply",
        _ => return None,
    };
    Some(ScalarUDF::from(Checked { name, op, signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    name: &'static str,
    op: Operator,
    signature: Signature,
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        self.name
    }

    /// As the operator is written, since a column may be named so.
    fn display_name(&self, args: &[Expr]) -> Result<String> {
        let mut shown = String::new();
        for (at, arg) in args.iter().enumerate() {
            let between = if at == 0 { String::new() } else { format!(" {} ", self.op) };
            write!(shown, "{between}{arg}").map_err(|cause| DataFusionError::External(Box::new(cause)))?;
        }
        Ok(shown)
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [left, right] if left == right && left.is_integer() => Ok(types.to_vec()),
            _ => plan_err!("function {} wants two integers of one type", self.name),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Int64))
    }

    /// NULL comes from NULL alone, as with the operator that this stands for.
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let data_type = args.arg_fields.first().map_or(DataType::Int64, |field| field.data_type().clone());
        let is_nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name, data_type, is_nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else { return exec_err!("{} wants two integers", self.name) };
        computed(left, self.op, right)
    }
}

/// What `+`, `-` or `*` gives of two numbers of one type: an error where integers do not hold it.
pub(super) fn computed(left: &ColumnarValue, op: Operator, right: &ColumnarValue) -> Result<ColumnarValue> {
    let kernel: fn(&dyn Datum, &dyn Datum) -> Result<ArrayRef, ArrowError> = match op {
        Operator::Plus => add,
        Operator::Minus => sub,
        _ => mul,
    };
    apply(left, right, kernel).map_err(|error| match error {
        DataFusionError::ArrowError(inner, _) if matches!(*inner, ArrowError::ArithmeticOverflow(_)) => {
            out_of_range(&left.data_type())
        }
        other => other,
    })
}

fn out_of_range(data_type: &DataType) -> DataFusionError {
    let name = match data_type {
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        _ => "bigint",
    };
    let error = Error::bad_input(format!("{name} out of range")).with_sqlstate("22003");
    DataFusionError::External(Box::new(error.with_hint("cast to double precision or numeric before the arithmetic")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::{ExprSchemable, col};

    #[test]
    fn a_checked_operator_is_null_where_its_operands_may_be() {
        let field = |name, nullable| Field::new(name, DataType::Int64, nullable);
        let fields = vec![field("a", false), field("b", false), field("c", true)].into();
        let schema = DFSchema::from_unqualified_fields(fields, Default::default()).expect("a schema");
        let is_nullable =
            |left, right| checked(col(left), Operator::Plus, col(right)).expect("checked").nullable(&schema);
        assert!(!is_nullable("a", "b").expect("known"));
        assert!(is_nullable("a", "c").expect("known"));
    }
}
