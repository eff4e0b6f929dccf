//! `heatmap(time, x, width, per_octave)`: how many values lie in each cell of time and size, a list of cells with their time, upper end and count.
//!
//! Time is cut into intervals of `width` as `date_bin` does it, and values as `log_bucket` does it: each doubling has `per_octave` cells.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, RecordBatch, StructArray, TimestampNanosecondArray,
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
use crate::error::Error;

/// What a call that does not say has.
const WIDTH_NS: i64 = 300_000_000_000;
const PER_OCTAVE: i64 = 2;

/// The most cells of a doubling: values in one are 0.7 % apart.
const MAX_PER_OCTAVE: i64 = 100;

/// A cell in a partial state: interval, size, count.
const CELL_BYTES: usize = 3 * size_of::<i64>();

/// The size of what is not above 0.
const NOTHING: i64 = i64::MIN;

/// The function.
pub(super) fn udaf() -> AggregateUDF {
    AggregateUDF::from(HeatMap { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct HeatMap {
    signature: Signature,
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()))
}

fn cell_fields() -> Fields {
    Fields::from(vec![
        Field::new("time", time_type(), false),
        Field::new("le", DataType::Float64, false),
        Field::new("count", DataType::Int64, false),
    ])
}

impl AggregateUDFImpl for HeatMap {
    fn name(&self) -> &str {
        "heatmap"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let wanted = [time_type(), DataType::Float64, DataType::Interval(IntervalUnit::MonthDayNano), DataType::Int64];
        let is_taken = |(at, given): (usize, &DataType)| match at {
            0 => matches!(given, DataType::Timestamp(..) | DataType::Date32 | DataType::Null),
            1 => given.is_numeric() || given.is_null(),
            2 => matches!(given, DataType::Interval(_)) || given.is_string(),
            _ => given.is_integer(),
        };
        match types.len() {
            2..=4 if types.iter().enumerate().all(is_taken) => Ok(wanted[..types.len()].to_vec()),
            _ => plan_err!(
                "function heatmap wants a time and a number, and may have the width of an interval and how many cells a doubling has, as in heatmap(timestamp, duration_ms, '1 minute', 2)"
            ),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::new_list(DataType::Struct(cell_fields()), true))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "cells"), DataType::Binary, true))])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return plan_err!("DISTINCT is not supported by heatmap; take the values of a SELECT DISTINCT");
        }
        let constant = |at: usize| args.exprs.get(at).map(|_| constant(&args, at));
        let width = match constant(2) {
            None => WIDTH_NS,
            Some(Some(ScalarValue::IntervalMonthDayNano(Some(width)))) => width_ns(width)?,
            Some(_) => return Err(refused("wants a constant interval as its width".into())),
        };
        let per_octave = match constant(3) {
            None => PER_OCTAVE,
            Some(Some(ScalarValue::Int64(Some(cells)))) if (1..=MAX_PER_OCTAVE).contains(&cells) => cells,
            Some(_) => return Err(refused(format!("may have 1 to {MAX_PER_OCTAVE} cells to a doubling"))),
        };
        Ok(Box::new(Cells { width, per_octave: per_octave as f64, counts: HashMap::new() }))
    }
}

fn constant(args: &AccumulatorArgs, at: usize) -> Option<ScalarValue> {
    let empty = RecordBatch::new_empty(args.schema.clone().into());
    match args.exprs.get(at)?.evaluate(&empty) {
        Ok(ColumnarValue::Scalar(value)) => Some(value),
        _ => None,
    }
}

fn refused(why: String) -> DataFusionError {
    DataFusionError::External(Box::new(Error::bad_input(format!("a heat map {why}")).with_sqlstate("22023")))
}

#[derive(Debug)]
struct Cells {
    /// In nanoseconds.
    width: i64,
    per_octave: f64,
    /// By the number of the interval since 1970, and that of the size.
    counts: HashMap<(i64, i64), i64>,
}

impl Cells {
    /// The number of the size of a value; `None` of what is no number.
    fn size_of(&self, value: f64) -> Option<i64> {
        match value {
            _ if value.is_nan() => None,
            _ if value > 0.0 => Some((value.log2() * self.per_octave).ceil() as i64),
            _ => Some(NOTHING),
        }
    }

    /// The most that values of a size are.
    fn end_of(&self, size: i64) -> f64 {
        match size {
            NOTHING => 0.0,
            i64::MAX => f64::INFINITY,
            size => (size as f64 / self.per_octave).exp2(),
        }
    }

    fn in_order(&self) -> Vec<((i64, i64), i64)> {
        let mut cells: Vec<_> = self.counts.iter().map(|(cell, count)| (*cell, *count)).collect();
        cells.sort_unstable();
        cells
    }

