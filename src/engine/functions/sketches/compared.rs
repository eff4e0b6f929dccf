//! What two sketches tell of each other: `mann_whitney_test(sketch, sketch)`, the p-value of neither having the larger numbers, and
//! `superiority(sketch, sketch)`, the chance that a number of the first is above one of the second.
//!
//! Numbers of one bucket, at most 1.6 % apart, are taken for equal.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Float64Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::read::{sketch_of, sketch_type};
use super::sketch::Sketch;
use crate::analysis::{Ranked, mann_whitney};

/// The functions.
pub(super) fn udfs() -> [ScalarUDF; 2] {
    [Tells::PValue, Tells::Superiority]
        .map(|tells| ScalarUDF::from(Compared { tells, signature: Signature::user_defined(Volatility::Immutable) }))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Tells {
    PValue,
    Superiority,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Compared {
    tells: Tells,
    signature: Signature,
}

impl ScalarUDFImpl for Compared {
    fn name(&self) -> &str {
        match self.tells {
            Tells::PValue => "mann_whitney_test",
            Tells::Superiority => "superiority",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let sketches: Option<Vec<DataType>> = types.iter().map(sketch_type).collect();
        match sketches {
            Some(sketches) if sketches.len() == 2 => Ok(sketches),
            _ => plan_err!("function {} wants two sketches, as bytea", self.name()),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = args.args.iter().map(|arg| arg.to_array(args.number_rows)).collect::<Result<Vec<ArrayRef>>>()?;
        let [first, second] = arrays.as_slice() else { return exec_err!("{} takes two sketches", self.name()) };
        let told = |row| -> Result<Option<f64>> {
            let Some((first, second)) = sketch_of(first, row)?.zip(sketch_of(second, row)?) else { return Ok(None) };
            Ok(compared(&first, &second).map(|ranked| match self.tells {
                Tells::PValue => ranked.p_value,
                Tells::Superiority => ranked.superiority,
            }))
        };
        let told = (0..args.number_rows).map(told).collect::<Result<Float64Array>>()?;
        Ok(ColumnarValue::Array(Arc::new(told)))
    }
}

fn compared(first: &Sketch, second: &Sketch) -> Option<Ranked> {
    let mut bins: BTreeMap<i32, [u64; 2]> = BTreeMap::new();
    for (sample, sketch) in [first, second].into_iter().enumerate() {
        sketch.for_each(|key, count| {
            bins.entry(key).or_default()[sample] += count;
            true
        });
    }
    mann_whitney(bins.into_values())
}
