//! `isolation_forest(key, seed, trees, x, …)`: what the rows of a group are like, in up to 32 features. Rows with a feature that is NULL or no
//! finite number are left out.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Signature, Volatility};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::model::{MAX_FEATURES, MAX_TREES, Sample};
use super::row_of;
use crate::error::Error;

/// The arguments before the features.
const BEFORE_FEATURES: usize = 3;

/// The function.
pub(in crate::engine::functions) fn udaf() -> AggregateUDF {
    AggregateUDF::from(IsolationForestOf { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct IsolationForestOf {
    signature: Signature,
}

impl AggregateUDFImpl for IsolationForestOf {
    fn name(&self) -> &str {
        "isolation_forest"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let is_number = |of_type: &DataType| of_type.is_numeric() || of_type.is_null();
        match types {
            [key, seed, trees, features @ ..]
                if (key.is_string() || key.is_null())
                    && seed.is_integer()
                    && trees.is_integer()
                    && (1..=MAX_FEATURES).contains(&features.len())
                    && features.iter().all(is_number) =>
            {
                let before = [DataType::Utf8View, DataType::Int64, DataType::Int64];
                Ok(before.into_iter().chain(features.iter().map(|_| DataType::Float64)).collect())
            }
            _ => plan_err!(
                "function isolation_forest wants a text that identifies the row, a seed, a number of trees and 1 to {MAX_FEATURES} numbers"
            ),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Binary)
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "sample"), DataType::Binary, true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return plan_err!("DISTINCT is not supported by isolation_forest");
        }
        let features = args.exprs.len().saturating_sub(BEFORE_FEATURES);
        let trees = match constant(&args, 2)? {
            trees if (1..=i64::from(MAX_TREES)).contains(&trees) => trees as u16,
            trees => return Err(refused(format!("may have 1 to {MAX_TREES} trees, not {trees}"))),
        };
        Ok(Box::new(Group { seed: constant(&args, 1)?, trees, features, sample: Sample::default() }))
    }
}

/// An argument that is a constant whole number.
fn constant(args: &AccumulatorArgs, at: usize) -> Result<i64> {
    let empty = RecordBatch::new_empty(args.schema.clone().into());
    match args.exprs.get(at).map(|expr| expr.evaluate(&empty)) {
        Some(Ok(ColumnarValue::Scalar(ScalarValue::Int64(Some(number))))) => Ok(number),
        _ => Err(refused("wants a constant seed and a constant number of trees".into())),
    }
}

fn refused(why: String) -> DataFusionError {
    let error = Error::bad_input(format!("an isolation forest {why}")).with_sqlstate("22023");
    DataFusionError::External(Box::new(error))
}

#[derive(Debug)]
struct Group {
    seed: i64,
    trees: u16,
    features: usize,
    sample: Sample,
}

impl Accumulator for Group {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [keys, _, _, features @ ..] = values else { return exec_err!("isolation_forest takes more columns") };
        let keys = keys.as_string_view();
        let features: Vec<&Float64Array> = features.iter().map(|column| column.as_primitive::<Float64Type>()).collect();
        for at in 0..keys.len() {
            if let Some(row) = row_of(&features, at) {
                let key = if keys.is_valid(at) { keys.value(at) } else { "" };
                self.sample.add(xxh3_64_with_seed(key.as_bytes(), self.seed.cast_unsigned()), row);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary(self.sample.to_value(self.seed, self.trees)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sample.heap_bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.sample.state()))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(states) = states.first().and_then(|states| states.as_binary_opt::<i32>()) else {
            return exec_err!("isolation_forest's state is bytes");
        };
        states.iter().flatten().for_each(|state| self.sample.merge(state, self.features));
        Ok(())
    }
}