    /// The cells as a heat map shows them.
    fn shown(&self) -> StructArray {
        let cells = self.in_order();
        let starts = cells.iter().map(|((interval, _), _)| interval.saturating_mul(self.width));
        let columns: Vec<ArrayRef> = vec![
            Arc::new(TimestampNanosecondArray::from_iter_values(starts).with_timezone("UTC")),
            Arc::new(Float64Array::from_iter_values(cells.iter().map(|((_, size), _)| self.end_of(*size)))),
            Arc::new(Int64Array::from_iter_values(cells.iter().map(|(_, count)| *count))),
        ];
        StructArray::new(cell_fields(), columns, None)
    }
}

impl Accumulator for Cells {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [times, values, ..] = values else { return exec_err!("a heat map takes two columns") };
        let times = times.as_primitive::<TimestampNanosecondType>();
        for (time, value) in times.iter().zip(values.as_primitive::<Float64Type>()) {
            if let (Some(time), Some(size)) = (time, value.and_then(|value| self.size_of(value))) {
                *self.counts.entry((time.div_euclid(self.width), size)).or_default() += 1;
            }
        }
        Ok(())
    }

    /// NULL of nothing.
    fn evaluate(&mut self) -> Result<ScalarValue> {
        let item = Arc::new(Field::new_list_field(DataType::Struct(cell_fields()), true));
        let list = match self.counts.is_empty() {
            true => ListArray::new_null(item, 1),
            false => {
                let cells = self.shown();
                ListArray::new(item, OffsetBuffer::from_lengths([cells.len()]), Arc::new(cells), None)
            }
        };
        Ok(ScalarValue::List(Arc::new(list)))
    }

    fn size(&self) -> usize {
        // A byte of each place says what is in it.
        size_of_val(self) + self.counts.capacity() * (CELL_BYTES + 1)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let numbers = self.in_order().into_iter().flat_map(|((interval, size), count)| [interval, size, count]);
        Ok(vec![ScalarValue::Binary(Some(numbers.flat_map(i64::to_le_bytes).collect()))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(states) = states.first().and_then(|states| states.as_binary_opt::<i32>()) else {
            return exec_err!("a heat map's state is bytes");
        };
        for state in states.iter().flatten() {
            let (numbers, _) = state.as_chunks::<{ size_of::<i64>() }>();
            let (cells, _) = numbers.as_chunks::<3>();
            for cell in cells {
                let [interval, size, count] = cell.map(i64::from_le_bytes);
                *self.counts.entry((interval, size)).or_default() += count;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(per_octave: f64) -> Cells {
        Cells { width: 1_000, per_octave, counts: HashMap::new() }
    }

    #[test]
    fn a_value_is_at_most_its_cells_end_and_above_the_one_before() {
        for per_octave in [1.0, 2.0, 100.0] {
            let cells = cells(per_octave);
            for value in [1e-300, 0.3, 1.0, 1.5, 4.0, 1e9, f64::MAX] {
                let size = cells.size_of(value).expect("a size");
                let (before, end) = (cells.end_of(size - 1), cells.end_of(size));
                assert!(before < value * (1.0 + 1e-12) && value <= end * (1.0 + 1e-12), "{value}: {before} to {end}");
            }
            let ends = [0.0, -1.0, f64::NEG_INFINITY, f64::INFINITY]
                .map(|value| cells.size_of(value).map(|size| cells.end_of(size)));
            assert_eq!(ends, [Some(0.0), Some(0.0), Some(0.0), Some(f64::INFINITY)]);
            assert_eq!(cells.size_of(f64::NAN), None);
        }
    }

    #[test]
    fn parts_of_a_heat_map_make_the_whole() {
        let times: ArrayRef =
            Arc::new(TimestampNanosecondArray::from(vec![Some(-1), Some(5), Some(999), Some(1_000), None]));
        let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(4.0), Some(3.0), Some(4.0), None, Some(1.0)]));
        let mut whole = cells(1.0);
        for _ in 0..2 {
            let mut part = cells(1.0);
            part.update_batch(&[times.clone(), values.clone()]).expect("updated");
            let state: Vec<_> = part.state().expect("a state").iter().map(|s| s.to_array().expect("a row")).collect();
            whole.merge_batch(&state).expect("merged");
        }
        assert_eq!(whole.in_order(), [((-1, 2), 2), ((0, 2), 4)]);
        let shown = whole.shown();
        assert_eq!(shown.column(0).as_primitive::<TimestampNanosecondType>().values(), &[-1_000, 0]);
        assert_eq!(shown.column(1).as_primitive::<Float64Type>().values(), &[4.0, 4.0]);
        assert!(cells(1.0).evaluate().expect("nothing").is_null());
    }
}
