//! How many rows of two sides have which value of a property.
//!
//! A property has keys, as a map of attributes has; a column is a property with one. Memory is bounded by two rules that do not depend on
//! the order of rows: of a key with more than so many different values only the presence and the numbers among its values are kept, and
//! texts that begin alike for so many bytes are one.

use std::sync::Arc;

use datafusion::common::HashMap;

use crate::engine::functions::sketches::Sketch;

/// The side of a row: 0 for those that are selected, 1 for those beside them.
pub(super) type Side = usize;
/// A count for each side.
pub(super) type Both = [u64; 2];

/// Longer texts are cut here: enough to tell messages and statements apart.
const MAX_TEXT_BYTES: usize = 256;
const ELLIPSIS: &str = "…";

/// What an entry of a hash table takes beside its key and value.
const ENTRY_BYTES: usize = 48;

/// The keys of one property.
#[derive(Debug)]
pub(super) struct Property {
    /// Keys with more different values are not counted by value.
    most_values: usize,
    numbers: HashMap<Arc<str>, usize>,
    keys: Vec<Key>,
    /// The key that the last row had at a place: those of most rows come in one order.
    at_places: Vec<usize>,
    heap_bytes: isize,
}

/// One key of a property.
#[derive(Debug)]
pub(super) struct Key {
    pub name: Arc<str>,
    /// How many rows have a value.
    pub present: Both,
    pub values: Values,
    /// The row that had a value last: of several in a row the first counts.
    last_row: u64,
}

/// The values of a key.
#[derive(Debug)]
pub(super) enum Values {
    Few(Few),
    /// Too many to be told apart: of those that are numbers, how they are spread.
    Many([Sketch; 2]),
}

/// Each value with its counts.
#[derive(Debug, Default)]
pub(super) struct Few {
    numbers: HashMap<Arc<str>, usize>,
    counts: Vec<(Arc<str>, Both)>,
    /// The value that came last: often the next has it too.
    last: usize,
    heap_bytes: isize,
}

impl Property {
    pub fn new(most_values: usize) -> Self {
        Self { most_values, numbers: HashMap::new(), keys: Vec::new(), at_places: Vec::new(), heap_bytes: 0 }
    }

    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    pub fn heap_bytes(&self) -> usize {
        self.heap_bytes.try_into().unwrap_or(0)
    }

    /// Counts the value of a key in a row, at a place among the row's keys. Rows have different numbers above 0.
    #[inline]
    pub fn count(&mut self, side: Side, row: u64, place: usize, name: &str, value: &str) {
        let at = self.key_at(place, name);
        let key = &mut self.keys[at];
        if key.last_row == row {
            return;
        }
        key.last_row = row;
        key.present[side] += 1;
        let mut one = [0, 0];
        one[side] = 1;
        self.heap_bytes += key.values.add(value, one, self.most_values);
    }

    /// Takes in a number that has no text, of a property without keys.
    #[inline]
    pub fn count_number(&mut self, side: Side, value: f64) {
        let at = self.key_at(0, "");
        let key = &mut self.keys[at];
        key.present[side] += 1;
        self.heap_bytes += key.values.add_number(side, value);
    }

    /// Takes in what another has of a key: how many rows have a value.
    pub fn merge_key(&mut self, name: &str, present: Both) -> usize {
        let at = self.find(name);
        for (sum, more) in self.keys[at].present.iter_mut().zip(present) {
            *sum += more;
        }
        at
    }

    /// Takes in how many rows have a value, or what another knows of too many of them.
    pub fn merge_values(&mut self, at: usize, values: Merged<'_>) -> Option<()> {
        let most = self.most_values;
        let key = self.keys.get_mut(at)?;
        match values {
            Merged::Value(value, counts) => self.heap_bytes += key.values.add(value, counts, most),
            Merged::Numbers(sketches) => self.heap_bytes += key.values.merge_numbers(sketches)?,
        }
        Some(())
    }

    fn key_at(&mut self, place: usize, name: &str) -> usize {
        if let Some(at) = self.at_places.get(place)
            && *self.keys[*at].name == *name
        {
            return *at;
        }
        let at = self.find(name);
        if place >= self.at_places.len() {
            self.at_places.resize(place + 1, at);
        }
        self.at_places[place] = at;
        at
    }

    fn find(&mut self, name: &str) -> usize {
        if let Some(at) = self.numbers.get(name) {
            return *at;
        }
        let name: Arc<str> = name.into();
        let at = self.keys.len();
        self.heap_bytes += (size_of::<Key>() + name.len() + ENTRY_BYTES) as isize;
        self.numbers.insert(name.clone(), at);
        self.keys.push(Key { name, present: [0, 0], values: Values::Few(Few::default()), last_row: 0 });
        at
    }
}

