//! Whether two samples differ by more than chance: `fisher_exact(with, of, with, of)`, `chi_square_test`, `proportion_test`, which takes the
//! fitting one of the two, and `cohens_h(share, share)`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::exec_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use crate::analysis::{MAX_EXACT, Share, chi_square, cohens_h, equal_shares, fisher_exact};
use crate::error::Error;

/// The functions.
pub(super) fn udfs() -> [ScalarUDF; 4] {
    [Tells::Fisher, Tells::ChiSquare, Tells::Proportions, Tells::CohensH].map(|tells| {
        let arguments = match tells {
            Tells::CohensH => vec![DataType::Float64; 2],
            _ => vec![DataType::Int64; 4],
        };
        ScalarUDF::from(Significance { tells, signature: Signature::exact(arguments, Volatility::Immutable) })
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Tells {
    Fisher,
    ChiSquare,
    Proportions,
    CohensH,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Significance {
    tells: Tells,
    signature: Signature,
}

impl ScalarUDFImpl for Significance {
    fn name(&self) -> &str {
        match self.tells {
            Tells::Fisher => "fisher_exact",
            Tells::ChiSquare => "chi_square_test",
            Tells::Proportions => "proportion_test",
            Tells::CohensH => "cohens_h",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<Result<Vec<_>>>()?;
        let answers: Float64Array = match self.tells {
            Tells::CohensH => {
                let [Some(first), Some(second)] = columns::<Float64Type, 2>(&arrays) else {
                    return exec_err!("cohens_h takes two numbers");
                };
                first.iter().zip(second).map(|(first, second)| self.effect(first, second)).collect::<Result<_>>()?
            }
            _ => {
                let [Some(with), Some(of), Some(other_with), Some(other_of)] = columns::<Int64Type, 4>(&arrays) else {
                    return exec_err!("{} takes four whole numbers", self.name());
                };
                let p_value = |row| self.p_value(share(with, of, row), share(other_with, other_of, row));
                (0..args.number_rows).map(p_value).collect::<Result<_>>()?
            }
        };
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}

fn columns<T: datafusion::arrow::datatypes::ArrowPrimitiveType, const N: usize>(
    arrays: &[ArrayRef],
) -> [Option<&datafusion::arrow::array::PrimitiveArray<T>>; N] {
    std::array::from_fn(|at| arrays.get(at).and_then(|array| array.as_primitive_opt::<T>()))
}

/// How many of how many, as they were given; `None` when either is NULL.
fn share(with: &Int64Array, of: &Int64Array, row: usize) -> Option<(i64, i64)> {
    (with.is_valid(row) && of.is_valid(row)).then(|| (with.value(row), of.value(row)))
}

impl Significance {
    fn p_value(&self, first: Option<(i64, i64)>, second: Option<(i64, i64)>) -> Result<Option<f64>> {
        let Some((first, second)) = first.zip(second) else { return Ok(None) };
        let (first, second) = (self.checked(first)?, self.checked(second)?);
        Ok(Some(match self.tells {
            Tells::Fisher if first.of + second.of > MAX_EXACT => {
                return refused(format!(
                    "fisher_exact takes {MAX_EXACT} observations at most: proportion_test takes more"
                ));
            }
            Tells::Fisher => fisher_exact(first, second),
            Tells::ChiSquare => chi_square(first, second),
            _ => equal_shares(first, second),
        }))
    }

    fn checked(&self, (with, of): (i64, i64)) -> Result<Share> {
        match (u64::try_from(with), u64::try_from(of)) {
            (Ok(with), Ok(of)) if with <= of => Ok(Share { with, of }),
            _ => refused(format!("{} wants how many of how many, twice, and not {with} of {of}", self.name())),
        }
    }

    fn effect(&self, first: Option<f64>, second: Option<f64>) -> Result<Option<f64>> {
        let Some((first, second)) = first.zip(second) else { return Ok(None) };
        match [first, second].into_iter().find(|share| !(0.0..=1.0).contains(share)) {
            Some(share) => refused(format!("cohens_h wants shares between 0 and 1, not {share}")),
            None => Ok(Some(cohens_h(first, second))),
        }
    }
}

fn refused<T>(message: String) -> Result<T> {
    Err(DataFusionError::External(Box::new(Error::bad_input(message).with_sqlstate("22023"))))
}
