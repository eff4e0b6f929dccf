//! `array_agg` that counts the texts that it holds: DataFusion's keeps the columns that it is given, and counts 16 bytes for a view of a text,
//! however long the text is.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::engine::functions::wrapped::said_by_inner;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::buffer::Buffer;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{HashMap, ScalarValue};
use datafusion::error::Result;
use datafusion::functions_aggregate::array_agg::ArrayAgg;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF};

/// The function.
pub(in crate::engine::functions) fn counted() -> AggregateUDF {
    AggregateUDF::from(CountedArrayAgg { inner: AggregateUDF::from(ArrayAgg::default()) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CountedArrayAgg {
    inner: AggregateUDF,
}

impl AggregateUDFImpl for CountedArrayAgg {
    said_by_inner!();

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.inner.state_fields(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn with_beneficial_ordering(self: Arc<Self>, beneficial: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let inner = self.inner.clone().with_beneficial_ordering(beneficial)?;
        Ok(inner.map(|inner| Arc::new(Self { inner }) as _))
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let keeps_columns = !args.is_distinct && args.order_bys.is_empty();
        let inner = self.inner.accumulator(args)?;
        Ok(match keeps_columns {
            true => Box::new(Counted { inner, held: Held::default() }),
            // Others copy values, and count the copies.
            false => inner,
        })
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(CountedGroups { inner: self.inner.create_groups_accumulator(args)?, held: Held::default() }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Reversed(Arc::new(counted()))
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.inner.supports_null_handling_clause()
    }
}

/// The buffers of texts that columns keep alive, each counted once.
#[derive(Debug, Default)]
struct Held {
    /// For each column, the largest group that has a value of it, or without groups its rows; and its buffers.
    columns: VecDeque<(usize, Vec<Buffer>)>,
    /// How many columns have a buffer, by where it lies.
    times: HashMap<usize, usize>,
    bytes: usize,
}

impl Held {
    fn add(&mut self, column: &ArrayRef, last_group_or_rows: usize) {
        let buffers = text_buffers(column.as_ref());
        if buffers.is_empty() {
            return;
        }
        for buffer in &buffers {
            let times = self.times.entry(place(buffer)).or_default();
            *times += 1;
            if *times == 1 {
                self.bytes += buffer.capacity();
            }
        }
        self.columns.push_back((last_group_or_rows, buffers));
    }

    /// The first groups are gone, and columns with them that have values of no other group.
    fn emit(&mut self, groups: EmitTo) {
        let EmitTo::First(count) = groups else {
            *self = Self::default();
            return;
        };
        for (last_group, buffers) in std::mem::take(&mut self.columns) {
            match last_group.checked_sub(count) {
                Some(last_group) => self.columns.push_back((last_group, buffers)),
                None => buffers.iter().for_each(|buffer| self.let_go(buffer)),
            }
        }
    }

    /// The first rows are gone.
    fn retract(&mut self, mut rows: usize) {
        while let Some((left, _)) = self.columns.front_mut() {
            if *left > rows {
                *left -= rows;
                return;
            }
            rows -= *left;
            if let Some((_, buffers)) = self.columns.pop_front() {
                buffers.iter().for_each(|buffer| self.let_go(buffer));
            }
        }
    }

    fn let_go(&mut self, buffer: &Buffer) {
        if let Some(times) = self.times.get_mut(&place(buffer)) {
            *times -= 1;
            if *times == 0 {
                self.times.remove(&place(buffer));
                self.bytes -= buffer.capacity();
            }
        }
    }

    fn size(&self) -> usize {
        let buffers: usize = self.columns.iter().map(|(_, buffers)| buffers.capacity() * size_of::<Buffer>()).sum();
        self.bytes + buffers
    }
}

fn place(buffer: &Buffer) -> usize {
    buffer.data_ptr().as_ptr() as usize
}

/// The buffers that views of texts point into, also those of lists' elements.
fn text_buffers(column: &dyn Array) -> Vec<Buffer> {
    match column.data_type() {
        DataType::Utf8View => column.as_string_view().data_buffers().to_vec(),
        DataType::BinaryView => column.as_binary_view().data_buffers().to_vec(),
        DataType::List(_) => text_buffers(column.as_list::<i32>().values().as_ref()),
        _ => Vec::new(),
    }
}

#[derive(Debug)]
struct Counted {
    inner: Box<dyn Accumulator>,
    held: Held,
}

impl Counted {
    fn hold(&mut self, columns: &[ArrayRef]) {
        columns.iter().for_each(|column| self.held.add(column, column.len()));
    }
}

impl Accumulator for Counted {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.hold(values);
        self.inner.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.inner.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size() + self.held.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.hold(states);
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.held.retract(values.first().map_or(0, |values| values.len()));
        self.inner.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

struct CountedGroups {
    inner: Box<dyn GroupsAccumulator>,
    held: Held,
}

impl CountedGroups {
    fn hold(&mut self, columns: &[ArrayRef], groups: &[usize]) {
        let last_group = groups.iter().copied().max().unwrap_or(0);
        columns.iter().for_each(|column| self.held.add(column, last_group));
    }
}

impl GroupsAccumulator for CountedGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total_groups: usize,
    ) -> Result<()> {
        self.hold(values, groups);
        self.inner.update_batch(values, groups, filter, total_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.held.emit(emit_to);
        self.inner.evaluate(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.held.emit(emit_to);
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total_groups: usize) -> Result<()> {
        self.hold(values, groups);
        self.inner.merge_batch(values, groups, total_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size() + self.held.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::StringViewArray;

    fn column(texts: usize) -> ArrayRef {
        Arc::new(StringViewArray::from_iter_values((0..texts).map(|n| format!("{n:01000}"))))
    }

    #[test]
    fn texts_count_once_as_long_as_a_group_or_row_has_them() {
        let (first, second) = (column(100), column(50));
        let bytes = |column: &ArrayRef| text_buffers(column.as_ref()).iter().map(Buffer::capacity).sum::<usize>();
        assert!(bytes(&first) >= 100_000);
        let mut groups = Held::default();
        groups.add(&first, 3);
        groups.add(&first.slice(10, 5), 7);
        groups.add(&second, 8);
        assert_eq!(groups.bytes, bytes(&first) + bytes(&second));
        groups.emit(EmitTo::First(4));
        assert_eq!(groups.bytes, bytes(&first) + bytes(&second), "another column has texts of the first");
        groups.emit(EmitTo::First(4));
        assert_eq!(groups.bytes, bytes(&second));
        groups.emit(EmitTo::All);
        assert_eq!((groups.bytes, groups.times.len()), (0, 0));

        let mut rows = Held::default();
        rows.add(&first, 100);
        rows.add(&second, 50);
        rows.retract(99);
        assert_eq!(rows.bytes, bytes(&first) + bytes(&second));
        rows.retract(2);
        assert_eq!(rows.bytes, bytes(&second));
        rows.retract(49);
        assert_eq!((rows.bytes, rows.times.len()), (0, 0));
    }
}
