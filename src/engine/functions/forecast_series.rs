//! `forecast_series(time, value, width, steps, season)`: what comes after a series, a list of steps with their time, value and 95 % interval.
//!
//! Time is cut into intervals of `width` as `date_bin` does it. The largest value of an interval counts; one without a value is a gap, and a time
//! without a value says how far the series goes.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, ListArray, StructArray, TimestampNanosecondArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Float64Type, IntervalUnit, TimeUnit, TimestampNanosecondType,
};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Signature, Volatility};

use super::bucket_width::width_ns;
use crate::analysis::{Expected, forecast};
use crate::error::Error;

/// The newest intervals count, two weeks of minutes: what was before says little of what comes.
const MAX_INTERVALS: i64 = 20_160;

/// The most steps ahead, and of a season.
const MAX_STEPS: i64 = 10_080;

/// An interval's number and its value, in a partial state.
const ENTRY_BYTES: usize = size_of::<i64>() + size_of::<f64>();

/// The function.
pub(super) fn udaf() -> AggregateUDF {
    AggregateUDF::from(ForecastSeries { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ForecastSeries {
    signature: Signature,
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

fn step_fields() -> Fields {
    let number = |name| Field::new(name, DataType::Float64, false);
    Fields::from(vec![Field::new("time", time_type(), false), number("value"), number("low"), number("high")])
}

impl AggregateUDFImpl for ForecastSeries {
    fn name(&self) -> &str {
        "forecast_series"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        let is_interval = |of_type: &DataType| matches!(of_type, DataType::Interval(_)) || of_type.is_string();
        let is_season = |of_type: &DataType| is_interval(of_type) || of_type.is_null();
        match types {
            [DataType::Timestamp(_, _) | DataType::Date32 | DataType::Null, value, width, steps, seasons @ ..]
                if (value.is_numeric() || value.is_null())
                    && is_interval(width)
                    && steps.is_integer()
                    && seasons.len() <= 1
                    && seasons.iter().all(is_season) =>
            {
                let mut types = vec![time_type(), DataType::Float64, interval.clone(), DataType::Int64];
                types.extend(seasons.iter().map(|_| interval.clone()));
                Ok(types)
            }
            _ => plan_err!(
                "function forecast_series wants a time, a number, the width of an interval, a number of steps and, where there are seasons, their length"
            ),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Struct(step_fields()), true))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "series"), DataType::Binary, true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return plan_err!("DISTINCT is not supported by forecast_series");
        }
        let width = match constant(&args, 2) {
            Some(ScalarValue::IntervalMonthDayNano(Some(width))) => width_ns(width)?,
            _ => return Err(refused("wants a constant interval as its width".into())),
        };
        let steps = match constant(&args, 3) {
            Some(ScalarValue::Int64(Some(steps))) if (1..=MAX_STEPS).contains(&steps) => steps as usize,
            _ => return Err(refused(format!("may have 1 to {MAX_STEPS} steps"))),
        };
        let season = match (args.exprs.len(), constant(&args, 4)) {
            (..=4, _) | (_, Some(ScalarValue::IntervalMonthDayNano(None))) => 0,
            (_, Some(ScalarValue::IntervalMonthDayNano(Some(season)))) => season_steps(width_ns(season)?, width)?,
            _ => return Err(refused("wants a constant interval as its season".into())),
        };
        Ok(Box::new(Series { width, steps, season, values: BTreeMap::new() }))
    }
}

fn constant(args: &AccumulatorArgs, at: usize) -> Option<ScalarValue> {
    let empty = RecordBatch::new_empty(args.schema.clone().into());
    match args.exprs.get(at)?.evaluate(&empty) {
        Ok(ColumnarValue::Scalar(value)) => Some(value),
        _ => None,
    }
}

fn season_steps(season: i64, width: i64) -> Result<usize> {
    match (season / width, season % width) {
        // Intervals as long as a season or longer have none.
        (0, _) => Ok(0),
        (steps @ 1..=MAX_STEPS, 0) => Ok(steps as usize),
        (_, 0) => Err(refused(format!("may have seasons of {MAX_STEPS} intervals at most"))),
        _ => Err(refused("wants seasons that are a whole number of intervals".into())),
    }
}

fn refused(why: String) -> DataFusionError {
    DataFusionError::External(Box::new(Error::bad_input(format!("a forecast {why}")).with_sqlstate("22023")))
}

#[derive(Debug)]
struct Series {
    /// In nanoseconds.
    width: i64,
    steps: usize,
    /// In intervals.
    season: usize,
    /// By the number of the interval since 1970; NaN without a value.
    values: BTreeMap<i64, f64>,
}

impl Series {
    fn add(&mut self, interval: i64, value: f64) {
        let oldest = self.values.last_key_value().map_or(i64::MIN, |(last, _)| last.saturating_sub(MAX_INTERVALS - 1));
        if interval < oldest {
            return;
        }
        let known = self.values.entry(interval).or_insert(value);
        // The larger; a number rather than none.
        *known = known.max(value);
        while let (Some((first, _)), Some((last, _))) = (self.values.first_key_value(), self.values.last_key_value())
            && last.saturating_sub(*first) >= MAX_INTERVALS
        {
            self.values.pop_first();
        }
    }

    /// The steps ahead; `None` when the series is too short to say.
    fn ahead(&self) -> Option<StructArray> {
        let ((first, _), (last, _)) = (self.values.first_key_value()?, self.values.last_key_value()?);
        let of_interval = |interval| self.values.get(&interval).copied().filter(|value| value.is_finite());
        let series: Vec<Option<f64>> = (*first..=*last).map(of_interval).collect();
        let expected = forecast(&series, self.season, self.steps)?;
        let times = (1..).map(|step| last.saturating_add(step).saturating_mul(self.width)).take(expected.len());
        let numbers = |of: fn(&Expected) -> f64| -> ArrayRef {
            Arc::new(Float64Array::from_iter_values(expected.iter().map(of)))
        };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampNanosecondArray::from_iter_values(times).with_timezone("UTC")),
            numbers(|step| step.value),
            numbers(|step| step.low),
            numbers(|step| step.high),
        ];
        Some(StructArray::new(step_fields(), columns, None))
    }
}

