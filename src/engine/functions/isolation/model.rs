//! What a forest is grown from, as a value: a sample of the rows, with the seed and the number of trees.
//!
//! A row's place in the sample comes of its key and the seed, and the rows with the least places are taken: whatever order and parts they come
//! in, the value is the same.
//!
//! | bytes | what |
//! |---|---|
//! | 2 | `if` |
//! | 1 | the version of this layout, 1 |
//! | 8 | the seed, little-endian as all that follows |
//! | 2 | how many trees |
//! | 2 | how many features a row has |
//! | 8 × features | the first row's features, doubles |
//! | | the same of each further row, by their places |

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::analysis::IsolationForest;
use crate::error::Error;

const MAGIC: [u8; 2] = *b"if";
const VERSION: u8 = 1;

/// The most rows of a sample, sixteen times those of a tree.
const MAX_ROWS: usize = 4_096;

/// The most features of a row, and trees of a forest: 5 and 100 are usual.
pub(super) const MAX_FEATURES: usize = 32;
pub(super) const MAX_TREES: u16 = 1_000;

const WORD: usize = size_of::<u64>();

/// The rows that came so far with the least places.
#[derive(Debug, Default)]
pub(super) struct Sample {
    rows: BinaryHeap<Row>,
}

#[derive(Debug, PartialEq)]
struct Row {
    place: u64,
    features: Box<[f64]>,
}

impl Eq for Row {}

impl Ord for Row {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_features = || {
            let pairs = self.features.iter().zip(&other.features);
            pairs.map(|(a, b)| a.total_cmp(b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
        };
        self.place.cmp(&other.place).then_with(by_features)
    }
}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Sample {
    /// Takes a row of finite features, or leaves it out.
    pub(super) fn add(&mut self, place: u64, features: Vec<f64>) {
        let row = Row { place, features: features.into() };
        if self.rows.len() < MAX_ROWS {
            self.rows.push(row);
        } else if let Some(mut last) = self.rows.peek_mut()
            && row < *last
        {
            *last = row;
        }
    }

    pub(super) fn heap_bytes(&self) -> usize {
        let features = self.rows.peek().map_or(0, |row| size_of_val(&*row.features));
        self.rows.capacity() * size_of::<Row>() + self.rows.len() * features
    }

    fn in_order(&self) -> Vec<&Row> {
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_unstable();
        rows
    }

    /// The rows as a partial state: the place and the features of each.
    pub(super) fn state(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for row in self.in_order() {
            out.extend_from_slice(&row.place.to_le_bytes());
            row.features.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes()));
        }
        out
    }

    /// Adds the rows of such a state.
    pub(super) fn merge(&mut self, state: &[u8], features: usize) {
        for row in state.chunks_exact(WORD * (1 + features)) {
            let (place, row) = row.split_at(WORD);
            let place = place.try_into().map_or(0, u64::from_le_bytes);
            self.add(place, doubles(row));
        }
    }

    /// The sample as a value; `None` without rows.
    pub(super) fn to_value(&self, seed: i64, trees: u16) -> Option<Vec<u8>> {
        let features = u16::try_from(self.rows.peek()?.features.len()).ok()?;
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC);
        out.push(VERSION);
        out.extend_from_slice(&seed.to_le_bytes());
        out.extend_from_slice(&trees.to_le_bytes());
        out.extend_from_slice(&features.to_le_bytes());
        for row in self.in_order() {
            row.features.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes()));
        }
        Some(out)
    }
}

/// A forest with the number of features that it knows.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) forest: IsolationForest,
    pub(super) features: usize,
}

