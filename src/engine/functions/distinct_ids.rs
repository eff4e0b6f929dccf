//! `distinct_ids(id)`: how many different ids a group has, which `count(DISTINCT trace_id)` becomes.
//!
//! DataFusion keeps a set of boxed values for each group. Here all groups share one table of ids, which numbers them, and a group is a list of
//! numbers: a trace is looked up once for its neighbouring spans, whatever groups they are of.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Int64Array, ListArray};
use datafusion::arrow::buffer::{Buffer, OffsetBuffer};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{HashMap, ScalarValue, exec_err, plan_err};
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

/// An id of up to 16 bytes as two numbers.
type Id = (u64, u64);

#[derive(Debug)]
struct Groups {
    width: i32,
    ids: Numbered,
    groups: Vec<Met>,
    /// What the groups have on the heap.
    met_bytes: usize,
}

/// The ids that all groups met, numbered in the order in which they came.
#[derive(Debug, Default)]
struct Numbered {
    numbers: HashMap<Id, u32>,
    /// The spans of a trace lie together.
    last: Option<(Id, u32)>,
}

/// The numbers of the ids that a group met. Where the spans of a trace lie together they rise, and none is there twice.
#[derive(Debug, Default)]
struct Met {
    numbers: Vec<u32>,
    /// Whether a number came after a greater one: it may have been there before.
    is_mixed: bool,
}

impl Numbered {
    fn number(&mut self, id: Id) -> Result<u32> {
        if let Some((last, number)) = self.last
            && last == id
        {
            return Ok(number);
        }
        let Ok(next) = u32::try_from(self.numbers.len()) else {
            return exec_err!("at most 4 billion different ids are counted");
        };
        let number = *self.numbers.entry(id).or_insert(next);
        self.last = Some((id, number));
        Ok(number)
    }

    /// The ids by their numbers.
    fn ids(&self) -> Vec<Id> {
        let mut ids = vec![(0, 0); self.numbers.len()];
        for (id, number) in &self.numbers {
            ids[*number as usize] = *id;
        }
        ids
    }
}

impl Met {
    /// Adds a number; how many bytes more it takes.
    fn add(&mut self, number: u32) -> usize {
        match self.numbers.last() {
            Some(last) if *last == number => return 0,
            Some(last) => self.is_mixed |= *last > number,
            None => {}
        }
        let before = self.numbers.capacity();
        if self.is_mixed && self.numbers.len() == before {
            self.settle();
            self.is_mixed = self.numbers.last().is_some_and(|last| *last >= number);
            // Room for as many again, or each of the next few would have them all sorted.
            self.numbers.reserve(self.numbers.len());
        }
        self.numbers.push(number);
        (self.numbers.capacity() - before) * size_of::<u32>()
    }

    /// Leaves each number once.
    fn settle(&mut self) {
        if std::mem::take(&mut self.is_mixed) {
            self.numbers.sort_unstable();
            self.numbers.dedup();
        }
    }

    fn heap_bytes(&self) -> usize {
        self.numbers.capacity() * size_of::<u32>()
    }
}

impl Groups {
    fn new(id: &DataType) -> Result<Self> {
        Ok(Self { width: width(id)?, ids: Numbered::default(), groups: Vec::new(), met_bytes: 0 })
    }

    fn grow(&mut self, groups: usize) {
        self.groups.resize_with(groups.max(self.groups.len()), Met::default);
    }

    fn add(&mut self, group: usize, id: &[u8]) -> Result<()> {
        let number = self.ids.number(numbers(id))?;
        self.met_bytes += self.groups[group].add(number);
        Ok(())
    }

    /// Takes the first groups away, with each of their ids once.
    fn take(&mut self, emit_to: EmitTo) -> Vec<Met> {
        let mut taken = emit_to.take_needed(&mut self.groups);
        self.met_bytes -= taken.iter().map(Met::heap_bytes).sum::<usize>();
        taken.iter_mut().for_each(Met::settle);
        taken
    }

    /// Lets go of ids that no group has any longer, once they are most.
    fn forget(&mut self) {
        let left: usize = self.groups.iter().map(|met| met.numbers.len()).sum();
        if left * 2 >= self.ids.numbers.len() {
            return;
        }
        let before = std::mem::take(&mut self.ids);
        let ids = before.ids();
        let mut again: HashMap<u32, u32> = HashMap::new();
        for met in &mut self.groups {
            met.settle();
            for number in &mut met.numbers {
                let next = again.len() as u32;
                *number = *again.entry(*number).or_insert(next);
            }
            met.is_mixed = true;
        }
        self.ids.numbers = again.into_iter().map(|(before, number)| (ids[before as usize], number)).collect();
    }

    fn lists(&self, groups: &[Met]) -> Result<ArrayRef> {
        let ids = self.ids.ids();
        let numbers = || groups.iter().flat_map(|met| &met.numbers);
        let each = numbers().map(|number| ids[*number as usize]);
        self.lists_of(each, groups.iter().map(|met| met.numbers.len()))
    }

