//! Which rows go: those in the window of a run, and those that are kept no longer.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Date64Type, Schema, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use datafusion::arrow::util::display::array_value_to_string;

use crate::error::{Error, Kind, Result};

/// The rows whose column lies in one of some stretches of time, each from one moment to before another, in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gone {
    pub column: String,
    pub stretches: Vec<(i64, i64)>,
}

impl Gone {
    /// Refuses columns that have no such time.
    pub fn check(&self, table: &str, schema: &Schema) -> Result<()> {
        let what = match schema.field_with_name(&self.column) {
            Err(_) => "is not in the result".to_owned(),
            Ok(field) => match field.data_type() {
                DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => return Ok(()),
                other => format!("is {}", crate::pg::PgType::of(other).name()),
            },
        };
        let message = format!("cannot record into reports.{table}: column \"{}\" {what}", self.column);
        Err(Error::new(Kind::BadInput, message)
            .with_hint("rows are replaced and removed by a column of timestamps or dates"))
    }

    /// Whether each row goes; NULL where it has no time.
    pub fn covers(&self, rows: &RecordBatch) -> BooleanArray {
        match rows.column_by_name(&self.column) {
            Some(times) => self.covers_times(times),
            None => BooleanArray::from(vec![None; rows.num_rows()]),
        }
    }

    fn covers_times(&self, times: &ArrayRef) -> BooleanArray {
        let is_in = |value: i64, a_second: i128| {
            let value = i128::from(value) * 1000;
            let bound = |ms: i64| i128::from(ms) * a_second;
            self.stretches.iter().any(|(from_ms, to_ms)| value >= bound(*from_ms) && value < bound(*to_ms))
        };
        macro_rules! covered {
            ($of:ty, $a_second:expr) => {
                times.as_primitive::<$of>().iter().map(|value| value.map(|value| is_in(value, $a_second))).collect()
            };
        }
        match times.data_type() {
            DataType::Timestamp(TimeUnit::Second, _) => covered!(TimestampSecondType, 1),
            DataType::Timestamp(TimeUnit::Millisecond, _) => covered!(TimestampMillisecondType, 1000),
            DataType::Timestamp(TimeUnit::Microsecond, _) => covered!(TimestampMicrosecondType, 1_000_000),
            DataType::Timestamp(TimeUnit::Nanosecond, _) => covered!(TimestampNanosecondType, 1_000_000_000),
            DataType::Date64 => covered!(Date64Type, 1000),
            DataType::Date32 => {
                let days = times.as_primitive::<Date32Type>().iter();
                days.map(|day| day.map(|day| is_in(i64::from(day) * 86_400, 1))).collect()
            }
            _ => BooleanArray::from(vec![None; times.len()]),
        }
    }

    /// Refuses rows outside of the window: a run that is repeated would not replace them, and they would be there twice.
    pub fn check_rows(&self, table: &str, rows: &RecordBatch) -> Result<()> {
        let covered = self.covers(rows);
        let Some(at) = covered.iter().position(|covered| covered != Some(true)) else { return Ok(()) };
        let shown = rows.column_by_name(&self.column).filter(|times| times.is_valid(at));
        let shown = shown.and_then(|times| array_value_to_string(times, at).ok()).unwrap_or_else(|| "NULL".to_owned());
        let message = format!(
            "cannot record into reports.{table}: a row has \"{}\" = {shown}, which is not in the window of the run",
            self.column
        );
        Err(Error::new(Kind::BadInput, message).with_sqlstate("22023").with_hint(
            "let the window begin and end where the intervals of the result do, such as at full hours, or record with mode append",
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Date32Array, Int64Array, TimestampNanosecondArray, TimestampSecondArray};

    use super::*;

    fn gone(column: &str) -> Gone {
        Gone { column: column.to_owned(), stretches: vec![(-3_600_000, 86_400_000)] }
    }

    fn rows(times: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter([("time", times)]).expect("rows")
    }

    #[test]
    fn a_stretch_has_its_beginning_and_not_its_end() {
        let seconds = [Some(-3601), Some(-3600), Some(0), Some(86_399), Some(86_400), None];
        let wanted = BooleanArray::from(vec![Some(false), Some(true), Some(true), Some(true), Some(false), None]);
        let times: [ArrayRef; 2] = [
            Arc::new(TimestampSecondArray::from(seconds.to_vec())),
            Arc::new(seconds.iter().map(|s| s.map(|s| s * 1_000_000_000)).collect::<TimestampNanosecondArray>()),
        ];
        for times in times {
            assert_eq!(gone("time").covers(&rows(times)), wanted);
        }
        let days: ArrayRef = Arc::new(Date32Array::from(vec![-1, 0, 1]));
        assert_eq!(gone("time").covers(&rows(days)), BooleanArray::from(vec![false, true, false]));
        let two = Gone { stretches: vec![(i64::MIN, 0), (86_400_000, i64::MAX)], ..gone("time") };
        let days: ArrayRef = Arc::new(Date32Array::from(vec![-1, 0, 1]));
        assert_eq!(two.covers(&rows(days)), BooleanArray::from(vec![true, false, true]));
    }

    #[test]
    fn a_row_outside_is_told() {
        for times in [vec![Some(0), Some(86_400)], vec![None]] {
            let rows = rows(Arc::new(TimestampSecondArray::from(times)));
            let error = gone("time").check_rows("t", &rows).expect_err("outside");
            let told = if rows.num_rows() == 1 { "\"time\" = NULL" } else { "\"time\" = 1970-01-02T00:00:00" };
            assert!(error.message.contains(told), "{error}");
        }
        let numbers = rows(Arc::new(Int64Array::from(vec![1])));
        assert!(gone("time").check("t", &numbers.schema()).is_err());
        assert!(gone("at").check("t", &numbers.schema()).is_err());
    }
}
