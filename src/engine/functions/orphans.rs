//! `orphan_count(span_id, parent_span_id)`: spans of a group whose parent is named and is not in the group.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, FixedSizeBinaryArray, Int64Array,
};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
};

use super::groups::{Gathered, Held, wanted};
use crate::model::SpanId;

/// The function.
pub(super) fn udaf() -> AggregateUDF {
    AggregateUDF::from(OrphanCount { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OrphanCount {
    signature: Signature,
}

impl AggregateUDFImpl for OrphanCount {
    fn name(&self) -> &str {
        "orphan_count"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        const ID: DataType = DataType::FixedSizeBinary(SpanId::LEN as i32);
        match types {
            [ID, ID] => Ok(types.to_vec()),
            _ => plan_err!("function orphan_count wants a span id and a parent's span id"),
        }
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn default_value(&self, _data_type: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |name| Arc::new(Field::new(format_state_name(args.name, name), DataType::Binary, true));
        Ok(vec![field("spans"), field("parents")])
    }

    fn accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Orphans::default()))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Held::<Orphans>::default()))
    }
}

/// The ids of one group: the spans', and the parents' that spans name and that are not known to be there.
#[derive(Debug, Default)]
struct Orphans {
    spans: Vec<u64>,
    parents: Vec<u64>,
}

impl Orphans {
    /// Forgets the parents that are there.
    fn resolve(&mut self) {
        self.spans.sort_unstable();
        self.parents.retain(|parent| self.spans.binary_search(parent).is_err());
    }
}

impl Gathered for Orphans {
    fn heap_bytes(&self) -> usize {
        (self.spans.capacity() + self.parents.capacity()) * size_of::<u64>()
    }
}

impl Accumulator for Orphans {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (spans, parents) = columns(values)?;
        self.spans.extend(spans.iter().flatten().filter_map(number));
        self.parents.extend(parents.iter().flatten().filter_map(number));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.resolve();
        Ok(ScalarValue::Int64(Some(self.parents.len() as i64)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.heap_bytes()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.resolve();
        let bytes = |ids: &[u64]| ScalarValue::Binary(Some(pack(ids)));
        Ok(vec![bytes(&self.spans), bytes(&self.parents)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [spans, parents] = states else { return exec_err!("orphan_count's state is two columns") };
        self.spans.extend(spans.as_binary::<i32>().iter().flatten().flat_map(unpack));
        self.parents.extend(parents.as_binary::<i32>().iter().flatten().flat_map(unpack));
        Ok(())
    }
}

/// Takes groups out, each resolved.
fn resolved(groups: &mut Held<Orphans>, emit_to: EmitTo) -> Vec<Orphans> {
    let mut taken = groups.take(emit_to);
    taken.iter_mut().for_each(Orphans::resolve);
    taken
}

impl GroupsAccumulator for Held<Orphans> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        let (spans, parents) = columns(values)?;
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| wanted(opt_filter, *row)) {
            self.change(*group, |orphans| {
                orphans.spans.extend(id(spans, row));
                orphans.parents.extend(id(parents, row));
            });
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let counts = resolved(self, emit_to).into_iter().map(|orphans| orphans.parents.len() as i64);
        Ok(Arc::new(Int64Array::from_iter_values(counts)))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (mut spans, mut parents) = (BinaryBuilder::new(), BinaryBuilder::new());
        for orphans in resolved(self, emit_to) {
            spans.append_value(pack(&orphans.spans));
            parents.append_value(pack(&orphans.parents));
        }
        Ok(vec![Arc::new(spans.finish()), Arc::new(parents.finish())])
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.resize(total_num_groups);
        let [spans, parents] = values else { return exec_err!("orphan_count's state is two columns") };
        let (spans, parents) = (spans.as_binary::<i32>(), parents.as_binary::<i32>());
        for (row, group) in group_indices.iter().enumerate() {
            self.change(*group, |orphans| {
                orphans.spans.extend(unpack(spans.value(row)));
                orphans.parents.extend(unpack(parents.value(row)));
            });
        }
        Ok(())
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let (spans, parents) = columns(values)?;
        let state = |column: &FixedSizeBinaryArray| -> ArrayRef {
            let rows = 0..column.len();
            let taken = |row| if wanted(opt_filter, row) && column.is_valid(row) { column.value(row) } else { &[] };
            Arc::new(BinaryArray::from_iter_values(rows.map(taken)))
        };
        Ok(vec![state(spans), state(parents)])
    }

    fn size(&self) -> usize {
        self.bytes()
    }
}

fn columns(values: &[ArrayRef]) -> Result<(&FixedSizeBinaryArray, &FixedSizeBinaryArray)> {
    match values {
        [spans, parents] => Ok((spans.as_fixed_size_binary(), parents.as_fixed_size_binary())),
        _ => exec_err!("orphan_count takes two columns"),
    }
}

fn id(column: &FixedSizeBinaryArray, row: usize) -> Option<u64> {
    if column.is_valid(row) { number(column.value(row)) } else { None }
}

fn number(id: &[u8]) -> Option<u64> {
    id.try_into().ok().map(u64::from_be_bytes)
}

fn pack(ids: &[u64]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.to_be_bytes()).collect()
}

fn unpack(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(SpanId::LEN).filter_map(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::datatypes::Int64Type;

    fn ids(ids: &[Option<u64>]) -> ArrayRef {
        let bytes = ids.iter().map(|id| id.map(u64::to_be_bytes));
        Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(bytes, SpanId::LEN as i32).expect("ids"))
    }

    fn counts(array: &ArrayRef) -> Vec<i64> {
        array.as_primitive::<Int64Type>().values().to_vec()
    }

    #[test]
    fn a_parent_is_found_in_its_own_group_whichever_part_it_came_in() {
        let mut parts = [Held::<Orphans>::default(), Held::default()];
        let (spans, parents) = (ids(&[Some(2), Some(3), Some(4)]), ids(&[Some(1), Some(2), Some(9)]));
        parts[0].update_batch(&[spans, parents], &[0, 0, 1], None, 2).expect("updated");
        parts[1].update_batch(&[ids(&[Some(1), Some(5)]), ids(&[None, Some(2)])], &[0, 1], None, 2).expect("updated");
        let mut whole = Held::<Orphans>::default();
        for part in &mut parts {
            let state = part.state(EmitTo::All).expect("a state");
            whole.merge_batch(&state, &[0, 1], 2).expect("merged");
        }
        let row = [ids(&[Some(7)]), ids(&[Some(7)])];
        let state = whole.convert_to_state(&row, None).expect("a state");
        whole.merge_batch(&state, &[2], 3).expect("merged");
        assert_eq!(counts(&whole.evaluate(EmitTo::First(1)).expect("counts")), [0]);
        assert_eq!(counts(&whole.evaluate(EmitTo::All).expect("counts")), [2, 0]);
    }
}
