//! `bucket_width(interval)`: the interval, where time can be cut into parts of that length.

use std::sync::Arc;

use datafusion::arrow::array::AsArray;
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit,
};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use super::intervals::length_ns;
use crate::error::Error;

/// The narrowest and the widest bucket, a millisecond and ten years: beyond these a question is a mistake.
const SHORTEST_NS: i128 = 1_000_000;
const LONGEST_NS: i128 = 3_660 * 86_400_000_000_000;

/// The function.
pub(super) fn udf() -> ScalarUDF {
    let interval = DataType::Interval(IntervalUnit::MonthDayNano);
    ScalarUDF::from(BucketWidth { signature: Signature::exact(vec![interval], Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BucketWidth {
    signature: Signature,
}

impl ScalarUDFImpl for BucketWidth {
    fn name(&self) -> &str {
        "bucket_width"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Interval(IntervalUnit::MonthDayNano))
    }

    /// A constant is checked while the statement is planned.
    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        if let [Some(ScalarValue::IntervalMonthDayNano(Some(width)))] = args.scalar_arguments {
            check(*width)?;
        }
        Ok(Arc::new(Field::new(self.name(), self.return_type(&[])?, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [width] = args.args.as_slice() else { return exec_err!("bucket_width wants one interval") };
        let widths = width.to_array(1)?;
        widths.as_primitive::<IntervalMonthDayNanoType>().iter().flatten().try_for_each(check)?;
        Ok(width.clone())
    }
}

fn check(width: IntervalMonthDayNano) -> Result<()> {
    width_ns(width).map(|_| ())
}

/// The length of an interval that time can be cut into, in nanoseconds.
///
/// # Errors
/// SQLSTATE 22023 for one that time cannot be cut into.
pub(super) fn width_ns(width: IntervalMonthDayNano) -> Result<i64> {
    let refused = |why: &str| {
        let error = Error::bad_input(format!("an interval to cut time into {why}")).with_sqlstate("22023");
        Err(DataFusionError::External(Box::new(error.with_hint("write '5 minutes', '1 hour' or '1 day'"))))
    };
    if width.months != 0 {
        return refused("must not have months or years, which differ in length");
    }
    match length_ns(width) {
        ..=0 => refused("must be longer than nothing"),
        1..SHORTEST_NS => refused("must have a millisecond at least"),
        length @ SHORTEST_NS..=LONGEST_NS => Ok(length as i64),
        _ => refused("must have 3,660 days at most"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lengths_that_make_sense_are_taken() {
        for (months, days, ns, taken) in [
            (0, 0, 300_000_000_000, true),
            (0, 1, -1, true),
            (0, 0, 1_000_000, true),
            (0, 3_660, 0, true),
            (0, 0, 999_999, false),
            (0, 0, 0, false),
            (0, -1, 1, false),
            (1, 0, 0, false),
            (0, 3_660, 1, false),
            (0, i32::MAX, i64::MAX, false),
        ] {
            assert_eq!(check(IntervalMonthDayNano::new(months, days, ns)).is_ok(), taken, "{months} {days} {ns}");
        }
    }
}
