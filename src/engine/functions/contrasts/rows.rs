//! What is told of the counts.
//!
//! | field | |
//! |---|---|
//! | `property` | its name |
//! | `comparison` | `value`: the rows that have a value; `absent`: those that lack a key; `numbers`: those whose value is a number |
//! | `key`, `value` | NULL where there is none |
//! | `selected`, `others` | how many rows of each side |
//! | `selected_of`, `others_of` | how many rows each side has |
//! | `selected_numbers`, `other_numbers` | the sketches of numbers |

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, BinaryBuilder, Int64Builder, StringViewBuilder, StructArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::ScalarValue;
use datafusion::error::Result;

use super::counts::{Both, Key, Values};
use super::state::list_of;
use super::{Kind, Named};
use crate::engine::functions::sketches::Sketch;

/// Fewer different values are compared one by one and not as numbers: flags, codes.
const FEW_NUMBERS: usize = 10;

pub(super) fn row_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(fields()), true))
}

fn fields() -> Fields {
    Fields::from(vec![
        Field::new("property", DataType::Utf8View, false),
        Field::new("comparison", DataType::Utf8View, false),
        Field::new("key", DataType::Utf8View, true),
        Field::new("value", DataType::Utf8View, true),
        Field::new("selected", DataType::Int64, false),
        Field::new("selected_of", DataType::Int64, false),
        Field::new("others", DataType::Int64, false),
        Field::new("others_of", DataType::Int64, false),
        Field::new("selected_numbers", DataType::Binary, true),
        Field::new("other_numbers", DataType::Binary, true),
    ])
}

/// The rows of all properties. There are none when a side has no rows.
pub(super) fn rows(totals: Both, properties: &[Named]) -> Result<ScalarValue> {
    let mut rows = Rows { totals, ..Rows::default() };
    if totals.iter().all(|total| *total > 0) {
        for property in properties {
            let mut keys: Vec<&Key> = property.counts.keys().iter().collect();
            keys.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            keys.into_iter().for_each(|key| rows.add_key(property, key));
        }
    }
    rows.finish()
}

#[derive(Default)]
struct Rows {
    totals: Both,
    property: StringViewBuilder,
    comparison: StringViewBuilder,
    key: StringViewBuilder,
    value: StringViewBuilder,
    counts: [Int64Builder; 4],
    numbers: [BinaryBuilder; 2],
}

impl Rows {
    fn add_key(&mut self, property: &Named, key: &Key) {
        let name = (property.kind == Kind::Map).then_some(&*key.name);
        let mut push = |comparison, value, counts, numbers| {
            self.push([&property.name, comparison], [name, value], counts, numbers);
        };
        let (several, numbers) = match &key.values {
            Values::Few(few) => {
                let mut values: Vec<_> = few.counts().iter().collect();
                values.sort_unstable_by(|a, b| a.0.cmp(&b.0));
                for (value, counts) in values {
                    push("value", Some(&**value), *counts, None);
                }
                (few.counts().len() > 1, (few.counts().len() > FEW_NUMBERS).then(|| few.numbers()))
            }
            Values::Many(sketches) => (true, Some(sketches.clone())),
        };
        if let Some(sketches) = numbers {
            let counts = sketches.each_ref().map(Sketch::count);
            let are_most = 2 * (counts[0] + counts[1]) >= key.present[0] + key.present[1];
            if are_most && counts.iter().all(|count| *count > 0) {
                push("numbers", None, counts, Some(sketches));
            }
        }
        // That a key with one value is absent says the same as that it does not have that value.
        if several {
            let absent = [0, 1].map(|side| self.totals[side].saturating_sub(key.present[side]));
            self.push([&property.name, "absent"], [name, None], absent, None);
        }
    }

    fn push(&mut self, of: [&str; 2], said: [Option<&str>; 2], counts: Both, numbers: Option<[Sketch; 2]>) {
        let all = self.totals[0] + self.totals[1];
        // What is true of all rows, or of none, distinguishes nothing.
        if numbers.is_none() && [0, all].contains(&(counts[0] + counts[1])) {
            return;
        }
        self.property.append_value(of[0]);
        self.comparison.append_value(of[1]);
        self.key.append_option(said[0]);
        self.value.append_option(said[1]);
        let counts = [counts[0], self.totals[0], counts[1], self.totals[1]];
        for (builder, count) in self.counts.iter_mut().zip(counts) {
            builder.append_value(count as i64);
        }
        for side in 0..2 {
            self.numbers[side].append_option(numbers.as_ref().and_then(|sketches| sketches[side].to_value()));
        }
    }

    fn finish(mut self) -> Result<ScalarValue> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.property.finish()),
            Arc::new(self.comparison.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.value.finish()),
        ];
        columns.extend(self.counts.iter_mut().map(|counts| Arc::new(counts.finish()) as ArrayRef));
        columns.extend(self.numbers.iter_mut().map(|numbers| Arc::new(numbers.finish()) as ArrayRef));
        list_of(row_field(), StructArray::try_new(fields(), columns, None)?)
    }
}
