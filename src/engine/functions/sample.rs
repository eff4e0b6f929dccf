//! `sample_place(seed, key, …)`: where a row lies between 0 and 1, always the same for a seed and what identifies the row.

use std::sync::Arc;

use datafusion::arrow::array::{Array, AsArray, Float64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use xxhash_rust::xxh3::Xxh3;

const NAME: &str = "sample_place";

/// The function.
pub(super) fn udf() -> ScalarUDF {
    ScalarUDF::from(SamplePlace { signature: Signature::variadic_any(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SamplePlace {
    signature: Signature,
}

impl ScalarUDFImpl for SamplePlace {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [seed, keys @ ..] = args.args.as_slice() else { return exec_err!("{NAME} takes a seed and keys") };
        let texts = |value: &ColumnarValue, rows| cast(&value.to_array(rows)?, &DataType::Utf8View).map_err(Into::into);
        let seed = texts(seed, 1)?;
        let seed = seed.as_string_view().iter().next().flatten().unwrap_or_default();
        let keys = keys.iter().map(|key| texts(key, args.number_rows)).collect::<Result<Vec<_>>>()?;
        let places = (0..args.number_rows).map(|row| {
            let mut hash = Xxh3::new();
            hash.update(seed.as_bytes());
            for key in &keys {
                let key = key.as_string_view();
                // A byte that no text has keeps neighbours apart.
                hash.update(&[0xff, u8::from(key.is_null(row))]);
                hash.update(if key.is_null(row) { "" } else { key.value(row) }.as_bytes());
            }
            unit(hash.digest())
        });
        Ok(ColumnarValue::Array(Arc::new(Float64Array::from_iter_values(places))))
    }
}

/// The hash as a fraction, of as many bits as a double has.
fn unit(hash: u64) -> f64 {
    (hash >> (u64::BITS - f64::MANTISSA_DIGITS)) as f64 / (1_u64 << f64::MANTISSA_DIGITS) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_from_zero_to_below_one() {
        assert_eq!(unit(0), 0.0);
        assert!(unit(u64::MAX) < 1.0);
        assert!((unit(u64::MAX / 2) - 0.5).abs() < 1e-9);
    }
}
