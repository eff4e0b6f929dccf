//! Which attributes a set of batches has, counted in one pass that also numbers each entry's key.

use datafusion::arrow::array::{Array, AsArray, MapArray, StringArray, StringViewArray};

use super::key_table::{KeyTable, NO_KEY};
use super::names::{AttributeKey, Owner, PromotedColumn, Scalar};
use crate::error::{Error, Result};
use crate::model::{AttributeType, SpanBatch};

/// In how many rows a key's first value is of which type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct KindCounts {
    /// By [`Scalar`].
    pub scalars: [u64; 4],
    /// Bytes, arrays, lists: values that no column takes.
    pub others: u64,
    /// No value, which reads as NULL.
    pub empty: u64,
}

impl KindCounts {
    /// The rows in which a column would have a value.
    pub fn in_columns(&self) -> u64 {
        self.scalars.iter().sum()
    }

    /// The columns that would have a value.
    pub fn columns(self, key: &AttributeKey) -> impl Iterator<Item = PromotedColumn> {
        let occurs = Scalar::ALL.into_iter().filter(move |scalar| self.scalars[*scalar as usize] > 0);
        occurs.map(|scalar| PromotedColumn { key: key.clone(), scalar })
    }
}

/// Counts the attributes of batches that go into the same files.
#[derive(Debug, Default)]
pub struct Census {
    owners: [OwnerCensus; 3],
    rows: u64,
}

#[derive(Debug, Default)]
struct OwnerCensus {
    table: KeyTable,
    counts: Vec<KindCounts>,
    /// By key number: the last row that had the key, counted from 1 over all rows.
    last_row: Vec<u64>,
    row: u64,
    /// By place within the row: the key that stood there last. Neighbours mostly have the same keys in the same places.
    expected: Vec<u16>,
    /// Whether keys came that found no number any more.
    is_full: bool,
}

/// An attribute map as a batch keeps it, with the number of each entry's key.
#[derive(Debug)]
pub(super) struct ClassifiedMap {
    map: MapArray,
    pub keys: StringArray,
    pub values: StringArray,
    /// `None` when all are strings.
    types: Option<StringViewArray>,
    /// For each entry of the map, from its first row's first, the key's number; [`NO_KEY`] for entries that stay in the map.
    pub numbers: Vec<u16>,
}

impl Census {
    /// A census in which these keys have the first numbers of their owners, in order, whatever else comes.
    pub fn new(keys: &[AttributeKey]) -> Self {
        let mut census = Self::default();
        for key in keys {
            census.owners[key.owner as usize].number(&key.key);
        }
        census
    }

    /// The rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Counts a batch.
    pub fn count(&mut self, batch: &SpanBatch) -> Result<()> {
        self.add(batch).map(drop)
    }

    /// Counts a batch and numbers its keys, for each [`Owner`]; `None` where the batch has no attributes at all. Those of a resource or scope
    /// count once for each of its spans.
    ///
    /// # Errors
    /// An internal error when the batch has other columns.
    pub(super) fn add(&mut self, batch: &SpanBatch) -> Result<[Option<ClassifiedMap>; 3]> {
        self.rows += batch.num_rows() as u64;
        let mut spans_of = vec![0; batch.owners()];
        batch.owner_of().iter().for_each(|owner| spans_of[*owner as usize] += 1);
        let [span, resource, scope] = &mut self.owners;
        let maps = Owner::ALL.map(|owner| columns_of(batch, owner));
        let [span_map, resource_map, scope_map] = maps;
        Ok([
            span_map?.map(|map| span.add(map, |_| 1)),
            resource_map?.map(|map| resource.add(map, |owner| spans_of[owner])),
            scope_map?.map(|map| scope.add(map, |owner| spans_of[owner])),
        ])
    }

    /// The keys in order of their numbers, with their counts.
    pub(super) fn counts(&self, owner: Owner) -> impl Iterator<Item = (&str, &KindCounts)> {
        let owner = &self.owners[owner as usize];
        owner.table.keys().iter().map(|key| &**key).zip(&owner.counts)
    }

    /// Whether the owner has keys that were not counted.
    pub(super) fn is_full(&self, owner: Owner) -> bool {
        self.owners[owner as usize].is_full
    }