/// What is merged of a key's values.
pub(super) enum Merged<'a> {
    Value(&'a str, Both),
    /// Too many values, with the sketches of numbers as bytes.
    Numbers([&'a [u8]; 2]),
}

impl Values {
    /// Adds a value so many times, and returns by how many bytes that grew.
    #[inline]
    fn add(&mut self, value: &str, counts: Both, most: usize) -> isize {
        match self {
            Self::Few(few) => match few.add(value, counts, most) {
                Some(grown) => grown,
                None => {
                    let grown = self.give_up_values();
                    grown + self.add(value, counts, most)
                }
            },
            Self::Many(sketches) => match number(value) {
                Some(number) => add_number(sketches, number, counts),
                None => 0,
            },
        }
    }

    fn add_number(&mut self, side: Side, value: f64) -> isize {
        if value.is_nan() {
            return 0;
        }
        if let Self::Many(sketches) = self
            && sketches[side].insert_in_place(value)
        {
            return 0;
        }
        let mut one = [0, 0];
        one[side] = 1;
        let grown = if let Self::Few(_) = self { self.give_up_values() } else { 0 };
        let Self::Many(sketches) = self else { return grown };
        grown + add_number(sketches, value, one)
    }

    fn merge_numbers(&mut self, bytes: [&[u8]; 2]) -> Option<isize> {
        let mut grown = if let Self::Few(_) = self { self.give_up_values() } else { 0 };
        let Self::Many(sketches) = self else { return Some(grown) };
        for (sketch, bytes) in sketches.iter_mut().zip(bytes) {
            let before = sketch.heap_bytes();
            sketch.merge_bytes(bytes)?;
            grown += sketch.heap_bytes() as isize - before as isize;
        }
        Some(grown)
    }

    /// Keeps of the values no more than their numbers.
    fn give_up_values(&mut self) -> isize {
        let Self::Few(few) = self else { return 0 };
        let (sketches, before) = (few.numbers(), few.heap_bytes);
        *self = Self::Many(sketches.clone());
        sketches.iter().map(|sketch| sketch.heap_bytes() as isize).sum::<isize>() - before
    }
}

impl Few {
    /// The values with their counts, in no order.
    pub fn counts(&self) -> &[(Arc<str>, Both)] {
        &self.counts
    }

    /// How the values that are numbers are spread.
    pub fn numbers(&self) -> [Sketch; 2] {
        let mut sketches = [Sketch::default(), Sketch::default()];
        for (text, counts) in &self.counts {
            if let Some(number) = number(text) {
                add_number(&mut sketches, number, *counts);
            }
        }
        sketches
    }

    /// Adds a value so many times and returns by how many bytes that grew; `None` when it is one too many.
    #[inline]
    fn add(&mut self, value: &str, counts: Both, most: usize) -> Option<isize> {
        let cut;
        let value = match value.len() > MAX_TEXT_BYTES {
            true => {
                cut = shortened(value);
                &cut
            }
            false => value,
        };
        if self.counts.get(self.last).is_none_or(|(last, _)| **last != *value) {
            match self.numbers.get(value) {
                Some(at) => self.last = *at,
                None => return self.add_new(value, counts, most),
            }
        }
        let (_, sums) = &mut self.counts[self.last];
        sums[0] += counts[0];
        sums[1] += counts[1];
        Some(0)
    }

    #[cold]
    fn add_new(&mut self, value: &str, counts: Both, most: usize) -> Option<isize> {
        if self.counts.len() >= most {
            return None;
        }
        self.last = self.counts.len();
        let value: Arc<str> = value.into();
        self.numbers.insert(value.clone(), self.last);
        self.counts.push((value.clone(), counts));
        let grown = (value.len() + size_of::<(Arc<str>, Both)>() + ENTRY_BYTES) as isize;
        self.heap_bytes += grown;
        Some(grown)
    }
}

fn add_number(sketches: &mut [Sketch; 2], number: f64, counts: Both) -> isize {
    let mut grown = 0;
    for (sketch, count) in sketches.iter_mut().zip(counts) {
        if count == 1 && sketch.insert_in_place(number) {
            continue;
        }
        let before = sketch.heap_bytes();
        sketch.insert_many(number, count);
        grown += sketch.heap_bytes() as isize - before as isize;
    }
    grown
}

/// The number that a text is, if it is a finite one.
fn number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

fn shortened(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT_BYTES - ELLIPSIS.len());
    format!("{}{ELLIPSIS}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(property: &Property, name: &str) -> Option<Vec<(String, Both)>> {
        let key = property.keys().iter().find(|key| *key.name == *name)?;
        let Values::Few(few) = &key.values else { return None };
        let mut counts: Vec<(String, Both)> =
            few.counts().iter().map(|(text, counts)| (text.to_string(), *counts)).collect();
        counts.sort();
        Some(counts)
    }

    #[test]
    fn keys_are_found_in_whatever_order_they_come() {
        let mut property = Property::new(10);
        for row in 1..=30 {
            let names = if row % 3 == 0 { ["b", "a", "c"] } else { ["a", "b", "c"] };
            for (place, name) in names.iter().enumerate().take(1 + row as usize % 3) {
                property.count(row as usize % 2, row, place, name, if row % 2 == 0 { "even" } else { "odd" });
            }
        }
        let of = |name| counted(&property, name).expect("few values");
        assert_eq!(of("a"), [("even".into(), [10, 0]), ("odd".into(), [0, 10])]);
        assert_eq!(of("b"), [("even".into(), [15, 0]), ("odd".into(), [0, 15])]);
        assert_eq!(of("c"), [("even".into(), [5, 0]), ("odd".into(), [0, 5])]);
    }

    #[test]
    fn a_row_has_one_value_of_a_key() {
        let mut property = Property::new(10);
        property.count(0, 1, 0, "a", "first");
        property.count(0, 1, 1, "a", "second");
        property.count(1, 2, 0, "a", "second");
        assert_eq!(counted(&property, "a"), Some(vec![("first".into(), [1, 0]), ("second".into(), [0, 1])]));
        assert_eq!(property.keys()[0].present, [1, 1]);
    }

    #[test]
    fn of_too_many_values_the_numbers_are_left_however_they_are_merged() {
        let texts: Vec<String> = (0..50).map(|n| if n % 5 == 0 { format!("id{n}") } else { n.to_string() }).collect();
        let mut whole = Property::new(20);
        let mut parts = [Property::new(20), Property::new(20), Property::new(20)];
        for (row, text) in texts.iter().enumerate() {
            whole.count(row % 2, row as u64 + 1, 0, "k", text);
            parts[row % 3].count(row % 2, row as u64 + 1, 0, "k", text);
        }
        let mut merged = Property::new(20);
        for part in &parts {
            let key = &part.keys()[0];
            let at = merged.merge_key("k", key.present);
            let Values::Few(few) = &key.values else { panic!("a part has few") };
            for (text, counts) in few.counts() {
                merged.merge_values(at, Merged::Value(text, *counts)).expect("merged");
            }
        }
        let bytes = |property: &Property| {
            let Values::Many(sketches) = &property.keys()[0].values else { panic!("too many values") };
            sketches.each_ref().map(|sketch| {
                let mut bytes = Vec::new();
                sketch.write(&mut bytes);
                bytes
            })
        };
        let Values::Many(sketches) = &whole.keys()[0].values else { panic!("too many values") };
        assert_eq!(sketches.each_ref().map(Sketch::count), [20, 20]);
        assert_eq!(bytes(&merged), bytes(&whole));
        assert_eq!(merged.keys()[0].present, [25, 25]);
        let more = bytes(&whole);
        merged.merge_values(0, Merged::Numbers([&more[0], &more[1]])).expect("merged");
        let Values::Many(sketches) = &merged.keys()[0].values else { panic!("too many values") };
        assert_eq!(sketches.each_ref().map(Sketch::count), [40, 40]);
    }

    #[test]
    fn long_texts_that_begin_alike_are_one() {
        let mut property = Property::new(10);
        let long = "ä".repeat(300);
        property.count(0, 1, 0, "a", &long);
        property.count(1, 2, 0, "a", &format!("{long}!"));
        let cut = format!("{}…", "ä".repeat(126));
        assert_eq!(counted(&property, "a"), Some(vec![(cut.clone(), [1, 1])]));
        assert!(cut.len() <= MAX_TEXT_BYTES);
    }

    #[test]
    fn memory_is_bounded_however_many_values_there_are() {
        let mut property = Property::new(1_000);
        for row in 1..100_000_u64 {
            property.count(0, row, 0, "id", &format!("{row:032x}"));
        }
        assert!(property.heap_bytes() < 300_000, "{}", property.heap_bytes());
    }
}
