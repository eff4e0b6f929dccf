//! `to_char(value, pattern)` with PostgreSQL's patterns, which also read times out of texts. A pattern with a `%` is one of `strftime`, as DataFusion has it.

mod intervals;
mod numbers;
mod pattern;
mod read;
mod times;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Float64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit, TimestampNanosecondType,
};
use datafusion::common::{DataFusionError, HashMap, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::intervals::intervals_of;
use crate::error::Error;
use numbers::NumberPattern;
use times::Zone;

pub(super) use pattern::TimePattern;
pub(super) use read::ReadTime;

/// The longest pattern; what it makes of a value is a few times as long.
const MAX_PATTERN_BYTES: usize = 1_000;

/// The function.
pub(super) fn udf() -> ScalarUDF {
    ScalarUDF::from(ToChar {
        signature: Signature::user_defined(Volatility::Stable),
        strftime: datafusion::functions::datetime::to_char(),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ToChar {
    signature: Signature,
    strftime: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for ToChar {
    fn name(&self) -> &str {
        "to_char"
    }

    fn aliases(&self) -> &[String] {
        self.strftime.aliases()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [value, pattern] = types else { return plan_err!("to_char takes a value and a pattern") };
        if !pattern.is_string() && !pattern.is_null() {
            return plan_err!("to_char's pattern is a text");
        }
        let value = match value {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Nanosecond, zone.clone()),
            DataType::Date32 | DataType::Date64 => DataType::Timestamp(TimeUnit::Nanosecond, None),
            DataType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
            DataType::Null => DataType::Float64,
            value if value.is_numeric() => DataType::Float64,
            value if value.is_string() => {
                return plan_err!("to_char takes a time or a number; cast the text to one");
            }
            value => value.clone(),
        };
        Ok(vec![value, DataType::Utf8])
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [value, pattern] = args.args.as_slice() else { return exec_err!("to_char takes a value and a pattern") };
        let patterns = pattern.to_array(if is_constant(pattern) { 1 } else { args.number_rows })?;
        let patterns = cast(&patterns, &DataType::Utf8)?;
        let patterns = patterns.as_string::<i32>();
        let is_strftime = (0..patterns.len()).any(|row| patterns.is_valid(row) && patterns.value(row).contains('%'));
        let values = value.to_array(args.number_rows)?;
        let values = match values.data_type() {
            // The difference of two times is an interval with days.
            DataType::Duration(_) if !is_strftime => intervals_of(&values)?,
            _ => values,
        };
        if is_strftime || !writes(values.data_type()) {
            return self.strftime.invoke_with_args(args);
        }
        let texts = write(&values, |row| {
            let row = if patterns.len() == 1 { 0 } else { row };
            patterns.is_valid(row).then(|| patterns.value(row))
        })?;
        Ok(ColumnarValue::Array(Arc::new(texts)))
    }
}

fn is_constant(value: &ColumnarValue) -> bool {
    matches!(value, ColumnarValue::Scalar(_))
}

fn writes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(..) | DataType::Float64 | DataType::Interval(_))
}

/// A pattern that was read.
enum Pattern {
    Time(TimePattern),
    Number(NumberPattern),
}

fn write<'a>(values: &ArrayRef, pattern: impl Fn(usize) -> Option<&'a str>) -> Result<StringArray> {
    let zone = match values.data_type() {
        DataType::Timestamp(_, Some(zone)) => Zone::new(zone),
        _ => None,
    };
    let is_time = !matches!(values.data_type(), DataType::Float64);
    let mut read: HashMap<&str, Pattern> = HashMap::default();
    (0..values.len())
        .map(|row| {
            let Some(text) = pattern(row).filter(|_| values.is_valid(row)) else { return Ok(None) };
            if !read.contains_key(text) {
                read.insert(text, read_pattern(text, is_time)?);
            }
            Ok(match &read[text] {
                Pattern::Time(pattern) if matches!(values.data_type(), DataType::Interval(_)) => {
                    let interval = values.as_primitive::<IntervalMonthDayNanoType>().value(row);
                    Some(pattern.write_interval(interval).map_err(fail)?)
                }
                Pattern::Time(pattern) => {
                    let at = values.as_primitive::<TimestampNanosecondType>().value(row);
                    Some(pattern.write(at, zone.as_ref()))
                }
                Pattern::Number(pattern) => Some(pattern.write(values.as_primitive::<Float64Type>().value(row))),
            })
        })
        .collect()
}

fn fail(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

fn read_pattern(text: &str, is_time: bool) -> Result<Pattern> {
    if text.len() > MAX_PATTERN_BYTES {
        let message = format!("a pattern of to_char has {} bytes; the limit is {MAX_PATTERN_BYTES}", text.len());
        return Err(fail(Error::new(crate::error::Kind::TooLarge, message)));
    }
    match is_time {
        true => TimePattern::read(text).map(Pattern::Time).map_err(fail),
        false => NumberPattern::read(text).map(Pattern::Number).map_err(fail),
    }
}

/// The answer to a pattern of PostgreSQL's that is not known here.
fn not_supported(what: &str) -> Error {
    Error::bad_input(format!("not supported: {what} in a pattern of to_char")).with_sqlstate("0A000")
}
