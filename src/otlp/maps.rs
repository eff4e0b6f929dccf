//! Map columns of attributes.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayBuilder, ArrayRef, MapArray, StringArray, StringBuilder, StructArray};
use datafusion::arrow::buffer::{OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::DataType;

use super::attributes::{Attribute, TextPool};
use crate::error::{Error, Result};
use crate::model::attribute_types_are_all_strings;
use crate::model::schema::attribute_map_type;

/// Builds a map column, one map a row.
#[derive(Debug)]
pub(super) struct MapColumn {
    keys: StringBuilder,
    values: StringBuilder,
    ends: Vec<i32>,
    letters: Vec<u8>,
}

/// The attributes of a resource or scope, encoded once for all its spans.
#[derive(Debug)]
pub(super) struct EncodedMap {
    keys: StringArray,
    values: StringArray,
    /// The row's text in the types column.
    pub types: Option<String>,
    /// What one row of it takes.
    pub row_bytes: usize,
}

impl MapColumn {
    pub fn with_capacity(rows: usize, entries: usize, bytes: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self {
            keys: StringBuilder::with_capacity(entries, bytes),
            values: StringBuilder::with_capacity(entries, bytes),
            ends,
            letters: Vec::new(),
        }
    }

    /// Appends a row; returns its text in the types column.
    #[inline]
    pub fn append<'a>(&mut self, attributes: &[Attribute<'a>], pool: &TextPool) -> Option<&str> {
        self.letters.clear();
        for attribute in attributes {
            self.keys.append_value(attribute.key);
            match attribute.value.text(pool) {
                Some(text) => self.values.append_value(text),
                None => self.values.append_null(),
            }
            self.letters.push(attribute.value.kind().letter());
        }
        self.end_row();
        if attribute_types_are_all_strings(&self.letters) {
            return None;
        }
        // Letters are ASCII.
        std::str::from_utf8(&self.letters).ok()
    }

    /// Appends `rows` rows that are all `map`.
    pub fn append_encoded(&mut self, map: &EncodedMap, rows: usize) -> Result<()> {
        if map.keys.is_empty() {
            self.ends.resize(self.ends.len() + rows, self.keys.len() as i32);
            return Ok(());
        }
        if self.keys.is_empty() {
            // Most requests hold one resource: then this is exactly what it takes.
            let entries = rows * map.keys.len();
            self.keys = StringBuilder::with_capacity(entries, rows * map.keys.values().len());
            self.values = StringBuilder::with_capacity(entries, rows * map.values.values().len());
        }
        for _ in 0..rows {
            self.keys.append_array(&map.keys).map_err(internal)?;
            self.values.append_array(&map.values).map_err(internal)?;
            self.end_row();
        }
        Ok(())
    }

    /// The bytes of text so far.
    pub fn text_bytes(&self) -> usize {
        self.keys.values_slice().len() + self.values.values_slice().len()
    }

    /// The column as Arrow has it.
    pub fn finish(&mut self) -> Result<ArrayRef> {
        let DataType::Map(entries_field, sorted) = attribute_map_type() else {
            return Err(Error::internal("the attribute map type is not a map"));
        };
        let DataType::Struct(fields) = entries_field.data_type().clone() else {
            return Err(Error::internal("the entries of the attribute map type are not a struct"));
        };
        let columns: Vec<ArrayRef> = vec![Arc::new(self.keys.finish()), Arc::new(self.values.finish())];
        let entries = StructArray::try_new(fields, columns, None).map_err(internal)?;
        let offsets = offsets(std::mem::replace(&mut self.ends, vec![0]));
        Ok(Arc::new(MapArray::try_new(entries_field, offsets, entries, None, sorted).map_err(internal)?))
    }

    #[inline]
    fn end_row(&mut self) {
        // At most MAX_DECODED_BYTES entries, so 32 bits hold the count.
        self.ends.push(self.keys.len() as i32);
    }
}

impl EncodedMap {
    pub fn new(attributes: &[Attribute<'_>], pool: &TextPool) -> Self {
        let keys = attributes.iter().map(|attribute| Some(attribute.key));
        let values = attributes.iter().map(|attribute| attribute.value.text(pool));
        let letters: String = attributes.iter().map(|attribute| char::from(attribute.value.kind().letter())).collect();
        let (keys, values) = (StringArray::from_iter(keys), StringArray::from_iter(values));
        let row_bytes = keys.values().len() + values.values().len() + attributes.len() * ENTRY_BYTES;
        let types = (!attribute_types_are_all_strings(letters.as_bytes())).then_some(letters);
        Self { keys, values, types, row_bytes }
    }

    /// The text of the first attribute that is named `key` and has one.
    pub fn get(&self, key: &str) -> Option<&str> {
        let place = self.keys.iter().position(|found| found == Some(key))?;
        self.values.is_valid(place).then(|| self.values.value(place))
    }
}

/// What an entry of a map takes beside its text: two 32-bit offsets and a type letter.
pub(super) const ENTRY_BYTES: usize = 9;

/// The offsets of a list or map column; `ends` starts with 0 and never falls.
pub(super) fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
    OffsetBuffer::new(ScalarBuffer::from(ends))
}

pub(super) fn internal(error: datafusion::arrow::error::ArrowError) -> Error {
    Error::internal(format!("cannot build a column of spans: {error}"))
}
