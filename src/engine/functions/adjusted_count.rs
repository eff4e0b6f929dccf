//! `adjusted_count(trace_state)`: how many spans a span stands for that a sampler let through, the inverse of its sampling probability.
//!
//! Read is the member `ot` of the trace state (W3C Trace Context): its rejection threshold `th`, as OpenTelemetry's "TraceState: Probability
//! Sampling" defines it, else the power of two `p` of the experiment before it.

use std::sync::Arc;

use datafusion::arrow::array::{AsArray, Float64Array};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// A threshold has so many hexadecimal digits when none is left out at its end.
const THRESHOLD_DIGITS: usize = 14;

/// One more than the largest threshold: 56 bits.
const THRESHOLDS: u64 = 1 << (4 * THRESHOLD_DIGITS);

/// The largest power of two of `p`; the number after it stands for a span that counts for none.
const MAX_POWER: i32 = 62;

/// The function.
pub(super) fn udf() -> ScalarUDF {
    ScalarUDF::from(AdjustedCount { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct AdjustedCount {
    signature: Signature,
}

impl ScalarUDFImpl for AdjustedCount {
    fn name(&self) -> &str {
        "adjusted_count"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [text] if text.is_string() || text.is_null() => Ok(vec![DataType::Utf8View]),
            _ => plan_err!("function adjusted_count wants one text, a span's trace_state"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [states] = args.args.as_slice() else { return exec_err!("adjusted_count takes one text") };
        let states = states.to_array(args.number_rows)?;
        // Neighbours are mostly of one trace.
        let mut last = (None, 1.0);
        let counts = states.as_string_view().iter().map(|state| {
            if state != last.0 {
                last = (state, state.map_or(1.0, count_of));
            }
            last.1
        });
        Ok(ColumnarValue::Array(Arc::new(counts.map(Some).collect::<Float64Array>())))
    }
}

/// What a trace state says; 1 where it says nothing, or nothing that can be read.
fn count_of(trace_state: &str) -> f64 {
    let Some(member) = trace_state.split(',').find_map(|member| member.trim().strip_prefix("ot=")) else { return 1.0 };
    let field = |key: &str| member.split(';').find_map(|field| field.strip_prefix(key)?.strip_prefix(':'));
    let of_threshold = field("th").and_then(count_of_threshold);
    of_threshold.or_else(|| field("p").and_then(count_of_power)).unwrap_or(1.0)
}

/// The lower part of all random values up to the threshold is rejected.
fn count_of_threshold(digits: &str) -> Option<f64> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if !(1..=THRESHOLD_DIGITS).contains(&digits.len()) || !digits.bytes().all(is_digit) {
        return None;
    }
    let threshold = u64::from_str_radix(digits, 16).ok()? << (4 * (THRESHOLD_DIGITS - digits.len()));
    Some(THRESHOLDS as f64 / (THRESHOLDS - threshold) as f64)
}

fn count_of_power(digits: &str) -> Option<f64> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    match digits.parse().ok()? {
        power @ 0..=MAX_POWER => Some(2.0_f64.powi(power)),
        power if power == MAX_POWER + 1 => Some(0.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification_are_read() {
        for (state, count) in [
            // The table of "Rejection threshold": 100, 50, 25 and 1 percent, and the smallest probability there is.
            ("ot=th:0", 1.0),
            ("ot=th:8", 2.0),
            ("ot=th:c", 4.0),
            ("ot=th:ffffffffffffff", (1_u64 << 56) as f64),
            ("ot=th:fd70a3d70a3d71", 100.0),
            ("ot=th:e6666666666666", 10.0),
            ("ot=th:c;rv:6e6d1a75832a2f", 4.0),
            ("ot=rv:6e6d1a75832a2f;th:8,vendor=1", 2.0),
            ("vendor=1 , ot=th:8 ", 2.0),
            ("ot=p:0", 1.0),
            ("ot=p:3;r:5", 8.0),
            ("ot=r:5;p:62", 2.0_f64.powi(62)),
            ("ot=p:63", 0.0),
            ("ot=th:8;p:5", 2.0),
            ("ot=th:8,ot=th:c", 2.0),
        ] {
            let read = count_of(state);
            assert!((read / count - 1.0).abs() < 1e-12 || read == count, "{state}: {read}");
        }
    }

    #[test]
    fn what_is_no_threshold_counts_one() {
        for state in [
            "",
            ",",
            "ot",
            "ot=",
            "ot=th",
            "ot=th:",
            "ot=th:g",
            "ot=th:C",
            "ot=th:-8",
            "ot=th:+8",
            "ot=th:000000000000000",
            "ot=xth:8",
            "xot=th:8",
            "other=ot=th:8",
            "ot=p:",
            "ot=p:64",
            "ot=p:-1",
            "ot=p:+1",
            "ot=p:99999999999",
            "ot=rv:80000000000000",
            "ot=th:é",
        ] {
            assert_eq!(count_of(state), 1.0, "{state}");
        }
    }
}