impl Model {
    /// Grows the forest of a value that [`Sample::to_value`] made.
    ///
    /// # Errors
    /// SQLSTATE 22P03 for bytes that are none.
    pub(super) fn of(value: &[u8]) -> Result<Self, Error> {
        let rest = value.strip_prefix(&MAGIC).ok_or_else(|| malformed("it does not begin as one"))?;
        let (version, rest) = rest.split_first().ok_or_else(|| malformed("it ends early"))?;
        if *version != VERSION {
            return Err(malformed(format!("it is of version {version}, and this release knows version {VERSION}")));
        }
        let (seed, rest) = rest.split_first_chunk().ok_or_else(|| malformed("it ends early"))?;
        let (trees, rest) = rest.split_first_chunk().ok_or_else(|| malformed("it ends early"))?;
        let (features, rows) = rest.split_first_chunk().ok_or_else(|| malformed("it ends early"))?;
        let (trees, features) = (u16::from_le_bytes(*trees), usize::from(u16::from_le_bytes(*features)));
        if trees == 0 || trees > MAX_TREES || features == 0 || features > MAX_FEATURES {
            return Err(malformed("it has an impossible number of trees or features"));
        }
        let width = WORD * features;
        if rows.is_empty() || rows.len() % width != 0 || rows.len() / width > MAX_ROWS {
            return Err(malformed("it ends early, or has too many rows"));
        }
        let numbers = doubles(rows);
        if !numbers.iter().all(|x| x.is_finite()) {
            return Err(malformed("it has a feature that is no finite number"));
        }
        let rows: Vec<&[f64]> = numbers.chunks_exact(features).collect();
        let forest = IsolationForest::of(&rows, usize::from(trees), u64::from_le_bytes(*seed));
        Ok(Self { forest, features })
    }
}

fn doubles(bytes: &[u8]) -> Vec<f64> {
    bytes.chunks_exact(WORD).map(|word| word.try_into().map_or(f64::NAN, f64::from_le_bytes)).collect()
}

fn malformed(why: impl std::fmt::Display) -> Error {
    Error::bad_input(format!("these bytes are no isolation forest: {why}"))
        .with_sqlstate("22P03")
        .with_hint("give what isolation_forest made, as bytea")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_those_of_the_layout() {
        let mut sample = Sample::default();
        assert_eq!(sample.to_value(7, 100), None);
        sample.add(9, vec![3.0, 4.0]);
        sample.add(2, vec![1.0, 2.0]);
        let mut bytes = b"if\x01".to_vec();
        bytes.extend_from_slice(&[7, 0, 0, 0, 0, 0, 0, 0, 100, 0, 2, 0]);
        [1.0_f64, 2.0, 3.0, 4.0].iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
        assert_eq!(sample.to_value(7, 100), Some(bytes));
    }

    #[test]
    fn the_least_places_are_kept_in_whatever_parts_they_come() {
        let rows: Vec<(u64, [f64; 2])> =
            (0..3 * MAX_ROWS as u64).map(|n| (n * 7_919 % 10_007, [n as f64, -(n as f64)])).collect();
        let mut whole = Sample::default();
        rows.iter().for_each(|(place, row)| whole.add(*place, row.to_vec()));
        let mut merged = Sample::default();
        for part in rows.chunks(5_000).rev() {
            let mut sample = Sample::default();
            part.iter().rev().for_each(|(place, row)| sample.add(*place, row.to_vec()));
            merged.merge(&sample.state(), 2);
        }
        assert_eq!(merged.to_value(0, 1), whole.to_value(0, 1));
        assert_eq!(whole.rows.len(), MAX_ROWS);
        assert!(whole.heap_bytes() >= MAX_ROWS * (size_of::<Row>() + 16));
    }

    #[test]
    fn bytes_that_are_no_model_are_refused() {
        let mut sample = Sample::default();
        (0..40).for_each(|n| sample.add(n, vec![n as f64, 1.0]));
        let value = sample.to_value(0, 10).expect("rows");
        assert_eq!(Model::of(&value).expect("a model").features, 2);
        for length in (0..value.len()).filter(|length| *length < 15 || (length - 15) % 16 != 0).chain([15]) {
            assert_eq!(Model::of(&value[..length]).expect_err("cut").sqlstate(), "22P03", "{length}");
        }
        for (at, byte) in [(0, b'q'), (2, 2), (11, 0xff), (12, 0xff), (13, 0), (13, 33), (22, 0x7f)] {
            let mut changed = value.clone();
            changed[at] = byte;
            changed[21] |= if at == 22 { 0xf0 } else { 0 };
            if at == 11 {
                changed[12] = 0xff;
            }
            assert!(Model::of(&changed).is_err(), "byte {at}");
        }
    }
}
