//! Sums of many groups.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, Int64Array};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{DataType, Decimal128Type};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::{WIDE, narrow, numbers, typed};
use crate::engine::functions::groups::wanted;

/// The sum of each group, and whether it has had a value.
pub(super) struct Groups {
    sums: Vec<i128>,
    /// Which groups have had a value; `None` as long as all have, since a group begins with a row.
    seen: Option<Vec<bool>>,
    data_type: DataType,
}

impl Groups {
    pub(super) fn new(data_type: &DataType) -> Self {
        Self { sums: Vec::new(), seen: None, data_type: data_type.clone() }
    }

    fn add(&mut self, group: usize, value: i128) {
        self.sums[group] = self.sums[group].wrapping_add(value);
        if let Some(seen) = &mut self.seen {
            seen[group] = true;
        }
    }

    /// Makes room for groups, of which some may get no value now.
    fn grow(&mut self, groups: usize) {
        self.seen.get_or_insert_with(|| vec![true; self.sums.len()]).resize(groups, false);
        self.sums.resize(groups, 0);
    }

    fn take(&mut self, emit_to: EmitTo) -> (Vec<i128>, Option<NullBuffer>) {
        let seen = self.seen.as_mut().map(|seen| NullBuffer::from(emit_to.take_needed(seen)));
        (emit_to.take_needed(&mut self.sums), seen)
    }
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let [values] = values else { return exec_err!("sum takes one column") };
        let values = numbers(values)?;
        if self.seen.is_none() && values.null_count() == 0 && opt_filter.is_none() {
            self.sums.resize(total_num_groups, 0);
            for (group, value) in group_indices.iter().zip(values.values()) {
                self.sums[*group] = self.sums[*group].wrapping_add(i128::from(*value));
            }
            return Ok(());
        }
        self.grow(total_num_groups);
        for (row, group) in group_indices.iter().enumerate() {
            if values.is_valid(row) && wanted(opt_filter, row) {
                self.add(*group, i128::from(values.value(row)));
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.grow(total_num_groups);
        let Some(states) = values.first().and_then(|states| states.as_primitive_opt::<Decimal128Type>()) else {
            return exec_err!("a sum's state is a decimal");
        };
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| states.is_valid(*row)) {
            self.add(*group, states.value(row));
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (sums, seen) = self.take(emit_to);
        let sums = sums.into_iter().map(|sum| narrow(sum, &self.data_type)).collect::<Result<Vec<_>>>()?;
        typed(Int64Array::new(sums.into(), seen), &self.data_type)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, seen) = self.take(emit_to);
        Ok(vec![Arc::new(Decimal128Array::new(sums.into(), seen).with_data_type(WIDE))])
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let [values] = values else { return exec_err!("sum takes one column") };
        let values = numbers(values)?;
        let let_in = opt_filter.map(|_| (0..values.len()).map(|row| wanted(opt_filter, row)).collect());
        let nulls = NullBuffer::union(values.nulls(), let_in.as_ref());
        let sums: Vec<i128> = values.values().iter().map(|value| i128::from(*value)).collect();
        Ok(vec![Arc::new(Decimal128Array::new(sums.into(), nulls).with_data_type(WIDE))])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.sums.capacity() * size_of::<i128>() + self.seen.as_ref().map_or(0, Vec::capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against sums in a plain list, through states and parts of the groups.
    #[test]
    fn groups_without_a_value_are_null_however_they_come() {
        let column = |values: &[Option<i64>]| [Arc::new(Int64Array::from(values.to_vec())) as ArrayRef];
        let shown = |sums: &ArrayRef| {
            let sums = sums.as_primitive::<datafusion::arrow::datatypes::Int64Type>();
            sums.iter().collect::<Vec<_>>()
        };
        let mut partial = Groups::new(&DataType::Int64);
        partial.update_batch(&column(&[Some(1), Some(i64::MAX)]), &[0, 1], None, 2).expect("added");
        partial.update_batch(&column(&[None, Some(i64::MAX), Some(5)]), &[2, 1, 3], None, 4).expect("added");
        let filter = BooleanArray::from(vec![true, false]);
        partial.update_batch(&column(&[Some(7), Some(8)]), &[4, 5], Some(&filter), 6).expect("added");
        partial.update_batch(&column(&[Some(2)]), &[0], None, 6).expect("added");
        let state = partial.state(EmitTo::All).expect("a state");

        let mut last = Groups::new(&DataType::Int64);
        last.merge_batch(&state, &[0, 1, 2, 3, 4, 5], 6).expect("merged");
        let beside = last.convert_to_state(&column(&[Some(-i64::MAX), Some(9)]), Some(&filter)).expect("a state");
        last.merge_batch(&beside, &[1, 2], 6).expect("merged");
        let first = last.evaluate(EmitTo::First(2)).expect("sums");
        assert_eq!(shown(&first), [Some(3), Some(i64::MAX)]);
        assert_eq!(shown(&last.evaluate(EmitTo::All).expect("sums")), [None, Some(5), Some(7), None]);

        let mut large = Groups::new(&DataType::Int64);
        large.merge_batch(&state, &[0, 1, 2, 3, 4, 5], 6).expect("merged");
        large.evaluate(EmitTo::All).expect_err("too large");
    }
}
