//! Groups within traces, told apart by words: an id is its bytes, a time its number, a text a small code.
//!
//! The rows of a trace are neighbours, so the table is for the groups of one trace only: it stays as small as the largest trace needs, and a
//! slot of another trace is a free one.

use std::hash::BuildHasher;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeBinaryArray, Int64Array, PrimitiveArray, TimestampNanosecondArray,
};
use datafusion::arrow::buffer::{Buffer, NullBuffer};
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type, TimeUnit, TimestampNanosecondType};
use datafusion::common::internal_err;
use datafusion::error::Result;
use foldhash::fast::RandomState;

use crate::engine::key_codes::Key;

/// More texts than this are coded anew once their groups are given.
const MAX_TEXTS: usize = 16 * 1024;
const LEAST_SLOTS: usize = 64;
const WORD: usize = size_of::<u64>();

/// Groups that were not given yet, numbered from 0 in the order in which they came.
pub(super) struct WordGroups {
    columns: Vec<Column>,
    /// Words a group; the last says which columns are NULL, a bit each.
    width: usize,
    words: Vec<u64>,
    slots: Vec<Slot>,
    /// How many groups were given; slots count from the first ever.
    given: usize,
    trace: Option<u32>,
    /// The groups of this trace, which are the last ones.
    in_trace: usize,
    /// Seeded by chance: whoever sends spans chooses their ids.
    hasher: RandomState,
    /// Of the rows at hand.
    rows: Vec<u64>,
    codes: Vec<u32>,
}

enum Column {
    /// So many bytes, a multiple of a word.
    Bytes(usize),
    Number(DataType),
    Text(Box<Key>),
}

/// A group of a trace. Trace numbers start at 0, and a slot that was never used has none.
#[derive(Clone, Copy, Default)]
struct Slot {
    trace: Option<u32>,
    group: usize,
}

impl WordGroups {
    /// Groups by columns of these types; `None` when one of them is not told by words.
    pub fn new(fields: &[FieldRef]) -> Result<Option<Self>> {
        let columns = fields.iter().map(|field| Column::of(field.data_type())).collect::<Result<Option<Vec<_>>>>()?;
        let columns = columns.filter(|columns| columns.len() <= u64::BITS as usize);
        Ok(columns.map(|columns| Self {
            width: columns.iter().map(Column::words).sum::<usize>() + 1,
            columns,
            words: Vec::new(),
            slots: vec![Slot::default(); LEAST_SLOTS],
            given: 0,
            trace: None,
            in_trace: 0,
            hasher: RandomState::default(),
            rows: Vec::new(),
            codes: Vec::new(),
        }))
    }

    /// Appends each row's group. The rows of a trace are neighbours, in this call and from call to call.
    pub fn intern(&mut self, traces: &[u32], columns: &[ArrayRef], groups: &mut Vec<usize>) -> Result<()> {
        self.read(columns, traces.len())?;
        let rows = std::mem::take(&mut self.rows);
        for (trace, row) in traces.iter().zip(rows.chunks_exact(self.width)) {
            if self.trace != Some(*trace) {
                (self.trace, self.in_trace) = (Some(*trace), 0);
            }
            groups.push(self.group(row));
        }
        self.rows = rows;
        Ok(())
    }

    /// Takes out the columns of the first `count` groups, of those that are wanted.
    pub fn emit(&mut self, count: usize, wanted: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let given: Vec<u64> = {
            let taken = self.words.drain(..count * self.width);
            let groups = taken.as_slice();
            match wanted {
                None => groups.to_vec(),
                Some(wanted) => {
                    let group = |group: usize| &groups[group * self.width..(group + 1) * self.width];
                    wanted.values().set_indices().flat_map(group).copied().collect()
                }
            }
        };
        self.given += count;
        self.in_trace = self.in_trace.min(self.words.len() / self.width);
        let mut at = 0;
        let mut made = Vec::with_capacity(self.columns.len());
        for (place, column) in self.columns.iter().enumerate() {
            let is_null = |group: &[u64]| group[self.width - 1] >> place & 1 == 1;
            let groups = || given.chunks_exact(self.width);
            let nulls = NullBuffer::from_iter(groups().map(|group| !is_null(group)));
            let words = column.words();
            made.push(column.values(groups().map(|group| &group[at..at + words]), nulls)?);
            at += words;
        }
        self.forget_texts()?;
        Ok(made)
    }

    /// Bytes on the heap.
    pub fn bytes(&self) -> usize {
        let texts: usize = self.columns.iter().map(Column::heap_bytes).sum();
        (self.words.capacity() + self.rows.capacity()) * WORD + self.slots.capacity() * size_of::<Slot>() + texts
    }

