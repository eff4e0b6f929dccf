//! Counts on their way from one accumulator to another.
//!
//! | field | |
//! |---|---|
//! | `property` | the property's place among the arguments |
//! | `key` | its key; the empty text for one without keys |
//! | `value` | a value; NULL in the entry of the key itself, which stands before those of its values |
//! | `selected`, `others` | how many rows of each side have the value, or any |
//! | `selected_numbers`, `other_numbers` | in the entry of a key with too many values, the sketches of its numbers as bytes |

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Int32Builder, Int64Builder, ListArray, StringBuilder, StructArray,
};
use datafusion::arrow::buffer::OffsetBuffer;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Int32Type, Int64Type};
use datafusion::common::{ScalarValue, exec_err};
use datafusion::error::Result;

use super::Named;
use super::counts::{Both, Merged, Values};

pub(super) fn entry_field() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Struct(fields()), true))
}

fn fields() -> Fields {
    Fields::from(vec![
        Field::new("property", DataType::Int32, false),
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Utf8, true),
        Field::new("selected", DataType::Int64, false),
        Field::new("others", DataType::Int64, false),
        Field::new("selected_numbers", DataType::Binary, true),
        Field::new("other_numbers", DataType::Binary, true),
    ])
}

#[derive(Default)]
struct Entries {
    property: Int32Builder,
    key: StringBuilder,
    value: StringBuilder,
    counts: [Int64Builder; 2],
    numbers: [BinaryBuilder; 2],
}

impl Entries {
    fn push(&mut self, property: usize, key: &str, value: Option<&str>, counts: Both, numbers: [Option<Vec<u8>>; 2]) {
        self.property.append_value(property as i32);
        self.key.append_value(key);
        self.value.append_option(value);
        for (builder, count) in self.counts.iter_mut().zip(counts) {
            builder.append_value(count as i64);
        }
        for (builder, numbers) in self.numbers.iter_mut().zip(numbers) {
            builder.append_option(numbers);
        }
    }

    fn finish(mut self) -> Result<ScalarValue> {
        let [selected, others] = &mut self.counts;
        let [of_selected, of_others] = &mut self.numbers;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(self.property.finish()),
            Arc::new(self.key.finish()),
            Arc::new(self.value.finish()),
            Arc::new(selected.finish()),
            Arc::new(others.finish()),
            Arc::new(of_selected.finish()),
            Arc::new(of_others.finish()),
        ];
        list_of(entry_field(), StructArray::try_new(fields(), columns, None)?)
    }
}

/// One list of all the rows.
pub(super) fn list_of(field: FieldRef, rows: StructArray) -> Result<ScalarValue> {
    let offsets = OffsetBuffer::from_lengths([rows.len()]);
    Ok(ScalarValue::List(Arc::new(ListArray::try_new(field, offsets, Arc::new(rows), None)?)))
}

/// All that was counted.
pub(super) fn entries(properties: &[Named]) -> Result<ScalarValue> {
    let mut entries = Entries::default();
    for (at, property) in properties.iter().enumerate() {
        for key in property.counts.keys() {
            match &key.values {
                Values::Few(few) => {
                    entries.push(at, &key.name, None, key.present, [None, None]);
                    for (value, counts) in few.counts() {
                        entries.push(at, &key.name, Some(value), *counts, [None, None]);
                    }
                }
                Values::Many(sketches) => {
                    let bytes = sketches.each_ref().map(|sketch| {
                        let mut bytes = Vec::new();
                        sketch.write(&mut bytes);
                        Some(bytes)
                    });
                    entries.push(at, &key.name, None, key.present, bytes);
                }
            }
        }
    }
    entries.finish()
}

/// Adds what others counted.
pub(super) fn merge(states: &[ArrayRef], totals: &mut Both, properties: &mut [Named]) -> Result<()> {
    let [selected, others, entries] = states else { return exec_err!("the state of contrasts has three columns") };
    for (total, counts) in totals.iter_mut().zip([selected, others]) {
        *total += counts.as_primitive::<Int64Type>().iter().flatten().map(|count| count as u64).sum::<u64>();
    }
    let entries = entries.as_list::<i32>();
    for row in (0..entries.len()).filter(|row| entries.is_valid(*row)) {
        if merge_entries(entries.value(row).as_struct(), properties).is_none() {
            return exec_err!("the state of contrasts is not what it writes");
        }
    }
    Ok(())
}

fn merge_entries(entries: &StructArray, properties: &mut [Named]) -> Option<()> {
    let property = entries.column(0).as_primitive_opt::<Int32Type>()?;
    let (keys, values) = (entries.column(1).as_string_opt::<i32>()?, entries.column(2).as_string_opt::<i32>()?);
    let count =
        |side: usize, row: usize| Some(entries.column(3 + side).as_primitive_opt::<Int64Type>()?.value(row) as u64);
    let numbers = [5, 6].map(|column| entries.column(column).as_binary_opt::<i32>());
    let [of_selected, of_others] = [numbers[0]?, numbers[1]?];
    let mut at = 0;
    for row in 0..entries.len() {
        let counts = [count(0, row)?, count(1, row)?];
        let into = &mut properties.get_mut(usize::try_from(property.value(row)).ok()?)?.counts;
        if values.is_valid(row) {
            into.merge_values(at, Merged::Value(values.value(row), counts))?;
            continue;
        }
        at = into.merge_key(keys.value(row), counts);
        if of_selected.is_valid(row) {
            into.merge_values(at, Merged::Numbers([of_selected.value(row), of_others.value(row)]))?;
        }
    }
    Some(())
}
