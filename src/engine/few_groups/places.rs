//! The groups of rows whose keys are all places in dictionaries: one look for all keys of a row.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use datafusion::arrow::datatypes::UInt16Type;

/// The most bits of a combination of places: a table of 512 KiB of groups, which stays in the processor's second cache.
const MAX_BITS: u32 = 16;
const NOT_MET: usize = usize::MAX;

/// What group each combination of places is. Batches of one row group share their dictionaries.
#[derive(Default)]
pub(super) struct Places {
    dictionaries: Vec<ArrayRef>,
    /// [`NOT_MET`] for a combination that no row had.
    groups: Vec<usize>,
    /// Of the rows of the last batch.
    combinations: Vec<u32>,
}

impl Places {
    /// Writes each row's group to `out`, [`NOT_MET`] where the combination is new, and returns the rows of these. `None` when the keys are not
    /// all places in dictionaries, or when there are too many combinations.
    pub fn groups(&mut self, keys: &[ArrayRef], out: &mut Vec<usize>) -> Option<UInt32Array> {
        if !self.knows(keys) {
            self.learn(keys)?;
        }
        self.combine(keys);
        let Self { combinations, groups, .. } = self;
        out.clear();
        out.extend(combinations.iter().map(|combination| groups[*combination as usize]));
        if !out.contains(&NOT_MET) {
            return Some(UInt32Array::new_null(0));
        }
        let new = (0..).zip(out.iter()).filter_map(|(row, group)| (*group == NOT_MET).then_some(row));
        Some(UInt32Array::from_iter_values(new))
    }

    /// Notes the groups of rows that were new.
    pub fn note(&mut self, rows: &UInt32Array, groups: &[usize], out: &mut [usize]) {
        for (row, group) in rows.values().iter().zip(groups) {
            self.groups[self.combinations[*row as usize] as usize] = *group;
            out[*row as usize] = *group;
        }
    }

    pub fn heap_bytes(&self) -> usize {
        self.groups.capacity() * size_of::<usize>() + self.combinations.capacity() * size_of::<u32>()
    }

    fn knows(&self, keys: &[ArrayRef]) -> bool {
        !keys.is_empty()
            && self.dictionaries.len() == keys.len()
            && keys.iter().zip(&self.dictionaries).all(|(key, known)| {
                key.as_dictionary_opt::<UInt16Type>().is_some_and(|key| Arc::ptr_eq(key.values(), known))
            })
    }

    fn learn(&mut self, keys: &[ArrayRef]) -> Option<()> {
        self.dictionaries.clear();
        let dictionaries: Option<Vec<_>> =
            keys.iter().map(|key| Some(key.as_dictionary_opt::<UInt16Type>()?.values().clone())).collect();
        let dictionaries = dictionaries.filter(|dictionaries| !dictionaries.is_empty())?;
        let bits: u32 = dictionaries.iter().map(bits).sum();
        if bits > MAX_BITS {
            return None;
        }
        self.groups.clear();
        self.groups.resize(1 << bits, NOT_MET);
        self.dictionaries = dictionaries;
        Some(())
    }

    fn combine(&mut self, keys: &[ArrayRef]) {
        let Self { dictionaries, combinations, .. } = self;
        combinations.clear();
        for (key, values) in keys.iter().zip(dictionaries) {
            let Some(key) = key.as_dictionary_opt::<UInt16Type>() else { continue };
            let places = key.keys();
            if combinations.is_empty() {
                combinations.resize(places.len(), 0);
            }
            let bits = bits(values);
            match places.null_count() {
                0 => {
                    for (combination, place) in combinations.iter_mut().zip(places.values()) {
                        *combination = *combination << bits | u32::from(*place);
                    }
                }
                _ => {
                    for (combination, place) in combinations.iter_mut().zip(places.iter()) {
                        *combination = *combination << bits | place.map_or(values.len() as u32, u32::from);
                    }
                }
            }
        }
    }
}

/// Bits of a place in a dictionary; there is one more for NULL.
fn bits(values: &ArrayRef) -> u32 {
    (values.len() + 1).next_power_of_two().ilog2()
}
