//! Exact quantiles: `quantileExact(x, q)` and `percentile_disc` by nearest rank, `percentile_cont` and `median` interpolated.
//!
//! Each keeps all its values, within the statement's memory limit.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array, ListArray};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use super::levels::{coerce, levels_of};
use super::ordered::{Ordered, Pick, has_order, state_fields};
use super::sketches::{by_number, nearest_rank};

/// The exact quantile functions.
pub(super) fn udafs() -> Vec<AggregateUDF> {
    [
        ("quantileexact", Kind::Nearest),
        ("percentile_disc", Kind::Nearest),
        ("percentile_cont", Kind::Interpolated),
        ("median", Kind::Interpolated),
    ]
    .map(|(name, kind)| {
        let aliases: &[&'static str] = match name {
            "percentile_cont" => &["quantile_cont"],
            "percentile_disc" => &["quantile_disc"],
            _ => &[],
        };
        let signature = Signature::user_defined(Volatility::Immutable);
        AggregateUDF::from(Exact { name, kind, signature }).with_aliases(aliases.iter().copied())
    })
    .into()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Nearest,
    Interpolated,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Exact {
    name: &'static str,
    kind: Kind,
    signature: Signature,
}

impl AggregateUDFImpl for Exact {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        if let [value, level] = types
            && self.takes_any(value)
        {
            let level = coerce(self.name, std::slice::from_ref(level), 0)?;
            return Ok([value.clone()].into_iter().chain(level).collect());
        }
        coerce(self.name, types, if self.name == "median" { 0 } else { 1 })
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types.first().filter(|value| self.takes_any(value)).cloned().unwrap_or(DataType::Float64))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(state_fields(args.name, args.return_type()))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn supports_within_group_clause(&self) -> bool {
        self.name.starts_with("percentile")
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let level = levels_of(self.name, &args)?.first().copied().unwrap_or(0.5);
        if args.return_field.data_type() != &DataType::Float64 {
            return Ok(Box::new(Ordered::new(&args, Pick::AtLevel(level))?));
        }
        let descending = args.order_bys.first().is_some_and(|order| order.options.descending);
        Ok(Box::new(Values { kind: self.kind, level, descending, distinct: args.is_distinct, values: Vec::new() }))
    }
}

impl Exact {
    /// Whether a value of this type is one of many that are put in order, and no number.
    fn takes_any(&self, value: &DataType) -> bool {
        self.name == "percentile_disc" && has_order(value) && !value.is_numeric() && !value.is_null()
    }
}

#[derive(Debug)]
struct Values {
    kind: Kind,
    level: f64,
    descending: bool,
    distinct: bool,
    values: Vec<f64>,
}

impl Values {
    fn quantile(&mut self) -> Option<f64> {
        self.values.sort_unstable_by(by_number);
        if self.distinct {
            self.values.dedup();
        }
        let count = self.values.len();
        if count == 0 {
            return None;
        }
        let at = |ascending: usize| self.values[if self.descending { count - 1 - ascending } else { ascending }];
        match self.kind {
            Kind::Nearest => Some(at(nearest_rank(self.level, count as u64) as usize - 1)),
            Kind::Interpolated => {
                let place = self.level * (count - 1) as f64;
                let (low, high) = (at(place.floor() as usize), at(place.ceil() as usize));
                Some(if low == high { low } else { low + (high - low) * place.fract() })
            }
        }
    }
}

impl Accumulator for Values {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some(values) = values.first().and_then(|values| values.as_primitive_opt::<Float64Type>()) else {
            return exec_err!("a quantile's values are doubles");
        };
        self.values.extend(values.iter().flatten().filter(|value| !value.is_nan()));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.quantile()))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.values.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = Float64Array::from(std::mem::take(&mut self.values));
        let offsets = OffsetBuffer::from_lengths([values.len()]);
        let element = Arc::new(Field::new_list_field(DataType::Float64, true));
        Ok(vec![ScalarValue::List(Arc::new(ListArray::new(element, offsets, Arc::new(values), None)))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [states] = states else { return exec_err!("a quantile's state is one column") };
        for list in states.as_list::<i32>().iter().flatten() {
            self.values.extend_from_slice(list.as_primitive::<Float64Type>().values());
        }
        Ok(())
    }
}