    /// Lists of so many of these ids each.
    fn lists_of(&self, ids: impl Iterator<Item = Id>, lengths: impl Iterator<Item = usize>) -> Result<ArrayRef> {
        let width = self.width as usize;
        let mut values = Vec::with_capacity(ids.size_hint().0 * width);
        ids.for_each(|id| values.extend_from_slice(&bytes(id)[..width]));
        let values = FixedSizeBinaryArray::try_new(self.width, Buffer::from_vec(values), None)?;
        let item = Field::new_list_field(DataType::FixedSizeBinary(self.width), true);
        Ok(Arc::new(ListArray::try_new(Arc::new(item), OffsetBuffer::from_lengths(lengths), Arc::new(values), None)?))
    }
}

fn numbers(id: &[u8]) -> Id {
    let part = |at: usize| id.get(at..at + 8).and_then(|part| part.try_into().ok()).map_or(0, u64::from_be_bytes);
    (part(0), part(8))
}

fn bytes((high, low): Id) -> [u8; 16] {
    ((u128::from(high) << 64) | u128::from(low)).to_be_bytes()
}

impl GroupsAccumulator for Groups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups);
        let ids = ids(values)?;
        for (row, group) in group_indices.iter().enumerate() {
            if ids.is_valid(row) && wanted(opt_filter, row) {
                self.add(*group, ids.value(row))?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let taken = self.take(emit_to);
        self.forget();
        Ok(Arc::new(Int64Array::from_iter_values(taken.iter().map(|met| met.numbers.len() as i64))))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let taken = self.take(emit_to);
        let lists = self.lists(&taken)?;
        self.forget();
        Ok(vec![lists])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.grow(total_num_groups);
        let Some(states) = values.first().and_then(|states| states.as_list_opt::<i32>()) else {
            return exec_err!("distinct_ids' state is a list");
        };
        let all = ids(std::slice::from_ref(states.values()))?;
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| states.is_valid(*row)) {
            for at in states.value_offsets()[row]..states.value_offsets()[row + 1] {
                self.add(*group, all.value(at as usize))?;
            }
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let values = ids(values)?;
        let is_in = |row: &usize| values.is_valid(*row) && wanted(opt_filter, *row);
        let ids = (0..values.len()).filter(is_in).map(|row| numbers(values.value(row)));
        Ok(vec![self.lists_of(ids, (0..values.len()).map(|row| usize::from(is_in(&row))))?])
    }

    fn size(&self) -> usize {
        size_of_val(self)
            // An entry of the map has a byte of its own for control.
            + self.ids.numbers.capacity() * (size_of::<(Id, u32)>() + 1)
            + self.groups.capacity() * size_of::<Met>()
            + self.met_bytes
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
        let met = self.0.groups.first_mut();
        Ok(ScalarValue::Int64(Some(met.map_or(0, |met| {
            met.settle();
            met.numbers.len() as i64
        }))))
    }

    fn size(&self) -> usize {
        GroupsAccumulator::size(&self.0)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.0.grow(1);
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

    #[test]
    fn a_number_that_comes_again_when_there_is_no_room_is_one() {
        for rows in 1..100_u32 {
            let mut met = Met::default();
            for row in 0..rows {
                met.add(row % 3);
            }
            met.settle();
            assert_eq!(met.numbers, (0..rows.min(3)).collect::<Vec<_>>(), "{rows} rows");
        }
    }

    #[test]
    fn ids_that_come_in_any_order_are_counted_once() {
        // Three groups, each of which meets ids again and again, in no order; now and then the first of them is taken away.
        let mut counted = groups(16);
        let mut expected: Vec<std::collections::BTreeSet<u8>> = vec![Default::default(); 3];
        let mut drawn = 7_u32;
        for batch in 0..40 {
            let (mut ids, mut of) = (Vec::new(), Vec::new());
            for _ in 0..50 {
                drawn = drawn.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let (id, group) = ((drawn >> 24) as u8, (drawn >> 8) as usize % 3);
                ids.push(Some(id));
                of.push(group);
                expected[group].insert(id);
            }
            counted.update_batch(&[column(16, &ids)], &of, None, 3).expect("updated");
            let held: usize = counted.groups.iter().map(Met::heap_bytes).sum();
            assert_eq!(counted.met_bytes, held);
            if batch % 13 == 12 {
                let first = counted.state(EmitTo::First(1)).expect("a state");
                let mut again = groups(16);
                again.merge_batch(&first, &[0], 1).expect("merged");
                let first = expected.remove(0).len() as i64;
                assert_eq!(counts(again.evaluate(EmitTo::All).expect("counts")), [first]);
                expected.push(Default::default());
            }
        }
        let expected: Vec<i64> = expected.iter().map(|ids| ids.len() as i64).collect();
        assert_eq!(counts(counted.evaluate(EmitTo::All).expect("counts"))[..2], expected[..2]);
        assert_eq!((counted.ids.numbers.len(), counted.met_bytes), (0, 0));
    }

    #[test]
    fn ids_that_no_group_has_any_longer_are_let_go_of() {
        let mut groups = groups(8);
        for first in 0..100_u8 {
            groups.update_batch(&[column(8, &[Some(first), Some(first + 1)])], &[0, 1], None, 2).expect("updated");
            groups.evaluate(EmitTo::First(1)).expect("counts");
            assert!(groups.ids.numbers.len() <= 4, "{}", groups.ids.numbers.len());
        }
        assert_eq!(counts(groups.evaluate(EmitTo::All).expect("counts")), [1]);
    }
}
