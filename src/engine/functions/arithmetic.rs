//! A long chain of `+`, `-` and `*` as one call with all of its operands.
//!
//! What is planned asks for the type and the name of each operator, which are made of those below it: a tree of operators that is as deep as a
//! chain is long takes a time that grows with the third power of its length. One call is as flat as a list.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::checked::computed;

/// The name under which plans show it.
const NAME: &str = "arithmetic";

/// Whether there are chains of numbers of this type.
pub(in crate::engine) fn has_arithmetic(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Float64)
}

/// The type of a chain's operands and of its result; `None` for any other expression.
pub(in crate::engine) fn arithmetic_type(expr: &Expr) -> Option<&DataType> {
    let Expr::ScalarFunction(call) = expr else { return None };
    call.func.inner().downcast_ref::<Arithmetic>().map(|chain| &chain.data_type)
}

/// `left op right` as one chain with what the two are chains of. Both are numbers of this type.
pub(in crate::engine) fn arithmetic(left: Expr, op: Operator, right: Expr, data_type: &DataType) -> Expr {
    let (mut steps, mut args) = parts(left, data_type);
    let (right_steps, right_args) = parts(right, data_type);
    steps.extend(right_steps);
    steps.push(Step::Operator(op));
    args.extend(right_args);
    let signature = Signature::user_defined(Volatility::Immutable);
    ScalarUDF::from(Arithmetic { data_type: data_type.clone(), steps, signature }).call(args)
}

fn parts(expr: Expr, data_type: &DataType) -> (Vec<Step>, Vec<Expr>) {
    match expr {
        Expr::ScalarFunction(ScalarFunction { func, args }) => match func.inner().downcast_ref::<Arithmetic>() {
            Some(chain) if chain.data_type == *data_type => (chain.steps.clone(), args),
            _ => (vec![Step::Operand], vec![Expr::ScalarFunction(ScalarFunction { func, args })]),
        },
        other => (vec![Step::Operand], vec![other]),
    }
}

/// A step of the work on a stack of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// Puts the next operand on the stack.
    Operand,
    /// Takes two values from the stack, and puts what becomes of them there.
    Operator(Operator),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    data_type: DataType,
    /// The operators behind their operands, as on a pocket calculator.
    steps: Vec<Step>,
    signature: Signature,
}

impl Arithmetic {
    fn shown<T: Display>(&self, args: impl Iterator<Item = T>) -> Result<String> {
        let (mut shown, mut args) = (String::from(NAME), args);
        for step in &self.steps {
            let written = match step {
                Step::Operand => args.next().map_or(Ok(()), |arg| write!(shown, ", {arg}")),
                Step::Operator(op) => write!(shown, " {op}"),
            };
            written.map_err(|cause| DataFusionError::External(Box::new(cause)))?;
        }
        Ok(shown.replacen(", ", "(", 1) + ")")
    }
}

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        NAME
    }

    fn display_name(&self, args: &[Expr]) -> Result<String> {
        self.shown(args.iter())
    }

    /// With the operators, since columns are told apart by it.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        self.shown(args.iter().map(Expr::schema_name))
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types.iter().all(|data_type| *data_type == self.data_type) {
            true => Ok(types.to_vec()),
            false => plan_err!("function {NAME} wants numbers of one type"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    /// NULL comes from NULL alone, as with the operators that this stands for.
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let is_nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(NAME, self.data_type.clone(), is_nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let (mut operands, mut stack) = (args.args.into_iter(), Vec::new());
        for step in &self.steps {
            let value = match step {
                Step::Operand => operands.next(),
                Step::Operator(op) => match (stack.pop(), stack.pop()) {
                    (Some(right), Some(left)) => Some(computed(&left, *op, &right)?),
                    _ => None,
                },
            };
            match value {
                Some(value) => stack.push(value),
                None => return exec_err!("{NAME} has too few operands"),
            }
        }
        match (stack.pop(), stack.is_empty()) {
            (Some(value), true) => Ok(value),
            _ => exec_err!("{NAME} has too many operands"),
        }
    }
}
