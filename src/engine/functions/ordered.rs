//! Quantiles and the most frequent of values of any type that has an order: `percentile_disc` of texts and times, `mode`.
//!
//! Values are kept as rows that compare by their bytes, within the statement's memory limit.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, ListArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::compute::{filter, is_not_null};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::arrow::row::{Row, RowConverter, Rows, SortField};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use super::sketches::nearest_rank;

/// `mode() WITHIN GROUP (ORDER BY x)`: the most frequent value, the first in order among those that are equally frequent.
pub(super) fn mode_udaf() -> AggregateUDF {
    AggregateUDF::from(Mode { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Mode {
    signature: Signature,
}

impl AggregateUDFImpl for Mode {
    fn name(&self) -> &str {
        "mode"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [value] if has_order(value) => Ok(types.to_vec()),
            [value] => plan_err!("function mode does not take {value}, which has no order"),
            _ => plan_err!("function mode is written mode() WITHIN GROUP (ORDER BY x)"),
        }
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().cloned().unwrap_or(DataType::Null))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(args.name, args.return_type()))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Ordered::new(&args, Pick::MostFrequent)?))
    }
}

/// Whether values of a type can be put in order.
pub(super) fn has_order(data_type: &DataType) -> bool {
    !data_type.is_nested()
}

/// The state of an aggregate that keeps all its values.
pub(super) fn state_fields(name: &str, data_type: &DataType) -> Vec<FieldRef> {
    let list = DataType::new_list(data_type.clone(), true);
    vec![Arc::new(Field::new(format_state_name(name, "values"), list, true))]
}

/// Which value is the answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pick {
    /// The smallest that at least this share of all values do not exceed.
    AtLevel(f64),
    MostFrequent,
}

/// The values of one group.
#[derive(Debug)]
pub(super) struct Ordered {
    pick: Pick,
    descending: bool,
    distinct: bool,
    data_type: DataType,
    converter: RowConverter,
    rows: Rows,
}

impl Ordered {
    pub(super) fn new(args: &AccumulatorArgs, pick: Pick) -> Result<Self> {
        let data_type = args.return_field.data_type().clone();
        let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
        let rows = converter.empty_rows(0, 0);
        let descending = args.order_bys.first().is_some_and(|order| order.options.descending);
        Ok(Self { pick, descending, distinct: args.is_distinct, data_type, converter, rows })
    }

    fn add(&mut self, values: &ArrayRef) -> Result<()> {
        let values = match values.null_count() {
            0 => values.clone(),
            _ => filter(values, &is_not_null(values)?)?,
        };
        Ok(self.converter.append(&mut self.rows, &[values])?)
    }

    fn picked(&self) -> Option<Row<'_>> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_unstable();
        if self.distinct {
            rows.dedup();
        }
        if self.descending {
            rows.reverse();
        }
        match self.pick {
            _ if rows.is_empty() => None,
            Pick::AtLevel(level) => rows.get(nearest_rank(level, rows.len() as u64) as usize - 1).copied(),
            Pick::MostFrequent => {
                let longest =
                    rows.chunk_by(|a, b| a == b).reduce(|best, run| if run.len() > best.len() { run } else { best });
                longest?.first().copied()
            }
        }
    }
}

impl Accumulator for Ordered {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first() else { return exec_err!("an ordered set has values") };
        self.add(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let Some(picked) = self.picked() else { return ScalarValue::try_from(&self.data_type) };
        match self.converter.convert_rows([picked])?.first() {
            Some(value) => ScalarValue::try_from_array(value, 0),
            None => exec_err!("a row without its value"),
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.converter.size() + self.rows.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = self.converter.convert_rows(&self.rows)?;
        let [values] = values.as_slice() else { return exec_err!("rows of one column") };
        let offsets = OffsetBuffer::from_lengths([values.len()]);
        let element = Arc::new(Field::new_list_field(self.data_type.clone(), true));
        Ok(vec![ScalarValue::List(Arc::new(ListArray::try_new(element, offsets, values.clone(), None)?))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(states) = states.first().and_then(|states| states.as_list_opt::<i32>()) else {
            return exec_err!("the state of an ordered set is a list");
        };
        for values in states.iter().flatten() {
            self.add(&values)?;
        }
        Ok(())
    }
}
