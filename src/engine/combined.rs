//! Places in several dictionaries as one number a row.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, DictionaryArray};
use datafusion::arrow::datatypes::UInt16Type;

/// The most bits of a combination of places: a table of a word for each is 512 KiB, which stays in the processor's second cache.
const MAX_BITS: u32 = 16;

/// Rows in a word of validity.
const WORD: usize = u64::BITS as usize;

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
    combinations.resize(columns.first().map_or(0, |column| column.len()), 0);
    for column in columns {
        let (bits, places, of_null) = (bits(column), column.keys(), column.values().len() as u32);
        let add = |combination: &mut u32, place: u32| *combination = *combination << bits | place;
        match places.nulls() {
            None => {
                let rows = combinations.iter_mut().zip(places.values());
                rows.for_each(|(combination, place)| add(combination, u32::from(*place)));
            }
            // A word of the validity at a time, without a branch for a row.
            Some(nulls) => {
                let rows = combinations.chunks_mut(WORD).zip(places.values().chunks(WORD));
                for ((combinations, places), valid) in rows.zip(nulls.inner().bit_chunks().iter_padded()) {
                    for (at, (combination, place)) in combinations.iter_mut().zip(places).enumerate() {
                        let is_valid = (valid >> at & 1) as u32;
                        add(combination, u32::from(*place) * is_valid + of_null * (1 - is_valid));
                    }
                }
            }
        }
    }
}

/// Bits of a place in a dictionary; there is one more for NULL.
fn bits(column: &DictionaryArray<UInt16Type>) -> u32 {
    (column.values().len() + 1).next_power_of_two().ilog2()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::StringArray;

    use super::*;

    #[test]
    fn rows_have_one_combination_when_their_places_are_the_same() {
        let column = |values: usize, places: Vec<Option<u16>>| -> ArrayRef {
            let values = StringArray::from_iter_values((0..values).map(|n| n.to_string()));
            Arc::new(DictionaryArray::<UInt16Type>::new(places.into(), Arc::new(values)))
        };
        let with_nulls = |step: u16, of: u16| (0..300).map(|n| (n % 11 != 4).then_some(n * step % of)).collect();
        let columns = [column(5, with_nulls(3, 5)), column(1, vec![Some(0); 300]), column(200, with_nulls(7, 200))];
        // A slice begins within a word.
        for (from, rows) in [(0, 300), (37, 200), (63, 2), (5, 0)] {
            let slices: Vec<ArrayRef> = columns.iter().map(|column| column.slice(from, rows)).collect();
            let (slices, most) = combinable(&slices).expect("few combinations");
            let mut combinations = Vec::new();
            combine(&slices, &mut combinations);
            assert_eq!(combinations.len(), rows);
            let places = |row: usize| slices.iter().map(|column| column.key(row)).collect::<Vec<_>>();
            let mut known = std::collections::HashMap::new();
            for (row, combination) in combinations.into_iter().enumerate() {
                assert!((combination as usize) < most);
                assert_eq!(*known.entry(combination).or_insert_with(|| places(row)), places(row));
            }
            let different: std::collections::HashSet<_> = (0..rows).map(places).collect();
            assert_eq!(known.len(), different.len());
        }
    }
}
