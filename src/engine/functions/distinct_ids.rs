//! `distinct_ids(id)`: how many different ids a group has, which `count(DISTINCT trace_id)` becomes.
//!
//! DataFusion keeps a set of boxed values for each group. Ids are few bytes: here all groups share one set of them.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, FixedSizeBinaryBuilder, Int64Array, ListArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{HashSet, ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, Expr, GroupsAccumulator, Signature, Volatility,
};

use super::groups::wanted;
use crate::model::{SpanId, TraceId};

/// `distinct_ids(id)` of the rows that `filter` lets in.
pub(in crate::engine) fn distinct_ids(id: Expr, filter: Option<Box<Expr>>) -> Expr {
    let function = Arc::new(AggregateUDF::from(DistinctIds::new()));
    Expr::AggregateFunction(AggregateFunction::new_udf(function, vec![id], false, filter, Vec::new(), None))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DistinctIds {
    signature: Signature,
}

impl DistinctIds {
    fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }
}

/// The bytes of an id of this type.
fn width(data_type: &DataType) -> Result<i32> {
    match data_type {
        DataType::FixedSizeBinary(width) if [TraceId::LEN as i32, SpanId::LEN as i32].contains(width) => Ok(*width),
        other => plan_err!("function distinct_ids wants an id, not {other}"),
    }
}

impl AggregateUDFImpl for DistinctIds {
    fn name(&self) -> &str {
        "distinct_ids"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [id] => width(id).map(|_| vec![id.clone()]),
            _ => plan_err!("function distinct_ids wants one id"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, _data_type: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let id = args.input_fields.first().map_or(DataType::Null, |field| field.data_type().clone());
        Ok(vec![Arc::new(Field::new(format_state_name(args.name, "ids"), DataType::new_list(id, true), true))])
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup(Groups::new(args.expr_fields[0].data_type())?)))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Groups::new(args.expr_fields[0].data_type())?))
    }
}

/// An id of up to 16 bytes as two numbers, and the group that has it.
type Entry = (u64, u64, u32);

#[derive(Debug)]
struct Groups {
    width: i32,
    ids: HashSet<Entry>,
    counts: Vec<i64>,
    /// The id that each group met last: the spans of a trace lie together.
    last: Vec<(u64, u64)>,
}

impl Groups {
    fn new(id: &DataType) -> Result<Self> {
        Ok(Self { width: width(id)?, ids: HashSet::default(), counts: Vec::new(), last: Vec::new() })
    }

    fn grow(&mut self, groups: usize) -> Result<()> {
        if u32::try_from(groups).is_err() {
            return exec_err!("ids are counted for at most 4 billion groups");
        }
        self.counts.resize(groups, 0);
        self.last.resize(groups, (0, 0));
        Ok(())
    }

    fn add(&mut self, group: usize, id: &[u8]) {
        let id = numbers(id);
        if self.last[group] == id && self.counts[group] > 0 {
            return;
        }
        self.last[group] = id;
        if self.ids.insert((id.0, id.1, group as u32)) {
            self.counts[group] += 1;
        }
    }

    /// Takes the first groups away; gives their counts, and their ids by group where `with_ids` asks.
    fn take(&mut self, emit_to: EmitTo, with_ids: bool) -> (Vec<i64>, Vec<Entry>) {
        let counts = emit_to.take_needed(&mut self.counts);
        emit_to.take_needed(&mut self.last);
        let taken = counts.len() as u32;
        let all = std::mem::take(&mut self.ids);
        let mut ids = Vec::new();
        for (high, low, group) in all {
            match group.checked_sub(taken) {
                Some(group) => _ = self.ids.insert((high, low, group)),
                None if with_ids => ids.push((high, low, group)),
                None => {}
            }
        }
        ids.sort_unstable_by_key(|(.., group)| *group);
        (counts, ids)
    }

    fn lists(&self, counts: &[i64], ids: &[Entry]) -> Result<ArrayRef> {
        let mut values = FixedSizeBinaryBuilder::with_capacity(ids.len(), self.width);
        for id in ids {
            values.append_value(&bytes(id)[..self.width as usize])?;
        }
        let offsets = OffsetBuffer::from_lengths(counts.iter().map(|count| *count as usize));
        let item = Field::new_list_field(DataType::FixedSizeBinary(self.width), true);
        Ok(Arc::new(ListArray::try_new(Arc::new(item), offsets, Arc::new(values.finish()), None)?))
    }
}

fn numbers(id: &[u8]) -> (u64, u64) {
    let part = |at: usize| id.get(at..at + 8).and_then(|part| part.try_into().ok()).map_or(0, u64::from_be_bytes);
    (part(0), part(8))
}

