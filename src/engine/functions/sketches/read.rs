//! What a sketch tells: `sketch_quantile(sketch, q)`, with a list of levels for `q` a list, `sketch_share(sketch, x)` and
//! `sketch_count(sketch)`.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, Float64Builder, Int64Array, ListBuilder};
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::sketch::Sketch;
use crate::engine::functions::bytes_of;
use crate::error::Error;

/// The functions.
pub(in crate::engine::functions) fn udfs() -> [ScalarUDF; 3] {
    [Tells::Quantile, Tells::Share, Tells::Count]
        .map(|tells| ScalarUDF::from(OfSketch { tells, signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Tells {
    Quantile,
    Share,
    Count,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfSketch {
    tells: Tells,
    signature: Signature,
}

impl ScalarUDFImpl for OfSketch {
    fn name(&self) -> &str {
        match self.tells {
            Tells::Quantile => "sketch_quantile",
            Tells::Share => "sketch_share",
            Tells::Count => "sketch_count",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let levels = |of_type: &DataType| match of_type {
            DataType::List(level) if level.data_type().is_numeric() || level.data_type().is_null() => {
                Some(DataType::new_list(DataType::Float64, true))
            }
            number if number.is_numeric() || number.is_null() => Some(DataType::Float64),
            _ => None,
        };
        let coerced = match (self.tells, types) {
            (Tells::Quantile, [of_sketch, of_levels]) => {
                sketch_type(of_sketch).zip(levels(of_levels)).map(|(sketch, levels)| vec![sketch, levels])
            }
            (Tells::Share, [of_sketch, number]) if number.is_numeric() || number.is_null() => {
                sketch_type(of_sketch).map(|sketch| vec![sketch, DataType::Float64])
            }
            (Tells::Count, [of_sketch]) => sketch_type(of_sketch).map(|sketch| vec![sketch]),
            _ => None,
        };
        match (coerced, self.tells) {
            (Some(types), _) => Ok(types),
            (None, Tells::Quantile) => {
                plan_err!("function sketch_quantile wants a sketch, and a level or a list of levels")
            }
            (None, Tells::Share) => plan_err!("function sketch_share wants a sketch and a number"),
            (None, Tells::Count) => plan_err!("function sketch_count wants one sketch"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(match self.tells {
            Tells::Quantile => types.get(1).cloned().unwrap_or(DataType::Float64),
            Tells::Share => DataType::Float64,
            Tells::Count => DataType::Int64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let told: ArrayRef = match (self.tells, arrays.as_slice()) {
            (Tells::Count, [sketches]) => {
                let count = |sketch: Option<Sketch>| Some(sketch?.count().try_into().unwrap_or(i64::MAX));
                let counts = (0..sketches.len()).map(|row| Ok(count(sketch_of(sketches, row)?)));
                Arc::new(counts.collect::<Result<Int64Array>>()?)
            }
            (Tells::Share, [sketches, values]) => {
                let share = |(row, value): (usize, Option<f64>)| {
                    Ok(sketch_of(sketches, row)?.zip(value).and_then(|(sketch, value)| sketch.share(value)))
                };
                let shares = values.as_primitive::<Float64Type>().iter().enumerate().map(share);
                Arc::new(shares.collect::<Result<Float64Array>>()?)
            }
            (Tells::Quantile, [sketches, levels]) => match levels.as_primitive_opt::<Float64Type>() {
                Some(levels) => Arc::new(quantiles(sketches, levels)?),
                None => lists_of_quantiles(sketches, levels)?,
            },
            _ => return exec_err!("{} was given {} arguments", self.name(), arrays.len()),
        };
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&told, 0)?),
            false => ColumnarValue::Array(told),
        })
    }
}

/// The type in which a function reads a sketch of this type; `None` for what cannot be one.
pub(super) fn sketch_type(of_type: &DataType) -> Option<DataType> {
    match of_type {
        // A constant in quotes is bytes, as it is beside a bytea in PostgreSQL.
        text if text.is_string() => Some(DataType::Utf8View),
        bytes if bytes.is_binary() || bytes.is_null() => Some(DataType::Binary),
        _ => None,
    }
}

fn quantiles(sketches: &ArrayRef, levels: &Float64Array) -> Result<Float64Array> {
    let quantile = |(row, level): (usize, Option<f64>)| {
        let (Some(sketch), Some(level)) = (sketch_of(sketches, row)?, level) else { return Ok(None) };
        Ok(sketch.quantile(checked(level)?))
    };
    levels.iter().enumerate().map(quantile).collect()
}

fn lists_of_quantiles(sketches: &ArrayRef, levels: &ArrayRef) -> Result<ArrayRef> {
    let mut out = ListBuilder::new(Float64Builder::new());
    for (row, levels) in levels.as_list::<i32>().iter().enumerate() {
        let (Some(sketch), Some(levels)) = (sketch_of(sketches, row)?, levels) else {
            out.append(false);
            continue;
        };
        for level in levels.as_primitive::<Float64Type>() {
            let level = level.map(checked).transpose()?;
            out.values().append_option(level.and_then(|level| sketch.quantile(level)));
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

fn checked(level: f64) -> Result<f64> {
    match (0.0..=1.0).contains(&level) {
        true => Ok(level),
        false => {
            let error = Error::bad_input(format!("sketch_quantile wants levels between 0 and 1, not {level}"));
            Err(DataFusionError::External(Box::new(error.with_sqlstate("22023"))))
        }
    }
}

/// A row's sketch, from bytes or from their text; `None` for NULL.
pub(super) fn sketch_of(sketches: &ArrayRef, row: usize) -> Result<Option<Sketch>> {
    if sketches.is_null(row) {
        return Ok(None);
    }
    let mut sketch = Sketch::default();
    let merged = match sketches.as_binary_opt::<i32>() {
        Some(bytes) => sketch.merge_value(bytes.value(row)),
        // A text that stands for no bytes is no sketch either.
        None => sketch.merge_value(&bytes_of(sketches.as_string_view().value(row)).unwrap_or_default()),
    };
    merged.map_err(|error| DataFusionError::External(Box::new(error)))?;
    Ok(Some(sketch))
}
