//! Places in several dictionaries as one number a row.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, DictionaryArray};
use datafusion::arrow::datatypes::UInt16Type;

/// The most bits of a combination of places: a table of a word for each is 512 KiB, which stays in the processor's second cache.
const MAX_BITS: u32 = 16;

/// The columns as dictionaries with places of two bytes, and how many combinations of places they may have; `None` when one of them is
/// another array, or when there are too many combinations.
pub(super) fn combinable(columns: &[ArrayRef]) -> Option<(Vec<&DictionaryArray<UInt16Type>>, usize)> {
    let columns: Option<Vec<_>> = columns.iter().map(|column| column.as_dictionary_opt::<UInt16Type>()).collect();
    let columns = columns.filter(|columns| !columns.is_empty())?;
    let bits: u32 = columns.iter().map(|column| bits(column)).sum();
    (bits <= MAX_BITS).then(|| (columns, 1 << bits))
}

/// Writes each row's combination of places; NULL has a place of its own.
pub(super) fn combine(columns: &[&DictionaryArray<UInt16Type>], combinations: &mut Vec<u32>) {
    combinations.clear();
    for column in columns {
        let places = column.keys();
        if combinations.is_empty() {
            combinations.resize(places.len(), 0);
        }
        let bits = bits(column);
        match places.null_count() {
            0 => {
                for (combination, place) in combinations.iter_mut().zip(places.values()) {
                    *combination = *combination << bits | u32::from(*place);
                }
            }
            _ => {
                let of_null = column.values().len() as u32;
                for (combination, place) in combinations.iter_mut().zip(places.iter()) {
                    *combination = *combination << bits | place.map_or(of_null, u32::from);
                }
            }
        }
    }
}

/// Bits of a place in a dictionary; there is one more for NULL.
fn bits(column: &DictionaryArray<UInt16Type>) -> u32 {
    (column.values().len() + 1).next_power_of_two().ilog2()
}