    /// The group with these words, made when there is none in this trace.
    fn group(&mut self, row: &[u64]) -> usize {
        if (self.in_trace + 1) * 2 > self.slots.len() {
            self.index(self.slots.len() * 2);
        }
        let mut at = self.place(row);
        loop {
            let slot = self.slots[at];
            if slot.trace != self.trace {
                let group = self.words.len() / self.width;
                self.words.extend_from_slice(row);
                self.slots[at] = Slot { trace: self.trace, group: self.given + group };
                self.in_trace += 1;
                return group;
            }
            if let Some(group) = slot.group.checked_sub(self.given)
                && self.words_of(group) == row
            {
                return group;
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    fn place(&self, row: &[u64]) -> usize {
        self.hasher.hash_one(row) as usize & (self.slots.len() - 1)
    }

    fn words_of(&self, group: usize) -> &[u64] {
        &self.words[group * self.width..(group + 1) * self.width]
    }

    /// Makes so many slots, with the groups of this trace in them.
    #[cold]
    fn index(&mut self, slots: usize) {
        self.slots.clear();
        self.slots.resize(slots, Slot::default());
        let all = self.words.len() / self.width;
        for group in all - self.in_trace..all {
            let mut at = self.place(self.words_of(group));
            while self.slots[at].trace.is_some() {
                at = (at + 1) & (slots - 1);
            }
            self.slots[at] = Slot { trace: self.trace, group: self.given + group };
        }
    }

    /// Writes the words of each row.
    fn read(&mut self, columns: &[ArrayRef], rows: usize) -> Result<()> {
        let Self { width, rows: words, codes, .. } = self;
        words.clear();
        words.resize(rows * *width, 0);
        let mut at = 0;
        for (place, (column, values)) in self.columns.iter_mut().zip(columns).enumerate() {
            column.read(values, words.chunks_exact_mut(*width).map(|row| &mut row[at..]), codes)?;
            if let Some(nulls) = values.nulls().filter(|_| !matches!(column, Column::Text(_))) {
                for row in (0..rows).filter(|row| nulls.is_null(*row)) {
                    let row = &mut words[row * *width..(row + 1) * *width];
                    row[at..at + column.words()].fill(0);
                    row[*width - 1] |= 1 << place;
                }
            }
            at += column.words();
        }
        Ok(())
    }

    /// Codes the texts of the groups that are left anew when there are too many others.
    fn forget_texts(&mut self) -> Result<()> {
        let (mut at, mut has_forgotten) = (0, false);
        for column in &mut self.columns {
            if let Column::Text(key) = column
                && key.len() > MAX_TEXTS
            {
                let left = self.words.chunks_exact(self.width).map(|group| group[at] as u32);
                let texts = key.values(left)?;
                **key = Key::new(&DataType::Utf8View)?;
                self.codes.clear();
                key.code(&texts, &mut self.codes)?;
                for (group, code) in self.words.chunks_exact_mut(self.width).zip(&self.codes) {
                    group[at] = u64::from(*code);
                }
                has_forgotten = true;
            }
            at += column.words();
        }
        if has_forgotten {
            self.index(self.slots.len());
        }
        Ok(())
    }
}

impl Column {
    fn of(data_type: &DataType) -> Result<Option<Self>> {
        Ok(match data_type {
            DataType::FixedSizeBinary(bytes @ (8 | 16)) => Some(Self::Bytes(*bytes as usize)),
            DataType::Int64 | DataType::Timestamp(TimeUnit::Nanosecond, _) => Some(Self::Number(data_type.clone())),
            DataType::Utf8View => Some(Self::Text(Box::new(Key::new(data_type)?))),
            _ => None,
        })
    }

    fn words(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes / WORD,
            Self::Number(_) | Self::Text(_) => 1,
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Text(key) => key.heap_bytes(),
            Self::Bytes(_) | Self::Number(_) => 0,
        }
    }

    /// Writes each value to the start of its row.
    fn read<'a>(
        &mut self,
        values: &ArrayRef,
        rows: impl Iterator<Item = &'a mut [u64]>,
        codes: &mut Vec<u32>,
    ) -> Result<()> {
        match self {
            Self::Bytes(bytes) => {
                let Some(values) =
                    values.as_fixed_size_binary_opt().filter(|ids| ids.value_length() as usize == *bytes)
                else {
                    return internal_err!("ids of another length than {bytes}");
                };
                for (row, value) in rows.zip(values.value_data().chunks_exact(*bytes)) {
                    for (word, bytes) in row.iter_mut().zip(value.as_chunks::<WORD>().0) {
                        *word = u64::from_ne_bytes(*bytes);
                    }
                }
            }
            Self::Number(data_type) => {
                let values = match data_type {
                    DataType::Int64 => values.as_primitive::<Int64Type>().values(),
                    _ => values.as_primitive::<TimestampNanosecondType>().values(),
                };
                rows.zip(values).for_each(|(row, value)| row[0] = *value as u64);
            }
            Self::Text(key) => {
                codes.clear();
                key.code(values, codes)?;
                rows.zip(codes).for_each(|(row, code)| row[0] = u64::from(*code));
            }
        }
        Ok(())
    }

    fn values<'a>(&self, groups: impl Iterator<Item = &'a [u64]>, nulls: NullBuffer) -> Result<ArrayRef> {
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        Ok(match self {
            Self::Bytes(bytes) => {
                let words: Vec<u64> = groups.flatten().copied().collect();
                Arc::new(FixedSizeBinaryArray::try_new(*bytes as i32, Buffer::from_vec(words), nulls)?)
            }
            Self::Number(data_type) => {
                let values: Vec<i64> = groups.map(|words| words[0] as i64).collect();
                match data_type {
                    DataType::Timestamp(_, zone) => {
                        let times: TimestampNanosecondArray = PrimitiveArray::new(values.into(), nulls);
                        Arc::new(times.with_timezone_opt(zone.clone()))
                    }
                    _ => Arc::new(Int64Array::new(values.into(), nulls)),
                }
            }
            Self::Text(key) => key.values(groups.map(|words| words[0] as u32))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::StringViewArray;
    use datafusion::arrow::datatypes::Field;
    use rand::{Rng, SeedableRng};
    use std::collections::HashMap;

    /// A trace, an id, a number and a text: all but the trace may be NULL.
    type Row = (u32, Option<u8>, Option<i64>, Option<String>);

    fn columns(rows: &[Row]) -> Vec<ArrayRef> {
        let ids = rows.iter().map(|row| row.1.map(|id| [id; 8]));
        vec![
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(ids, 8).expect("ids")),
            Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>()),
            Arc::new(rows.iter().map(|row| row.3.as_deref()).collect::<StringViewArray>()),
        ]
    }

    fn word_groups() -> WordGroups {
        let types = [DataType::FixedSizeBinary(8), DataType::Int64, DataType::Utf8View];
        let fields = types.map(|data_type| Arc::new(Field::new("column", data_type, true)));
        WordGroups::new(&fields).expect("groups").expect("told by words")
    }

    /// Traces of up to `most` rows, some of which have equal groups.
    fn traces(seed: u64, most: usize, texts: usize) -> Vec<Row> {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let mut rows = Vec::new();
        for trace in 0..60 {
            for _ in 0..random.random_range(1..most) {
                let id = random.random_bool(0.9).then(|| random.random_range(0..4));
                let number = random.random_bool(0.9).then(|| random.random_range(-2..2));
                let text = random.random_bool(0.9).then(|| format!("text {}", random.random_range(0..texts)));
                rows.push((trace, id, number, text));
            }
        }
        rows
    }

    #[test]
    fn groups_are_those_of_a_map_and_give_their_values_back() {
        for (seed, most, texts, batch) in [(1, 8, 3, 7), (2, 400, 5, 64), (3, 2_000, 3 * MAX_TEXTS, 1_000)] {
            let rows = traces(seed, most, texts);
            let (mut groups, mut expected, mut given) = (word_groups(), HashMap::new(), 0);
            let (mut order, mut out): (Vec<Row>, Vec<Row>) = Default::default();
            for rows in rows.chunks(batch) {
                let traces: Vec<u32> = rows.iter().map(|row| row.0).collect();
                let mut found = Vec::new();
                groups.intern(&traces, &columns(rows), &mut found).expect("interned");
                for (row, group) in rows.iter().zip(found) {
                    let next = expected.len();
                    let number = *expected.entry(row.clone()).or_insert_with(|| {
                        order.push(row.clone());
                        next
                    });
                    assert_eq!(group + given, number, "{row:?}");
                }
                // All but the last trace's.
                let open = order.iter().position(|row| row.0 == traces[traces.len() - 1]).expect("a group of it");
                let columns = groups.emit(open - given, None).expect("given");
                out.extend(rows_of(&columns, &order[given..open]));
                given = open;
            }
            out.extend(rows_of(&groups.emit(order.len() - given, None).expect("given"), &order[given..]));
            assert_eq!(out, order);
        }
    }

    /// The rows that the columns are; traces are taken from what is expected.
    fn rows_of(columns: &[ArrayRef], expected: &[Row]) -> Vec<Row> {
        let (ids, numbers) = (columns[0].as_fixed_size_binary(), columns[1].as_primitive::<Int64Type>());
        let texts = columns[2].as_string_view();
        assert_eq!([ids.len(), numbers.len(), texts.len()], [expected.len(); 3]);
        let row = |(at, row): (usize, &Row)| {
            let id = ids.is_valid(at).then(|| ids.value(at)[0]);
            let number = numbers.is_valid(at).then(|| numbers.value(at));
            (row.0, id, number, texts.is_valid(at).then(|| texts.value(at).to_owned()))
        };
        expected.iter().enumerate().map(row).collect()
    }
}
