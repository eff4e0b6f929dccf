//! Map columns of attributes.

use std::cell::RefCell;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, MapArray, NullBufferBuilder, StringArray, StructArray};
use datafusion::arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use datafusion::arrow::datatypes::DataType;

use super::attributes::{Attribute, TextPool};
use crate::error::{Error, Result};
use crate::model::attribute_types_are_all_strings;
use crate::model::schema::attribute_map_type;

thread_local! {
    static SPARE: RefCell<Vec<MapColumn>> = const { RefCell::new(Vec::new()) };
}

/// The columns that a thread keeps for its next request: one for spans and one for events.
const SPARE_COLUMNS: usize = 2;

/// The most bytes of text in the buffers that are kept: requests are rarely larger, and threads are many.
const SPARE_BYTES: usize = 1 << 20;

/// Builds a map column, one map a row.
#[derive(Debug, Default)]
pub(super) struct MapColumn {
    keys: TextList,
    values: TextList,
    /// Which values are there; `None` as long as all are.
    valid: Option<NullBufferBuilder>,
    /// The entries up to the end of each row.
    ends: Vec<i32>,
    letters: Vec<u8>,
}

/// Texts one behind the other.
#[derive(Debug, Default)]
struct TextList {
    bytes: Vec<u8>,
    ends: Vec<i32>,
}

/// The attributes of a resource or scope, encoded once for all its spans.
#[derive(Debug)]
pub(super) struct EncodedMap {
    /// A column of one row.
    column: MapColumn,
    /// The row's text in the types column.
    pub types: Option<String>,
    /// What one row of it takes.
    pub row_bytes: usize,
}

impl TextList {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    #[inline]
    fn push(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
        // At most MAX_DECODED_BYTES, so 32 bits hold the end.
        self.ends.push(self.bytes.len() as i32);
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, place: usize) -> Option<&str> {
        let start = place.checked_sub(1).map_or(Some(&0), |before| self.ends.get(before))?;
        std::str::from_utf8(self.bytes.get(*start as usize..*self.ends.get(place)? as usize)?).ok()
    }

    /// The texts as Arrow has them, in no more memory than they need.
    fn finish(&self, valid: Option<NullBufferBuilder>) -> Result<ArrayRef> {
        let nulls = valid.and_then(|mut valid| valid.finish());
        let array = StringArray::try_new(offsets(&self.ends), Buffer::from_slice_ref(&self.bytes), nulls);
        Ok(Arc::new(array.map_err(internal)?))
    }
}

impl MapColumn {
    /// An empty column in the buffers of one that this thread finished before: they are as large as requests need, and warm.
    pub fn reused() -> Self {
        SPARE.with_borrow_mut(Vec::pop).unwrap_or_default()
    }

    /// Keeps the buffers for the next request.
    fn put_back(mut self) {
        let bytes = self.keys.bytes.capacity() + self.values.bytes.capacity();
        if bytes <= SPARE_BYTES {
            self.keys.clear();
            self.values.clear();
            self.ends.clear();
            SPARE.with_borrow_mut(|spare| {
                if spare.len() < SPARE_COLUMNS {
                    spare.push(self);
                }
            });
        }
    }

    /// Appends a row; returns its text in the types column.
    #[inline]
    pub fn append<'a>(&mut self, attributes: &[Attribute<'a>], pool: &TextPool) -> Option<&str> {
        self.letters.clear();
        for attribute in attributes {
            self.keys.push(attribute.key);
            self.push_value(attribute.value.text(pool));
            self.letters.push(attribute.value.kind().letter());
        }
        self.end_row();
        if attribute_types_are_all_strings(&self.letters) {
            return None;
        }
        // Letters are ASCII.
        std::str::from_utf8(&self.letters).ok()
    }

    /// Appends a row that is `map`.
    pub fn append_encoded(&mut self, map: &EncodedMap) {
        for place in 0..map.column.keys.len() {
            self.keys.push(map.column.keys.get(place).unwrap_or_default());
            self.push_value(map.column.value(place));
        }
        self.end_row();
    }

    /// The bytes of text so far.
    pub fn text_bytes(&self) -> usize {
        self.keys.bytes.len() + self.values.bytes.len()
    }

    /// The column as Arrow has it; `None` when all its maps are empty.
    pub fn finish(self) -> Result<Option<ArrayRef>> {
        if self.keys.len() == 0 {
            return Ok(None);
        }
        self.finish_all().map(Some)
    }

    /// The column as Arrow has it.
    pub fn finish_all(mut self) -> Result<ArrayRef> {
        let DataType::Map(entries_field, sorted) = attribute_map_type() else {
            return Err(Error::internal("the attribute map type is not a map"));
        };
        let DataType::Struct(fields) = entries_field.data_type().clone() else {
            return Err(Error::internal("the entries of the attribute map type are not a struct"));
        };
        let columns = vec![self.keys.finish(None)?, self.values.finish(self.valid.take())?];
        let entries = StructArray::try_new(fields, columns, None).map_err(internal)?;
        let maps = MapArray::try_new(entries_field, offsets(&self.ends), entries, None, sorted);
        let maps = maps.map_err(internal)?;
        self.put_back();
        Ok(Arc::new(maps))
    }

    #[inline]
    fn push_value(&mut self, value: Option<&str>) {
        if let Some(valid) = &mut self.valid {
            valid.append(value.is_some());
        } else if value.is_none() {
            self.push_first_missing();
        }
        self.values.push(value.unwrap_or_default());
    }

    #[cold]
    fn push_first_missing(&mut self) {
        let mut valid = NullBufferBuilder::new(self.values.len() + 1);
        valid.append_n_non_nulls(self.values.len());
        valid.append_null();
        self.valid = Some(valid);
    }

    fn value(&self, place: usize) -> Option<&str> {
        let is_valid = self.valid.as_ref().is_none_or(|valid| valid.is_valid(place));
        is_valid.then(|| self.values.get(place))?
    }

    #[inline]
    fn end_row(&mut self) {
        self.ends.push(self.keys.len() as i32);
    }
}

impl EncodedMap {
    pub fn new(attributes: &[Attribute<'_>], pool: &TextPool) -> Self {
        let mut column = MapColumn::default();
        let types = column.append(attributes, pool).map(str::to_owned);
        let row_bytes = column.text_bytes() + attributes.len() * ENTRY_BYTES;
        Self { column, types, row_bytes }
    }

    /// The text of the first attribute that is named `key` and has one.
    pub fn get(&self, key: &str) -> Option<&str> {
        let keys = &self.column.keys;
        let place = (0..keys.len()).find(|place| keys.get(*place) == Some(key))?;
        self.column.value(place)
    }
}

/// What an entry of a map takes beside its text: two 32-bit offsets and a type letter.
pub(super) const ENTRY_BYTES: usize = 9;

/// The offsets of a list, map or text column whose rows end at `ends`, which never fall.
pub(super) fn offsets(ends: &[i32]) -> OffsetBuffer<i32> {
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.extend_from_slice(ends);
    OffsetBuffer::new(ScalarBuffer::from(offsets))
}

pub(super) fn internal(error: datafusion::arrow::error::ArrowError) -> Error {
    Error::internal(format!("cannot build a column of spans: {error}"))
}