impl Accumulator for Series {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [times, values, ..] = values else { return exec_err!("forecast_series takes more columns") };
        let times = times.as_primitive::<TimestampNanosecondType>();
        for (time, value) in times.iter().zip(values.as_primitive::<Float64Type>()) {
            if let Some(time) = time {
                self.add(time.div_euclid(self.width), value.unwrap_or(f64::NAN));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let item = Arc::new(Field::new_list_field(DataType::Struct(step_fields()), true));
        let list = match self.ahead() {
            Some(steps) => ListArray::new(item, OffsetBuffer::from_lengths([steps.len()]), Arc::new(steps), None),
            None => ListArray::new_null(item, 1),
        };
        Ok(ScalarValue::List(Arc::new(list)))
    }

    fn size(&self) -> usize {
        // Nodes of a tree are two thirds full or so.
        size_of_val(self) + self.values.len() * ENTRY_BYTES * 2
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let mut out = Vec::with_capacity(self.values.len() * ENTRY_BYTES);
        for (interval, value) in &self.values {
            out.extend_from_slice(&interval.to_le_bytes());
            out.extend_from_slice(&value.to_le_bytes());
        }
        Ok(vec![ScalarValue::Binary(Some(out))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(states) = states.first().and_then(|states| states.as_binary_opt::<i32>()) else {
            return exec_err!("forecast_series' state is bytes");
        };
        for entry in states.iter().flatten().flat_map(|state| state.chunks_exact(ENTRY_BYTES)) {
            let (interval, value) = entry.split_at(size_of::<i64>());
            let (Ok(interval), Ok(value)) = (interval.try_into(), value.try_into()) else { continue };
            self.add(i64::from_le_bytes(interval), f64::from_le_bytes(value));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_NS: i64 = 3_600_000_000_000;

    fn series() -> Series {
        Series { width: HOUR_NS, steps: 2, season: 0, values: BTreeMap::new() }
    }

    fn columns(rows: &[(i64, Option<f64>)]) -> [ArrayRef; 2] {
        let times = TimestampNanosecondArray::from_iter_values(rows.iter().map(|(hour, _)| hour * HOUR_NS + 5));
        [Arc::new(times.with_timezone("UTC")), Arc::new(rows.iter().map(|(_, value)| *value).collect::<Float64Array>())]
    }

    #[test]
    fn parts_of_a_series_make_the_whole_and_its_end_may_have_no_value() {
        let rows: Vec<(i64, Option<f64>)> = (-6..6).map(|hour| (hour, (hour != 2).then_some(7.0))).collect();
        let mut parts = [series(), series()];
        parts[0].update_batch(&columns(&rows[6..])).expect("updated");
        parts[1].update_batch(&columns(&rows[..8])).expect("updated");
        parts[1].update_batch(&columns(&[(9, None), (3, Some(6.0))])).expect("updated");
        let mut whole = series();
        for part in &mut parts {
            let state: Vec<_> = part.state().expect("a state").iter().map(|s| s.to_array().expect("a row")).collect();
            whole.merge_batch(&state).expect("merged");
        }
        let steps = whole.ahead().expect("a forecast");
        assert_eq!(steps.column(0).as_primitive::<TimestampNanosecondType>().values(), &[10 * HOUR_NS, 11 * HOUR_NS]);
        assert_eq!(steps.column(1).as_primitive::<Float64Type>().values(), &[7.0, 7.0]);
        assert!(series().ahead().is_none());
    }

    #[test]
    fn only_the_newest_intervals_are_kept() {
        let mut series = series();
        for hour in [5, 1_000_000, 4, 1_000_001 - MAX_INTERVALS, 1_000_000 - MAX_INTERVALS, i64::MIN / HOUR_NS] {
            series.add(hour, 1.0);
        }
        assert_eq!(series.values.into_keys().collect::<Vec<_>>(), [1_000_001 - MAX_INTERVALS, 1_000_000]);
    }

    #[test]
    fn a_season_is_a_whole_number_of_intervals() {
        for (season, width, steps) in
            [(24, 1, Some(24)), (24, 24, Some(1)), (1, 24, Some(0)), (24, 5, None), (MAX_STEPS + 1, 1, None)]
        {
            assert_eq!(season_steps(season, width).ok(), steps, "{season} {width}");
        }
    }
}
