//! `orphan_count(span_id, parent_span_id)`: spans of a group whose parent is named and is not in the group.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, BinaryArray, FixedSizeBinaryArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

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
}

/// All ids of the group: the spans', and one parent's for each span that names one.
#[derive(Debug, Default)]
struct Orphans {
    spans: Vec<u64>,
    parents: Vec<u64>,
}

impl Accumulator for Orphans {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [spans, parents] = values else { return exec_err!("orphan_count takes two columns") };
        self.spans.extend(ids(spans.as_fixed_size_binary()));
        self.parents.extend(ids(parents.as_fixed_size_binary()));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.spans.sort_unstable();
        let orphans = self.parents.iter().filter(|parent| self.spans.binary_search(parent).is_err()).count();
        Ok(ScalarValue::Int64(Some(orphans as i64)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + (self.spans.capacity() + self.parents.capacity()) * size_of::<u64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let bytes = |ids: &[u64]| ScalarValue::Binary(Some(ids.iter().flat_map(|id| id.to_be_bytes()).collect()));
        Ok(vec![bytes(&self.spans), bytes(&self.parents)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [spans, parents] = states else { return exec_err!("orphan_count's state is two columns") };
        self.spans.extend(packed(spans.as_binary::<i32>()));
        self.parents.extend(packed(parents.as_binary::<i32>()));
        Ok(())
    }
}

fn ids(column: &FixedSizeBinaryArray) -> impl Iterator<Item = u64> {
    column.iter().flatten().filter_map(|id| id.try_into().ok()).map(u64::from_be_bytes)
}

fn packed(column: &BinaryArray) -> impl Iterator<Item = u64> {
    column
        .iter()
        .flatten()
        .flat_map(|bytes| bytes.chunks_exact(SpanId::LEN))
        .filter_map(|id| id.try_into().ok())
        .map(u64::from_be_bytes)
}
