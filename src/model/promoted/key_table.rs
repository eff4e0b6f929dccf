//! Small numbers for attribute keys.

use xxhash_rust::xxh3::xxh3_64;

/// The most keys of one owner that are told apart: real sets have some hundreds, and a client that makes keys of its data cannot
/// make more than this of our memory.
pub(super) const MAX_KEYS: usize = 4096;
/// Twice the most keys, so that a search ends soon.
const PLACES: usize = 2 * MAX_KEYS;

/// The number of a key that has none.
pub(super) const NO_KEY: u16 = u16::MAX;

/// Numbers keys from 0 in the order in which they come.
#[derive(Debug)]
pub(super) struct KeyTable {
    keys: Vec<Box<str>>,
    /// Key numbers by the hash of the key, linearly probed.
    places: Box<[u16]>,
}

impl Default for KeyTable {
    fn default() -> Self {
        Self { keys: Vec::new(), places: vec![NO_KEY; PLACES].into() }
    }
}

impl KeyTable {
    /// All keys; a key's place is its number.
    pub fn keys(&self) -> &[Box<str>] {
        &self.keys
    }

    /// The key's number; [`NO_KEY`] for a new key when the table is full.
    #[inline]
    pub fn number(&mut self, key: &str) -> u16 {
        let mut place = xxh3_64(key.as_bytes()) as usize % PLACES;
        loop {
            match self.places[place] {
                NO_KEY => return self.insert(key, place),
                number if &*self.keys[number as usize] == key => return number,
                _ => place = (place + 1) % PLACES,
            }
        }
    }

    /// Whether `number` is the key's.
    #[inline]
    pub fn is(&self, number: u16, key: &str) -> bool {
        self.keys.get(number as usize).is_some_and(|known| &**known == key)
    }

    #[cold]
    fn insert(&mut self, key: &str, place: usize) -> u16 {
        if self.keys.len() == MAX_KEYS {
            return NO_KEY;
        }
        let number = self.keys.len() as u16;
        self.keys.push(key.into());
        self.places[place] = number;
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_their_numbers_and_a_full_table_takes_no_more() {
        let mut table = KeyTable::default();
        let key = |n: usize| format!("key.{n}");
        for n in 0..MAX_KEYS {
            assert_eq!(table.number(&key(n)), n as u16);
        }
        assert_eq!(table.number("one more"), NO_KEY);
        for n in 0..MAX_KEYS {
            assert_eq!(table.number(&key(n)), n as u16);
            assert!(table.is(n as u16, &key(n)) && !table.is(NO_KEY, &key(n)));
        }
    }
}
