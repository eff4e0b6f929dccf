//! A whole number divided as a double, in one pass. A cast and a division make an array each, and milliseconds of nanoseconds are in most
//! questions. No statement can name this function; a scan puts it in the place of the two.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Int64Type, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Operator, ScalarFunctionArgs, ScalarUDFImpl, Signature};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, Literal};

use super::promoted::{any, call};

type Expr = Arc<dyn PhysicalExpr>;

/// The expression over columns of `schema`, with each such quotient made in one pass.
pub(in crate::engine) fn quotients_in_one_pass(expr: Expr, schema: &Schema) -> Result<Expr> {
    let in_one_pass = |expr: Expr| match quotient_of(&expr, schema)? {
        Some((number, divisor)) => {
            let quotient = DoubleQuotient { divisor_bits: divisor.to_bits(), signature: any() };
            Ok(Transformed::yes(call(quotient, vec![number], schema)?))
        }
        None => Ok(Transformed::no(expr)),
    };
    expr.transform_up(in_one_pass).data()
}

fn quotient_of(expr: &Expr, schema: &Schema) -> Result<Option<(Expr, f64)>> {
    let Some(division) = expr.downcast_ref::<BinaryExpr>().filter(|binary| *binary.op() == Operator::Divide) else {
        return Ok(None);
    };
    let (Some(cast), Some(divisor)) =
        (division.left().downcast_ref::<CastExpr>(), division.right().downcast_ref::<Literal>())
    else {
        return Ok(None);
    };
    let ScalarValue::Float64(Some(divisor)) = *divisor.value() else { return Ok(None) };
    let is_double = *cast.cast_type() == DataType::Float64 && cast.expr().data_type(schema)? == DataType::Int64;
    Ok(is_double.then(|| (cast.expr().clone(), divisor)))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DoubleQuotient {
    divisor_bits: u64,
    signature: Signature,
}

impl ScalarUDFImpl for DoubleQuotient {
    fn name(&self) -> &str {
        "double_quotient"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [number] = args.args.as_slice() else { return internal_err!("a quotient of other than one number") };
        let number = number.to_array(args.number_rows)?;
        let Some(numbers) = number.as_primitive_opt::<Int64Type>() else {
            return internal_err!("a quotient of {}", number.data_type());
        };
        let divisor = f64::from_bits(self.divisor_bits);
        let quotients: Float64Array = numbers.unary(|number| number as f64 / divisor);
        Ok(ColumnarValue::Array(Arc::new(quotients)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array, Int32Array, Int64Array, RecordBatch};
    use datafusion::arrow::datatypes::Field;
    use datafusion::physical_expr::expressions::{binary, cast, col, lit};

    use super::*;

    #[test]
    fn a_quotient_in_one_pass_is_what_the_cast_and_the_division_give() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("small", DataType::Int32, false),
        ]));
        let numbers = [Some(i64::MIN), Some(-1), None, Some(0), Some(1_234_567), Some(i64::MAX)];
        let small = Int32Array::from(vec![7; numbers.len()]);
        let rows =
            RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(numbers.to_vec())), Arc::new(small)]);
        let rows = rows.expect("rows");
        let double = |name: &str| cast(col(name, &schema)?, &schema, DataType::Float64);
        let quotient =
            |name: &str, divisor| binary(double(name)?, Operator::Divide, lit(divisor), &schema) as Result<Expr>;
        let value = |expr: &Expr| expr.evaluate(&rows).and_then(|value| value.into_array(rows.num_rows()));
        for divisor in [1_000_000.0, 0.0, -0.0, f64::NAN, f64::INFINITY, 3.0] {
            let plain = quotient("n", divisor).expect("a quotient");
            let above = binary(plain.clone(), Operator::Plus, lit(1.0), &schema).expect("a sum");
            let fused = quotients_in_one_pass(above.clone(), &schema).expect("rewritten");
            assert!(!fused.exists(|part| Ok(part.is::<CastExpr>())).expect("looked at"));
            // Doubles compared by their bits' text, since NaN is not equal to itself.
            let text = |values: Arc<dyn Array>| format!("{values:?}");
            assert_eq!(text(value(&fused).expect("made")), text(value(&above).expect("made")), "{divisor}");
            assert_eq!(fused.nullable(&schema).expect("told"), above.nullable(&schema).expect("told"));
        }
        let other = quotient("small", 2.0).expect("a quotient");
        assert!(Arc::ptr_eq(&quotients_in_one_pass(other.clone(), &schema).expect("left"), &other));
    }
}
