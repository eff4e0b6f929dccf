//! The groups of rows whose keys are all places in dictionaries: one look for all keys of a row.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, UInt32Array};
use datafusion::arrow::datatypes::UInt16Type;

use crate::engine::combined::{combinable, combine};

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
        let Self { combinations, groups, .. } = self;
        combine(&combinable(keys)?.0, combinations);
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
        let (keys, combinations) = combinable(keys)?;
        self.groups.clear();
        self.groups.resize(combinations, NOT_MET);
        self.dictionaries.extend(keys.iter().map(|key| key.values().clone()));
        Some(())
    }
}
