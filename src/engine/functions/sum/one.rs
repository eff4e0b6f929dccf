//! The sum of one group, of all rows or those of a window.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::datatypes::{DataType, Decimal128Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{HashMap, ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::Accumulator;

use super::{narrow, numbers, typed};

/// So many values are added in 64 bits where each is below [`SMALL`]: none of their sums is beyond 2⁶³.
const RUN_ROWS: usize = 1 << 16;

/// Values from `-SMALL` to `SMALL`: 2⁴⁶ ns are 19 hours.
const SMALL: u64 = 1 << 46;

/// The sum of the values that are there.
pub(super) fn sum_of(values: &Int64Array) -> i128 {
    if values.null_count() > 0 {
        return values.iter().flatten().map(i128::from).sum();
    }
    values.values().chunks(RUN_ROWS).map(sum_of_run).sum()
}

fn sum_of_run(values: &[i64]) -> i128 {
    let (mut sum, mut bits) = (0_i64, 0_u64);
    for value in values {
        sum = sum.wrapping_add(*value);
        bits |= (*value as u64).wrapping_add(SMALL);
    }
    if bits < 2 * SMALL { i128::from(sum) } else { values.iter().map(|value| i128::from(*value)).sum() }
}

/// A sum and the number of values in it.
#[derive(Debug)]
pub(super) struct OneSum {
    sum: i128,
    count: u64,
    data_type: DataType,
}

impl OneSum {
    pub(super) fn new(data_type: &DataType) -> Self {
        Self { sum: 0, count: 0, data_type: data_type.clone() }
    }
}

impl Accumulator for OneSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else { return exec_err!("sum takes one column") };
        let values = numbers(values)?;
        self.sum = self.sum.wrapping_add(sum_of(&values));
        self.count += (values.len() - values.null_count()) as u64;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else { return exec_err!("sum takes one column") };
        let values = numbers(values)?;
        self.sum = self.sum.wrapping_sub(sum_of(&values));
        self.count -= (values.len() - values.null_count()) as u64;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        value(self.sum, self.count > 0, &self.data_type)
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = (self.count > 0).then_some(self.sum);
        Ok(vec![ScalarValue::Decimal128(sum, 38, 0)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(states) = states.first().and_then(|states| states.as_primitive_opt::<Decimal128Type>()) else {
            return exec_err!("a sum's state is a decimal");
        };
        for sum in states.iter().flatten() {
            self.sum = self.sum.wrapping_add(sum);
            self.count += 1;
        }
        Ok(())
    }
}

/// The sum of the different values; how often each is there matters to windows.
#[derive(Debug)]
pub(super) struct DistinctSum {
    counts: HashMap<i64, u64>,
    sum: i128,
    data_type: DataType,
}

impl DistinctSum {
    pub(super) fn new(data_type: &DataType) -> Self {
        Self { counts: HashMap::default(), sum: 0, data_type: data_type.clone() }
    }

    fn add(&mut self, values: &Int64Array) {
        for value in values.iter().flatten() {
            let count = self.counts.entry(value).or_insert(0);
            if *count == 0 {
                self.sum = self.sum.wrapping_add(i128::from(value));
            }
            *count += 1;
        }
    }
}

impl Accumulator for DistinctSum {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else { return exec_err!("sum takes one column") };
        self.add(&numbers(values)?);
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else { return exec_err!("sum takes one column") };
        for value in numbers(values)?.iter().flatten() {
            let Some(count) = self.counts.get_mut(&value) else { continue };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&value);
                self.sum = self.sum.wrapping_sub(i128::from(value));
            }
        }
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        value(self.sum, !self.counts.is_empty(), &self.data_type)
    }

    fn size(&self) -> usize {
        // An entry has a byte of its own for control.
        size_of_val(self) + self.counts.capacity() * (size_of::<(i64, u64)>() + 1)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = typed(self.counts.keys().copied().collect::<Int64Array>(), &self.data_type)?;
        Ok(vec![ScalarValue::List(Arc::new(SingleRowListArrayBuilder::new(values).build_list_array()))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(states) = states.first().and_then(|states| states.as_list_opt::<i32>()) else {
            return exec_err!("the state of a sum of different values is a list");
        };
        for values in states.iter().flatten() {
            self.add(&numbers(&values)?);
        }
        Ok(())
    }
}

fn value(sum: i128, is_there: bool, data_type: &DataType) -> Result<ScalarValue> {
    let sum = if is_there { Some(narrow(sum, data_type)?) } else { None };
    ScalarValue::try_from_array(&typed(Int64Array::from(vec![sum]), data_type)?, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_wide_numbers() {
        let edge = SMALL as i64;
        for values in [
            vec![],
            vec![5],
            vec![-1, 1],
            vec![edge - 1; 3],
            vec![-edge; RUN_ROWS + 1],
            vec![edge; RUN_ROWS],
            vec![i64::MAX; 5],
            vec![i64::MIN, i64::MIN, i64::MAX],
            (-1_000..70_000).collect(),
        ] {
            let plain: i128 = values.iter().map(|value| i128::from(*value)).sum();
            assert_eq!(sum_of(&Int64Array::from(values)), plain);
        }
        assert_eq!(sum_of(&Int64Array::from(vec![Some(i64::MAX), None, Some(i64::MAX)])), 2 * i128::from(i64::MAX));
    }

    #[test]
    fn what_leaves_a_window_leaves_its_sum() {
        let column = |values: &[i64]| [Arc::new(Int64Array::from(values.to_vec())) as ArrayRef];
        let mut plain = OneSum::new(&DataType::Int64);
        let mut distinct = DistinctSum::new(&DataType::Int64);
        for accumulator in [&mut plain as &mut dyn Accumulator, &mut distinct] {
            accumulator.update_batch(&column(&[i64::MAX, 7, 7])).expect("added");
            accumulator.evaluate().expect_err("too large");
            accumulator.retract_batch(&column(&[i64::MAX, 7])).expect("taken");
            assert_eq!(accumulator.evaluate().expect("a sum"), ScalarValue::Int64(Some(7)));
            accumulator.retract_batch(&column(&[7])).expect("taken");
            assert_eq!(accumulator.evaluate().expect("a sum"), ScalarValue::Int64(None));
        }
    }
}