fn bytes((high, low, _): &Entry) -> [u8; 16] {
    ((u128::from(*high) << 64) | u128::from(*low)).to_be_bytes()
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups)?;
        let ids = ids(values)?;
        for (row, group) in group_indices.iter().enumerate() {
            if ids.is_valid(row) && wanted(opt_filter, row) {
                self.add(*group, ids.value(row));
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(Arc::new(Int64Array::from(self.take(emit_to, false).0)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (counts, ids) = self.take(emit_to, true);
        Ok(vec![self.lists(&counts, &ids)?])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.grow(total_num_groups)?;
        let Some(states) = values.first().and_then(|states| states.as_list_opt::<i32>()) else {
            return exec_err!("distinct_ids' state is a list");
        };
        let all = ids(std::slice::from_ref(states.values()))?;
        // Most are new: each partition has traces of its own.
        self.ids.reserve(all.len());
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| states.is_valid(*row)) {
            for at in states.value_offsets()[row]..states.value_offsets()[row + 1] {
                self.add(*group, all.value(at as usize));
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = ids(values)?;
        let is_in = |row: &usize| values.is_valid(*row) && wanted(opt_filter, *row);
        let counts: Vec<i64> = (0..values.len()).map(|row| i64::from(is_in(&row))).collect();
        let entry = |row| {
            let (high, low) = numbers(values.value(row));
            (high, low, 0)
        };
        let ids: Vec<Entry> = (0..values.len()).filter(is_in).map(entry).collect();
        Ok(vec![self.lists(&counts, &ids)?])
    }

    fn size(&self) -> usize {
        size_of_val(self)
            // An entry of the set has a byte of its own for control.
            + self.ids.capacity() * (size_of::<Entry>() + 1)
            + self.counts.capacity() * size_of::<i64>()
            + self.last.capacity() * size_of::<(u64, u64)>()
    }
}

/// Without GROUP BY: the groups are one.
#[derive(Debug)]
struct OneGroup(Groups);

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |values| values.len());
        self.0.update_batch(values, &vec![0; rows], None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(self.0.counts.first().copied().unwrap_or(0))))
    }

    fn size(&self) -> usize {
        GroupsAccumulator::size(&self.0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.grow(1)?;
        let states = GroupsAccumulator::state(&mut self.0, EmitTo::All)?;
        states.iter().map(|state| ScalarValue::try_from_array(state, 0)).collect()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().map_or(0, |states| states.len());
        self.0.merge_batch(states, &vec![0; rows], 1)
    }
}

fn ids(values: &[ArrayRef]) -> Result<&FixedSizeBinaryArray> {
    match values.first().and_then(|values| values.as_fixed_size_binary_opt()) {
        Some(values) => Ok(values),
        None => exec_err!("distinct_ids takes ids"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(width: i32, ids: &[Option<u8>]) -> ArrayRef {
        let ids = ids.iter().map(|id| id.map(|id| vec![id; width as usize]));
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids, width).expect("ids"))
    }

    fn groups(width: i32) -> Groups {
        Groups::new(&DataType::FixedSizeBinary(width)).expect("an id")
    }

    fn counts(array: ArrayRef) -> Vec<i64> {
        array.as_primitive::<datafusion::arrow::datatypes::Int64Type>().values().to_vec()
    }

    #[test]
    fn groups_count_their_own_ids_through_states_and_partial_emission() {
        for width in [8, 16] {
            let rows = column(width, &[Some(1), Some(2), Some(1), None, Some(3), Some(2)]);
            let mut partial = groups(width);
            partial.update_batch(std::slice::from_ref(&rows), &[0, 0, 0, 1, 2, 2], None, 3).expect("updated");
            let mut last = groups(width);
            last.merge_batch(&partial.state(EmitTo::All).expect("a state"), &[2, 1, 0], 3).expect("merged");
            let filter = BooleanArray::from(vec![Some(true), Some(false), None, Some(true), Some(false), Some(true)]);
            let state = last.convert_to_state(&[rows], Some(&filter)).expect("a state");
            last.merge_batch(&state, &[1, 1, 1, 1, 1, 3], 4).expect("merged");
            assert_eq!(counts(last.evaluate(EmitTo::First(2)).expect("counts")), [2, 1]);
            let more = column(width, &[Some(1), Some(9)]);
            last.update_batch(&[more], &[0, 1], None, 2).expect("updated");
            assert_eq!(counts(last.evaluate(EmitTo::All).expect("counts")), [2, 2]);
        }
    }

    #[test]
    fn one_group_counts_through_its_state() {
        let mut first = OneGroup(groups(16));
        assert_eq!(first.evaluate().expect("a count"), ScalarValue::Int64(Some(0)));
        first.update_batch(&[column(16, &[Some(1), None, Some(2), Some(1)])]).expect("updated");
        assert_eq!(first.evaluate().expect("a count"), ScalarValue::Int64(Some(2)));
        let mut last = OneGroup(groups(16));
        last.update_batch(&[column(16, &[Some(2), Some(3)])]).expect("updated");
        let states: Vec<ArrayRef> =
            first.state().expect("a state").iter().map(|state| state.to_array().expect("an array")).collect();
        last.merge_batch(&states).expect("merged");
        assert_eq!(last.evaluate().expect("a count"), ScalarValue::Int64(Some(3)));
    }
}
