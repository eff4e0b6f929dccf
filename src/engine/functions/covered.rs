//! `covered_ns(start_ns, duration_ns)`: the time in which at least one of the spans of a group ran; what several cover counts once.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, Int64Array};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::groups::{Gathered, Held, wanted};

/// The function.
pub(super) fn udaf() -> AggregateUDF {
    AggregateUDF::from(CoveredNs { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CoveredNs {
    signature: Signature,
}

impl AggregateUDFImpl for CoveredNs {
    fn name(&self) -> &str {
        "covered_ns"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [start, duration] if [start, duration].iter().all(|number| number.is_integer() || number.is_null()) => {
                Ok(vec![DataType::Int64, DataType::Int64])
            }
            _ => plan_err!("function covered_ns wants a start and a duration, whole numbers of nanoseconds"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "stretches"), DataType::Binary, true))])
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Stretches::default()))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Held::<Stretches>::default()))
    }
}

/// From a start to an end, in nanoseconds.
type Stretch = (i64, i64);

/// The stretches of one group. Most groups have one, which takes no memory of its own.
#[derive(Debug, Default)]
struct Stretches {
    first: Option<Stretch>,
    more: Vec<Stretch>,
}

impl Stretches {
    fn add(&mut self, stretch: Stretch) {
        match self.first {
            None => self.first = Some(stretch),
            Some(_) => {
                // What is covered twice is let go before more memory is taken.
                if self.more.len() == self.more.capacity() && self.more.len() > 64 {
                    self.more = united(std::mem::take(&mut self.more));
                }
                self.more.push(stretch);
            }
        }
    }

    fn all(&self) -> Vec<Stretch> {
        united(self.first.iter().chain(&self.more).copied().collect())
    }

    fn covered_ns(&self) -> Option<i64> {
        self.first?;
        let lengths = self.all().into_iter().map(|(start, end)| end.saturating_sub(start));
        Some(lengths.fold(0, i64::saturating_add))
    }

    fn packed(&self) -> Vec<u8> {
        self.all().iter().flat_map(|(start, end)| [start.to_le_bytes(), end.to_le_bytes()]).flatten().collect()
    }

    fn add_packed(&mut self, bytes: &[u8]) {
        let (numbers, _) = bytes.as_chunks::<{ size_of::<i64>() }>();
        let (pairs, _) = numbers.as_chunks::<2>();
        pairs.iter().for_each(|[start, end]| self.add((i64::from_le_bytes(*start), i64::from_le_bytes(*end))));
    }
}

impl Gathered for Stretches {
    fn heap_bytes(&self) -> usize {
        self.more.capacity() * size_of::<Stretch>()
    }
}

/// The same time in stretches that do not touch, in order.
fn united(mut stretches: Vec<Stretch>) -> Vec<Stretch> {
    stretches.sort_unstable();
    stretches.dedup_by(|next, last| {
        let touches = next.0 <= last.1;
        if touches {
            last.1 = last.1.max(next.1);
        }
        touches
    });
    stretches
}

/// The stretch of a row; `None` where start or duration is NULL.
fn stretch(columns: &(&Int64Array, &Int64Array), row: usize) -> Option<Stretch> {
    let (starts, durations) = columns;
    let is_there = starts.is_valid(row) && durations.is_valid(row);
    is_there.then(|| (starts.value(row), starts.value(row).saturating_add(durations.value(row).max(0))))
}

fn columns(values: &[ArrayRef]) -> Result<(&Int64Array, &Int64Array)> {
    match values {
        [starts, durations] => Ok((starts.as_primitive::<Int64Type>(), durations.as_primitive::<Int64Type>())),
        _ => exec_err!("covered_ns takes two columns"),
    }
}

impl Accumulator for Stretches {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let columns = columns(values)?;
        (0..columns.0.len()).filter_map(|row| stretch(&columns, row)).for_each(|stretch| self.add(stretch));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(self.covered_ns()))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.heap_bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.packed()))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [states] = states else { return exec_err!("covered_ns has a state of one column") };
        states.as_binary::<i32>().iter().flatten().for_each(|bytes| self.add_packed(bytes));
        Ok(())
    }
}

impl GroupsAccumulator for Held<Stretches> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        let columns = columns(values)?;
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| wanted(opt_filter, *row)) {
            if let Some(stretch) = stretch(&columns, row) {
                self.change(*group, |stretches| stretches.add(stretch));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let covered = self.take(emit_to).into_iter().map(|stretches| stretches.covered_ns());
        Ok(Arc::new(covered.collect::<Int64Array>()))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut states = BinaryBuilder::new();
        self.take(emit_to).iter().for_each(|stretches| states.append_value(stretches.packed()));
        Ok(vec![Arc::new(states.finish())])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.resize(total_num_groups);
        let [states] = values else { return exec_err!("covered_ns has a state of one column") };
        let states = states.as_binary::<i32>();
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| states.is_valid(*row)) {
            self.change(*group, |stretches| stretches.add_packed(states.value(row)));
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let columns = columns(values)?;
        let mut states = BinaryBuilder::new();
        for row in 0..columns.0.len() {
            let mut one = Stretches::default();
            stretch(&columns, row).filter(|_| wanted(opt_filter, row)).into_iter().for_each(|it| one.add(it));
            states.append_value(one.packed());
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn size(&self) -> usize {
        self.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn column(numbers: impl IntoIterator<Item = i64>) -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(numbers))
    }

    proptest! {
        /// Nanosecond by nanosecond, in two parts and through their states.
        #[test]
        fn what_several_cover_counts_once(spans in prop::collection::vec((0_i64..200, 0_i64..40), 0..300), cut in 0_usize..300) {
            let mut covered = [false; 240];
            spans.iter().for_each(|(start, length)| covered[*start as usize..(*start + *length) as usize].fill(true));
            let wanted = covered.iter().filter(|ns| **ns).count() as i64;
            let mut whole = Held::<Stretches>::default();
            for part in [&spans[..cut.min(spans.len())], &spans[cut.min(spans.len())..]] {
                let values = [column(part.iter().map(|span| span.0)), column(part.iter().map(|span| span.1))];
                let mut groups = Held::<Stretches>::default();
                groups.update_batch(&values, &vec![0; part.len()], None, 1).expect("updated");
                whole.merge_batch(&groups.state(EmitTo::All).expect("a state"), &[0], 1).expect("merged");
                prop_assert_eq!(groups.heap_bytes(), 0);
            }
            let given = whole.evaluate(EmitTo::All).expect("evaluated");
            let given = given.as_primitive::<Int64Type>();
            prop_assert_eq!(given.is_valid(0).then(|| given.value(0)), (!spans.is_empty()).then_some(wanted));
        }
    }

    #[test]
    fn spans_at_one_time_are_not_kept_one_by_one() {
        let mut one = Stretches::default();
        (0..100_000).for_each(|at| one.add((at % 7, 50 + at % 11)));
        assert_eq!(one.covered_ns(), Some(60));
        assert!(one.heap_bytes() < 10_000, "{}", one.heap_bytes());
    }
}
