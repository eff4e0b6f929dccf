//! `time_by_pattern(text, pattern)` and `date_by_pattern`, of which `to_timestamp` and `to_date` of a text and a pattern are made. A pattern with
//! a `%` is one of `strftime`, as DataFusion has it.

use std::sync::Arc;

use chrono::{NaiveDate, TimeDelta};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, Date32Array, StringViewArray, TimestampNanosecondArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::config::ConfigOptions;
use datafusion::common::{DataFusionError, HashMap, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use super::to_char::{ReadTime, TimePattern};
use crate::engine::times::to_utc;
use crate::error::Error;

/// The functions.
pub(super) fn udfs() -> Vec<ScalarUDF> {
    let udf = |name, is_date, strftime| {
        let signature = Signature::exact(vec![DataType::Utf8View, DataType::Utf8View], Volatility::Stable);
        ScalarUDF::from(ByPattern { name, is_date, signature, strftime })
    };
    vec![
        udf("time_by_pattern", false, datafusion::functions::datetime::to_timestamp(&ConfigOptions::default())),
        udf("date_by_pattern", true, datafusion::functions::datetime::to_date()),
    ]
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ByPattern {
    name: &'static str,
    is_date: bool,
    signature: Signature,
    strftime: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for ByPattern {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(match self.is_date {
            true => DataType::Date32,
            false => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [texts, patterns] = arrays.as_slice() else { return exec_err!("{} wants two texts", self.name) };
        let (texts, patterns) = (texts.as_string_view(), patterns.as_string_view());
        let made = match patterns.iter().flatten().any(|pattern| pattern.contains('%')) {
            true => self.by_strftime(args)?,
            false => {
                let zone = args.config_options.execution.time_zone.as_deref().unwrap_or("UTC").parse::<Tz>()?;
                self.by_pattern(texts, patterns, zone).map_err(|error| DataFusionError::External(Box::new(error)))?
            }
        };
        Ok(ColumnarValue::Array(made))
    }
}

impl ByPattern {
    fn by_pattern(
        &self,
        texts: &StringViewArray,
        patterns: &StringViewArray,
        zone: Tz,
    ) -> crate::error::Result<ArrayRef> {
        let mut read: HashMap<&str, TimePattern> = HashMap::default();
        let mut times = Vec::with_capacity(texts.len());
        for (text, pattern) in texts.iter().zip(patterns) {
            let Some((text, pattern)) = text.zip(pattern) else {
                times.push(None);
                continue;
            };
            if !read.contains_key(pattern) {
                read.insert(pattern, TimePattern::read(pattern)?);
            }
            times.push(Some((text, read[pattern].read_time(text)?)));
        }
        if self.is_date {
            let day = |date: NaiveDate| date.signed_duration_since(NaiveDate::default()).num_days() as i32;
            let days = times.into_iter().map(|time| time.map(|(_, time)| day(time.clock.date())));
            return Ok(Arc::new(days.collect::<Date32Array>()));
        }
        let ns = |(text, time): (&str, ReadTime)| {
            let utc = match time.offset_seconds {
                Some(offset) => time.clock.checked_sub_signed(TimeDelta::seconds(offset)),
                None => Some(to_utc(time.clock, zone)),
            };
            utc.and_then(|utc| utc.and_utc().timestamp_nanos_opt())
                .ok_or_else(|| Error::bad_input(format!("timestamp out of range: \"{text}\"")).with_sqlstate("22008"))
        };
        let times = times.into_iter().map(|time| time.map(ns).transpose()).collect::<crate::error::Result<Vec<_>>>()?;
        Ok(Arc::new(TimestampNanosecondArray::from(times).with_timezone("UTC")))
    }

    fn by_strftime(&self, mut args: ScalarFunctionArgs) -> Result<ArrayRef> {
        let wanted = args.return_field.data_type().clone();
        let rows = args.number_rows;
        let data_type = self.strftime.return_type(&[DataType::Utf8View, DataType::Utf8View])?;
        args.return_field = Arc::new(Field::new(self.name, data_type, true));
        let made = self.strftime.invoke_with_args(args)?.into_array(rows)?;
        Ok(cast(&made, &wanted)?)
    }
}