    pub(super) fn count_of(&self, key: &AttributeKey) -> KindCounts {
        let found = self.counts(key.owner).find(|(known, _)| *known == key.key);
        found.map(|(_, counts)| *counts).unwrap_or_default()
    }
}

fn columns_of(batch: &SpanBatch, owner: Owner) -> Result<Option<ClassifiedMap>> {
    let wrong = || Error::internal(format!("{} of a batch of spans are no map of text", owner.map_column()));
    let Some(map) = batch.kept_by_name(owner.map_column()) else { return Ok(None) };
    let map = map.as_map_opt().ok_or_else(wrong)?.clone();
    let keys = map.keys().as_string_opt::<i32>().ok_or_else(wrong)?.clone();
    let values = map.values().as_string_opt::<i32>().ok_or_else(wrong)?.clone();
    let types = match batch.kept_by_name(owner.types_column()) {
        Some(types) => Some(types.as_string_view_opt().ok_or_else(wrong)?.clone()),
        None => None,
    };
    Ok(Some(ClassifiedMap { map, keys, values, types, numbers: Vec::new() }))
}

impl ClassifiedMap {
    pub fn rows(&self) -> usize {
        self.map.len()
    }

    /// The entries of a row, counted as `numbers` counts them and as the map does.
    #[inline]
    pub fn entries(&self, row: usize) -> (usize, std::ops::Range<usize>) {
        let offsets = self.map.value_offsets();
        let (first, start, end) = (offsets[0] as usize, offsets[row] as usize, offsets[row + 1] as usize);
        (start - first, start..end)
    }

    /// The letters of a row's entries; `None` when all are strings.
    #[inline]
    pub fn letters(&self, row: usize) -> Option<&[u8]> {
        let types = self.types.as_ref().filter(|types| types.is_valid(row))?;
        Some(types.value(row).as_bytes())
    }
}

/// The letter of the entry at `place` of a row with these letters.
#[inline]
pub(super) fn letter_at(letters: Option<&[u8]>, place: usize) -> u8 {
    match letters {
        None => AttributeType::String.letter(),
        Some(letters) => letters.get(place).copied().unwrap_or(AttributeType::OtlpJson.letter()),
    }
}

impl OwnerCensus {
    fn number(&mut self, key: &str) -> u16 {
        let number = self.table.number(key);
        if number == NO_KEY {
            self.is_full = true;
        } else if number as usize == self.counts.len() {
            self.counts.push(KindCounts::default());
            self.last_row.push(0);
        }
        number
    }

    /// Counts each row of a map as often as `spans_of` says.
    fn add(&mut self, mut map: ClassifiedMap, spans_of: impl Fn(usize) -> u64) -> ClassifiedMap {
        let entries = map.map.value_offsets()[map.rows()] - map.map.value_offsets()[0];
        let mut numbers = Vec::with_capacity(entries as usize);
        for row in 0..map.rows() {
            self.row += 1;
            let (letters, spans) = (map.letters(row), spans_of(row));
            for (place, entry) in map.entries(row).1.enumerate() {
                let number = self.number_at(place, map.keys.value(entry));
                let scalar = self.count(number, letter_at(letters, place), map.values.is_valid(entry), spans);
                numbers.push(if scalar { number } else { NO_KEY });
            }
        }
        map.numbers = numbers;
        map
    }

    #[inline]
    fn number_at(&mut self, place: usize, key: &str) -> u16 {
        if let Some(expected) = self.expected.get(place)
            && self.table.is(*expected, key)
        {
            return *expected;
        }
        let number = self.number(key);
        match self.expected.get_mut(place) {
            Some(expected) => *expected = number,
            None => self.expected.push(number),
        }
        number
    }

    /// Counts an entry of as many spans; tells whether it is its key's first in the row and a scalar, so that a column may take it.
    #[inline]
    fn count(&mut self, number: u16, letter: u8, has_value: bool, spans: u64) -> bool {
        let Some(last_row) = self.last_row.get_mut(number as usize) else { return false };
        if *last_row == self.row {
            return false;
        }
        *last_row = self.row;
        let counts = &mut self.counts[number as usize];
        match Scalar::from_letter(letter) {
            _ if !has_value => counts.empty += spans,
            None => counts.others += spans,
            Some(scalar) => {
                counts.scalars[scalar as usize] += spans;
                return true;
            }
        }
        false
    }
}
