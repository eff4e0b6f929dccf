//! `given_truth(condition, name, line, column)` and `given_time(value, name, line, column)`: what they are given; what functions in FROM check with that
//! a condition of theirs is one, and a time. The rest is for the error: what the argument is called, and where the statement has it.

use std::sync::Arc;

use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Diagnostic, Location, ScalarValue, Span, exec_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    cast as cast_expr,
};

use crate::engine::wording::in_postgres_words;
use crate::error::Error;

/// The functions' names.
pub(in crate::engine) const GIVEN_TRUTH: &str = "given_truth";
pub(in crate::engine) const GIVEN_TIME: &str = "given_time";

/// The functions.
pub(super) fn udfs() -> Vec<ScalarUDF> {
    [Wanted::Truth, Wanted::Time]
        .map(|wanted| ScalarUDF::from(Given { wanted, signature: Signature::any(4, Volatility::Immutable) }))
        .into()
}

/// What an argument must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Wanted {
    Truth,
    /// What becomes one by a cast, but for numbers: nothing says what they count, and from when.
    Time,
}

impl Wanted {
    fn is(self, given: &DataType) -> bool {
        match (self, given) {
            (_, DataType::Null) | (Self::Truth, DataType::Boolean) => true,
            (Self::Time, DataType::Dictionary(_, given)) => self.is(given),
            (Self::Time, DataType::Timestamp(..) | DataType::Date32 | DataType::Date64) => true,
            (Self::Time, given) => given.is_string(),
            (Self::Truth, _) => false,
        }
    }

    fn refused(self, name: &str, given: &DataType) -> Error {
        let given = in_postgres_words(&given.to_string());
        let wanted = match self {
            Self::Truth => "boolean",
            Self::Time => "timestamp with time zone",
        };
        let error = Error::bad_input(format!("argument {name} must be type {wanted}, not type {given}"));
        let error = error.with_sqlstate("42804");
        match self {
            Self::Truth => error,
            Self::Time => error.with_hint("write a time as '2026-01-02 03:04:05+00' or now() - INTERVAL '1 hour'"),
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Given {
    wanted: Wanted,
    signature: Signature,
}

impl ScalarUDFImpl for Given {
    fn name(&self) -> &str {
        match self.wanted {
            Wanted::Truth => GIVEN_TRUTH,
            Wanted::Time => GIVEN_TIME,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match self.wanted {
            Wanted::Truth => DataType::Boolean,
            Wanted::Time => types.first().cloned().unwrap_or(DataType::Null),
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let given = args.arg_fields.first().map_or(&DataType::Null, |given| given.data_type());
        if !self.wanted.is(given) {
            return Err(refused(self.wanted, given, args.scalar_arguments));
        }
        let is_nullable = args.arg_fields.first().is_none_or(|given| given.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(std::slice::from_ref(given))?, is_nullable)))
    }

    /// Nothing is left of it in a plan: what a condition says of rows, and when a time is, is seen by whoever reads these.
    fn simplify(&self, mut args: Vec<Expr>, _info: &SimplifyContext) -> Result<ExprSimplifyResult> {
        args.truncate(1);
        Ok(match args.pop() {
            Some(Expr::Literal(value, _)) if matches!(self.wanted, Wanted::Truth) => {
                ExprSimplifyResult::Simplified(cast_expr(Expr::Literal(value, None), DataType::Boolean))
            }
            Some(given) => ExprSimplifyResult::Simplified(given),
            None => ExprSimplifyResult::Original(args),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(given) = args.args.into_iter().next() else { return exec_err!("{} wants an argument", self.name()) };
        match self.wanted {
            Wanted::Truth => {
                let condition = given.to_array(args.number_rows)?;
                Ok(ColumnarValue::Array(cast(&condition, &DataType::Boolean)?))
            }
            Wanted::Time => Ok(given),
        }
    }
}

/// The error, at the place in the statement where it has the argument, if it is known.
fn refused(wanted: Wanted, given: &DataType, about: &[Option<&ScalarValue>]) -> DataFusionError {
    let about = |at: usize| about.get(at).copied().flatten();
    let name = about(1).and_then(|name| name.try_as_str().flatten()).unwrap_or("of a function");
    let number = |at: usize| match about(at) {
        Some(ScalarValue::Int64(Some(number))) => u64::try_from(*number).ok().filter(|number| *number > 0),
        _ => None,
    };
    let error = wanted.refused(name, given);
    let message = error.to_string();
    let error = DataFusionError::External(Box::new(error));
    match number(2).zip(number(3)) {
        Some((line, column)) => {
            let place = Location { line, column };
            let about = Diagnostic::new_error(message, Some(Span::new(place, place)));
            DataFusionError::Diagnostic(Box::new(about), Box::new(error))
        }
        None => error,
    }
}
