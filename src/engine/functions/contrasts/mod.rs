//! `contrasts(selected, name, property, …)`: how often the selected rows have each value of some properties, and how often the others.
//!
//! A property is a column of texts, numbers, lists of texts (a path) or maps of texts (attributes, of which each key is counted by itself). The
//! answer is a list, a row of it for each value that some rows have and others lack; for a key that some lack; and for numbers. What these
//! mean for the selection is left to SQL, as in `schema/table_functions/compare.sql`.

mod counts;
mod rows;
mod state;

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{ScalarValue, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, Signature, Volatility};

use counts::{Both, Property};

use crate::model::schema::attribute_map_type;

/// Keys of attributes with more different values are ids and the like.
const MAX_VALUES_OF_KEY: usize = 1_000;
/// A large system has some thousand operations, and paths to them.
const MAX_VALUES_OF_COLUMN: usize = 10_000;

/// Between the texts of a list.
const STEP: &str = " > ";

/// The function.
pub(super) fn udaf() -> AggregateUDF {
    AggregateUDF::from(Contrasts { signature: Signature::user_defined(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Contrasts {
    signature: Signature,
}

impl AggregateUDFImpl for Contrasts {
    fn name(&self) -> &str {
        "contrasts"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        const WANTS: &str = "function contrasts wants a condition, then for each property its name and a column";
        let [DataType::Boolean | DataType::Null, properties @ ..] = types else { return plan_err!("{WANTS}") };
        let mut coerced = vec![DataType::Boolean];
        for property in properties.chunks(2) {
            let [name, column] = property else { return plan_err!("{WANTS}") };
            if !name.is_string() {
                return plan_err!("{WANTS}");
            }
            let Some(kind) = Kind::of(column) else {
                return plan_err!("function contrasts takes texts, numbers, lists of texts and maps, not {column}");
            };
            coerced.extend([DataType::Utf8, kind.data_type()]);
        }
        Ok(coerced)
    }

    fn return_type(&self, _types: &[DataType]) -> Result<DataType> {
        Ok(DataType::List(rows::row_field()))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let field = |name, data_type| Arc::new(Field::new(format_state_name(args.name, name), data_type, true));
        Ok(vec![
            field("selected", DataType::Int64),
            field("others", DataType::Int64),
            field("counts", DataType::List(state::entry_field())),
        ])
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return plan_err!("DISTINCT is not supported by contrasts");
        }
        let mut properties = Vec::new();
        for (exprs, fields) in args.exprs[1..].chunks(2).zip(args.expr_fields[1..].chunks(2)) {
            let name = exprs[0].evaluate(&RecordBatch::new_empty(args.schema.clone().into()));
            let Ok(ColumnarValue::Scalar(ScalarValue::Utf8(Some(name)))) = name else {
                return plan_err!("the names of contrasts must be constant texts");
            };
            let Some(kind) = fields.get(1).and_then(|field| Kind::of(field.data_type())) else {
                return plan_err!("contrasts was given a property of no type");
            };
            properties.push(Named { name, kind, counts: Property::new(kind.most_values()) });
        }
        Ok(Box::new(Counting { totals: [0, 0], rows: 0, properties, joined: String::new() }))
    }
}

/// What a property's column has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Number,
    List,
    Map,
}

impl Kind {
    fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            text if text.is_string() || text.is_null() => Self::Text,
            number if number.is_numeric() => Self::Number,
            DataType::List(item) if item.data_type().is_string() || item.data_type().is_null() => Self::List,
            map if *map == attribute_map_type() => Self::Map,
            _ => return None,
        })
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Text => DataType::Utf8View,
            Self::Number => DataType::Float64,
            Self::List => DataType::new_list(DataType::Utf8View, true),
            Self::Map => attribute_map_type(),
        }
    }

    fn most_values(self) -> usize {
        match self {
            Self::Map => MAX_VALUES_OF_KEY,
            _ => MAX_VALUES_OF_COLUMN,
        }
    }
}

#[derive(Debug)]
struct Named {
    name: String,
    kind: Kind,
    counts: Property,
}

#[derive(Debug)]
struct Counting {
    /// How many rows each side has.
    totals: Both,
    /// How many rows were looked at: the number of the last.
    rows: u64,
    properties: Vec<Named>,
    /// The texts of a list as one.
    joined: String,
}

impl Accumulator for Counting {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let Some((selected, columns)) = values.split_first() else { return exec_err!("contrasts wants a condition") };
        let sides = selected.as_boolean();
        for (property, column) in self.properties.iter_mut().zip(columns.chunks(2)) {
            let Some(column) = column.get(1) else { return exec_err!("contrasts lacks a column") };
            property.count(sides, column, self.rows, &mut self.joined)?;
        }
        self.totals[0] += sides.true_count() as u64;
        self.totals[1] += sides.false_count() as u64;
        self.rows += sides.len() as u64;
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        rows::rows(self.totals, &self.properties)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.properties.iter().map(|property| property.counts.heap_bytes()).sum::<usize>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let total = |side: usize| ScalarValue::Int64(Some(self.totals[side] as i64));
        Ok(vec![total(0), total(1), state::entries(&self.properties)?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        state::merge(states, &mut self.totals, &mut self.properties)
    }
}

impl Named {
    /// Counts a column's values; rows follow those that were looked at before. Rows of which the side is NULL are on none.
    fn count(&mut self, sides: &BooleanArray, column: &ArrayRef, before: u64, joined: &mut String) -> Result<()> {
        let wrong = || exec_err!("contrasts was given {} for {}", column.data_type(), self.name);
        let rows = (0..sides.len()).filter(|row| sides.is_valid(*row) && column.is_valid(*row));
        let side = |row: usize| usize::from(!sides.value(row));
        let number = |row: usize| before + row as u64 + 1;
        let counts = &mut self.counts;
        match self.kind {
            Kind::Text => {
                let Some(texts) = column.as_string_view_opt() else { return wrong() };
                rows.for_each(|row| counts.count(side(row), number(row), 0, "", texts.value(row)));
            }
            Kind::Number => {
                let Some(numbers) = column.as_primitive_opt::<Float64Type>() else { return wrong() };
                rows.for_each(|row| counts.count_number(side(row), numbers.value(row)));
            }
            Kind::List => {
                let Some(lists) = column.as_list_opt::<i32>() else { return wrong() };
                let Some(texts) = lists.values().as_string_view_opt() else { return wrong() };
                for row in rows {
                    let items = lists.value_offsets()[row] as usize..lists.value_offsets()[row + 1] as usize;
                    if join(texts, items, joined) {
                        counts.count(side(row), number(row), 0, "", joined);
                    }
                }
            }
            Kind::Map => {
                let Some(map) = column.as_map_opt() else { return wrong() };
                let (keys, values) = (map.keys().as_string_opt::<i32>(), map.values().as_string_opt::<i32>());
                let Some((keys, values)) = keys.zip(values) else { return wrong() };
                for row in rows {
                    let entries = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
                    for (place, entry) in entries.enumerate().filter(|(_, entry)| values.is_valid(*entry)) {
                        counts.count(side(row), number(row), place, keys.value(entry), values.value(entry));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Writes the texts of a list as one; false where there are none.
fn join(texts: &datafusion::arrow::array::StringViewArray, items: std::ops::Range<usize>, out: &mut String) -> bool {
    out.clear();
    let mut is_first = true;
    for item in items.filter(|item| texts.is_valid(*item)) {
        if !is_first {
            out.push_str(STEP);
        }
        out.push_str(texts.value(item));
        is_first = false;
    }
    !is_first
}
