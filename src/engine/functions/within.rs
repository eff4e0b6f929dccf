//! `within(value, low, high, name)`: the value, where it is in its range; what the parameters of functions in FROM are checked with.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::Error;

/// The function.
pub(super) fn udf() -> ScalarUDF {
    let number = DataType::Float64;
    let types = vec![number.clone(), number.clone(), number, DataType::Utf8View];
    ScalarUDF::from(Within { signature: Signature::exact(types, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Within {
    signature: Signature,
}

impl ScalarUDFImpl for Within {
    fn name(&self) -> &str {
        "within"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    /// A constant is checked while the statement is planned.
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        if let [
            Some(ScalarValue::Float64(Some(value))),
            Some(ScalarValue::Float64(Some(low))),
            Some(ScalarValue::Float64(Some(high))),
            Some(ScalarValue::Utf8View(Some(name))),
        ] = args.scalar_arguments
        {
            check(*value, *low, *high, name)?;
        }
        Ok(Arc::new(Field::new(self.name(), DataType::Float64, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [values, lows, highs, names] = arrays.as_slice() else { return exec_err!("within wants four values") };
        let [values, lows, highs] = [values, lows, highs].map(|column| column.as_primitive::<Float64Type>());
        let rows = values.iter().zip(lows).zip(highs).zip(names.as_string_view());
        let checked = rows.map(|(((value, low), high), name)| match (value, low, high, name) {
            (Some(value), Some(low), Some(high), Some(name)) => check(value, low, high, name).map(Some),
            _ => Ok(None),
        });
        Ok(ColumnarValue::Array(Arc::new(checked.collect::<Result<Float64Array>>()?)))
    }
}

fn check(value: f64, low: f64, high: f64, name: &str) -> Result<f64> {
    if (low..=high).contains(&value) {
        return Ok(value);
    }
    let error = Error::bad_input(format!("{name} must be from {low} to {high}, not {value}"));
    Err(DataFusionError::External(Box::new(error.with_sqlstate("22023"))))
}
