//! `isolation_score(model, x, …)`: how alone a row is among those that a model was made of, from 0 to 1.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryArray, Float64Array};
use datafusion::arrow::datatypes::{DataType, Float64Type, Int32Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::model::Model;
use super::row_of;
use crate::error::Error;

/// The function.
pub(in crate::engine::functions) fn udf() -> ScalarUDF {
    ScalarUDF::from(IsolationScore { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IsolationScore {
    signature: Signature,
}

/// Models are large and few: as a dictionary, rows beside which a join puts them share them.
fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Binary))
}

impl ScalarUDFImpl for IsolationScore {
    fn name(&self) -> &str {
        "isolation_score"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [model, features @ ..] = types else { return plan_err!("function isolation_score wants a model") };
        let model = match model {
            of_rows if *of_rows == dictionary() => dictionary(),
            bytes if bytes.is_binary() || bytes.is_null() => DataType::Binary,
            other => return plan_err!("function isolation_score wants what isolation_forest made, not {other}"),
        };
        if !features.iter().all(|of_type| of_type.is_numeric() || of_type.is_null()) {
            return plan_err!("function isolation_score wants a model and numbers");
        }
        Ok([model].into_iter().chain(features.iter().map(|_| DataType::Float64)).collect())
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_scalar = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [models, features @ ..] = arrays.as_slice() else { return exec_err!("isolation_score wants a model") };
        let features: Vec<&Float64Array> = features.iter().map(|column| column.as_primitive::<Float64Type>()).collect();
        let (values, of_rows) = numbered(models)?;
        // A forest is large, so that rows of one come together and the next one takes its place.
        let mut by_model: Vec<(usize, usize)> =
            of_rows.into_iter().enumerate().filter_map(|(row, model)| Some((model?, row))).collect();
        by_model.sort_unstable();
        let mut scores = vec![None; models.len()];
        for rows in by_model.chunk_by(|a, b| a.0 == b.0) {
            let Some((model, _)) = rows.first().filter(|(model, _)| values.is_valid(*model)) else { continue };
            let model = grow(values.value(*model), features.len())?;
            for (_, row) in rows {
                scores[*row] = row_of(&features, *row).map(|features| model.forest.score(&features));
            }
        }
        Ok(match (is_scalar, scores.first()) {
            (true, Some(score)) => ColumnarValue::Scalar(ScalarValue::Float64(*score)),
            _ => ColumnarValue::Array(Arc::new(Float64Array::from(scores))),
        })
    }
}

/// The models, and which of them each row has.
fn numbered(models: &ArrayRef) -> Result<(&BinaryArray, Vec<Option<usize>>)> {
    if let Some(models) = models.as_dictionary_opt::<Int32Type>() {
        let keys = models.keys().iter().map(|key| usize::try_from(key?).ok());
        return Ok((models.values().as_binary(), keys.collect()));
    }
    let Some(values) = models.as_binary_opt::<i32>() else { return exec_err!("models are bytes") };
    let mut first = HashMap::new();
    let of_rows = values.iter().enumerate().map(|(at, value)| Some(*first.entry(value?).or_insert(at)));
    let of_rows = of_rows.collect();
    Ok((values, of_rows))
}

fn grow(value: &[u8], features: usize) -> Result<Model> {
    let model = Model::of(value).map_err(|error| DataFusionError::External(Box::new(error)))?;
    if model.features != features {
        let why = format!("the isolation forest is of {} features, and {features} are given", model.features);
        return Err(DataFusionError::External(Box::new(Error::bad_input(why).with_sqlstate("22023"))));
    }
    Ok(model)
}
