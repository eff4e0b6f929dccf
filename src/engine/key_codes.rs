//! Key columns as small numbers, dense from 0 in the order in which values are first met.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray, StringArray, StringViewArray, UInt32Array,
};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampNanosecondType, UInt16Type};
use datafusion::common::{HashMap, internal_err};
use datafusion::error::Result;

/// Views that are remembered at once: far more than services and operations, and still in the processor's first cache.
const REMEMBERED_VIEWS: usize = 1024;
/// The longest text that lies in its view.
const INLINE_BYTES: u32 = 12;

/// The codes of one key column.
pub(super) enum Key {
    Text(Texts),
    Number { numbers: Numbers, data_type: DataType },
}

impl Key {
    /// Whether columns of this type can be coded.
    pub fn supports(data_type: &DataType) -> bool {
        matches!(data_type, DataType::Utf8View | DataType::Int64 | DataType::Timestamp(TimeUnit::Nanosecond, _))
    }

    pub fn new(data_type: &DataType) -> Result<Self> {
        match data_type {
            DataType::Utf8View => Ok(Self::Text(Texts::default())),
            DataType::Int64 | DataType::Timestamp(TimeUnit::Nanosecond, _) => {
                Ok(Self::Number { numbers: Numbers::default(), data_type: data_type.clone() })
            }
            other => internal_err!("no codes for {other}"),
        }
    }

    /// Appends the code of each row.
    pub fn code(&mut self, column: &ArrayRef, codes: &mut Vec<u32>) -> Result<()> {
        match (self, column.data_type()) {
            (Self::Text(texts), DataType::Utf8View) => texts.code(column.as_string_view(), codes),
            (Self::Text(texts), DataType::Dictionary(..)) => texts.code_places(column, codes)?,
            (Self::Number { numbers, .. }, DataType::Int64) => numbers.code(column.as_primitive::<Int64Type>(), codes),
            (Self::Number { numbers, .. }, DataType::Timestamp(TimeUnit::Nanosecond, _)) => {
                numbers.code(column.as_primitive::<TimestampNanosecondType>(), codes);
            }
            (_, other) => return internal_err!("a key column of {other}"),
        }
        Ok(())
    }

    /// The values behind `codes`.
    pub fn values(&self, codes: impl Iterator<Item = u32>) -> Result<ArrayRef> {
        match self {
            Self::Text(texts) => texts.values(codes),
            Self::Number { numbers, data_type } => Ok(match data_type {
                DataType::Timestamp(_, zone) => {
                    Arc::new(numbers.values::<TimestampNanosecondType>(codes).with_timezone_opt(zone.clone()))
                }
                _ => Arc::new(numbers.values::<Int64Type>(codes)),
            }),
        }
    }

    /// How many values were met.
    pub fn len(&self) -> usize {
        match self {
            Self::Text(texts) => texts.codes.values.len(),
            Self::Number { numbers, .. } => numbers.codes.values.len(),
        }
    }

    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Text(texts) => texts.heap_bytes(),
            Self::Number { numbers, .. } => numbers.codes.heap_bytes(),
        }
    }
}

/// Values with their codes; NULL is a value.
struct Codes<T> {
    codes: HashMap<T, u32>,
    null: Option<u32>,
    values: Vec<Option<T>>,
}

impl<T> Default for Codes<T> {
    fn default() -> Self {
        Self { codes: HashMap::new(), null: None, values: Vec::new() }
    }
}

impl<T: Clone + Eq + Hash> Codes<T> {
    /// The code of a value, kept as `T` when it is met for the first time.
    fn code<Q: ?Sized + Eq + Hash>(&mut self, value: &Q) -> u32
    where
        T: Borrow<Q>,
        for<'a> &'a Q: Into<T>,
    {
        if let Some(code) = self.codes.get(value) {
            return *code;
        }
        let code = self.values.len() as u32;
        let kept: T = value.into();
        self.codes.insert(kept.clone(), code);
        self.values.push(Some(kept));
        code
    }

    fn null(&mut self) -> u32 {
        let next = self.values.len() as u32;
        *self.null.get_or_insert_with(|| {
            self.values.push(None);
            next
        })
    }

    fn heap_bytes(&self) -> usize {
        self.codes.capacity() * size_of::<(T, u32)>() + self.values.capacity() * size_of::<Option<T>>()
    }
}

/// Numbers of 64 bits.
#[derive(Default)]
pub(super) struct Numbers {
    codes: Codes<Number>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Number(i64);

impl From<&Number> for Number {
    fn from(number: &Number) -> Self {
        *number
    }
}

impl Numbers {
    fn code<T: ArrowPrimitiveType<Native = i64>>(&mut self, column: &PrimitiveArray<T>, codes: &mut Vec<u32>) {
        let mut last = None;
        codes.extend(column.iter().map(|value| match last {
            Some((same, code)) if same == value => code,
            _ => {
                let code = match value {
                    Some(value) => self.codes.code(&Number(value)),
                    None => self.codes.null(),
                };
                last = Some((value, code));
                code
            }
        }));
    }

    fn values<T: ArrowPrimitiveType<Native = i64>>(&self, codes: impl Iterator<Item = u32>) -> PrimitiveArray<T> {
        codes.map(|code| self.codes.values[code as usize].map(|Number(value)| value)).collect()
    }
}

/// Texts. A view that holds its text is known for good; one that points into a buffer is known for the length of its column.
pub(super) struct Texts {
    codes: Codes<Arc<str>>,
    text_bytes: usize,
    remembered: Box<[Remembered]>,
    column: u32,
    dictionary: Option<Dictionary>,
}

/// The dictionary of the last column that had one.
struct Dictionary {
    values: ArrayRef,
    /// The code of each of its values that was met, else [`NOT_MET`]: a value that no row has is no group.
    codes: Vec<u32>,
}

const NOT_MET: u32 = u32::MAX;

#[derive(Clone, Copy, Default)]
struct Remembered {
    view: u128,
    code: u32,
    /// The number of the column that the view was met in, from 1; [`ANY_COLUMN`] for a view that holds its text.
    column: u32,
}

const ANY_COLUMN: u32 = u32::MAX;

impl Default for Texts {
    fn default() -> Self {
        let remembered = vec![Remembered::default(); REMEMBERED_VIEWS].into_boxed_slice();
        Self { codes: Codes::default(), text_bytes: 0, remembered, column: 0, dictionary: None }
    }
}

impl Texts {
    fn code(&mut self, column: &StringViewArray, codes: &mut Vec<u32>) {
        self.column = if self.column == ANY_COLUMN - 1 { 1 } else { self.column + 1 };
        if column.null_count() == 0 {
            codes.extend(column.views().iter().enumerate().map(|(row, view)| self.of_view(*view, column, row)));
            return;
        }
        codes.extend(column.views().iter().enumerate().map(|(row, view)| match column.is_valid(row) {
            true => self.of_view(*view, column, row),
            false => self.codes.null(),
        }));
    }

    /// Appends the codes of a column of places in a dictionary.
    fn code_places(&mut self, column: &ArrayRef, codes: &mut Vec<u32>) -> Result<()> {
        let Some(column) = column.as_dictionary_opt::<UInt16Type>() else {
            return internal_err!("a key column of {}", column.data_type());
        };
        let texts = column.values().as_string::<i32>();
        // Batches of one row group share a dictionary.
        let known = self.dictionary.take().filter(|known| Arc::ptr_eq(&known.values, column.values()));
        let mut known = known.unwrap_or_else(|| Dictionary {
            values: column.values().clone(),
            codes: vec![NOT_MET; column.values().len()],
        });
        let places = column.keys();
        let before = codes.len();
        match places.null_count() {
            0 => codes.extend(places.values().iter().map(|place| known.codes[usize::from(*place)])),
            _ => {
                codes.extend(places.iter().map(|place| place.map_or(NOT_MET, |place| known.codes[usize::from(place)])))
            }
        }
        // Few batches have a value that was not met before; NULL is looked at row by row.
        if codes[before..].contains(&NOT_MET) {
            for (row, code) in codes[before..].iter_mut().enumerate().filter(|(_, code)| **code == NOT_MET) {
                *code = match places.is_valid(row) {
                    true => self.of_place(&mut known.codes, texts, usize::from(places.value(row))),
                    false => self.codes.null(),
                };
            }
        }
        self.dictionary = Some(known);
        Ok(())
    }

    #[inline]
    fn of_place(&mut self, known: &mut [u32], texts: &StringArray, place: usize) -> u32 {
        match known[place] {
            NOT_MET => {
                let code = self.of_text(texts.value(place));
                known[place] = code;
                code
            }
            code => code,
        }
    }

    #[inline]
    fn of_view(&mut self, view: u128, column: &StringViewArray, row: usize) -> u32 {
        let known_in = if view as u32 <= INLINE_BYTES { ANY_COLUMN } else { self.column };
        let at = place(view);
        let Remembered { view: there, code, column: of } = self.remembered[at];
        if there == view && of == known_in {
            return code;
        }
        let code = self.of_text(column.value(row));
        self.remembered[at] = Remembered { view, code, column: known_in };
        code
    }

    fn of_text(&mut self, text: &str) -> u32 {
        let before = self.codes.values.len();
        let code = self.codes.code(text);
        if self.codes.values.len() > before {
            self.text_bytes += text.len();
        }
        code
    }

    /// Each text once, however many have its code.
    fn values(&self, codes: impl Iterator<Item = u32>) -> Result<ArrayRef> {
        let texts = StringViewArray::from_iter(self.codes.values.iter().map(Option::as_deref));
        Ok(take(&texts, &UInt32Array::from_iter_values(codes), None)?)
    }

    fn heap_bytes(&self) -> usize {
        self.codes.heap_bytes() + self.text_bytes + size_of_val(&*self.remembered)
    }
}

fn place(view: u128) -> usize {
    // Fibonacci hashing of both halves; the shift leaves as many bits as there are places.
    const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = (view as u64 ^ (view >> 64) as u64).wrapping_mul(MULTIPLIER);
    (mixed >> (u64::BITS - REMEMBERED_VIEWS.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::DictionaryArray;

    #[test]
    fn equal_values_have_equal_codes_across_columns_and_give_the_values_back() {
        let long = |n: usize| format!("a text longer than a view holds, {n}");
        let columns: Vec<Vec<Option<String>>> = vec![
            vec![Some("a".into()), None, Some(long(1)), Some("a".into()), Some(String::new())],
            // Other texts at the same places of another buffer.
            vec![Some(long(2)), Some(long(1)), None],
            (0..5_000).map(|n| Some(long(n))).collect(),
            (0..5_000).map(|n| Some(n.to_string())).collect(),
        ];
        let mut key = Key::new(&DataType::Utf8View).expect("supported");
        let mut seen: std::collections::HashMap<Option<String>, u32> = Default::default();
        for values in columns {
            let column: ArrayRef = Arc::new(values.iter().collect::<StringViewArray>());
            let mut codes = Vec::new();
            key.code(&column, &mut codes).expect("coded");
            assert_eq!(codes.len(), values.len());
            for (value, code) in values.iter().zip(&codes) {
                let next = seen.len() as u32;
                assert_eq!(*seen.entry(value.clone()).or_insert(next), *code, "{value:?}");
            }
            assert_eq!(key.values(codes.into_iter()).expect("values").as_string_view(), column.as_string_view());
        }
    }

    #[test]
    fn places_in_dictionaries_and_views_have_the_same_codes_and_values_of_no_row_have_none() {
        let values: ArrayRef = Arc::new(StringArray::from(vec!["of no row", "a", "b"]));
        let places = |places: Vec<Option<u16>>| -> ArrayRef {
            Arc::new(DictionaryArray::<UInt16Type>::new(places.into(), values.clone()))
        };
        let mut key = Key::new(&DataType::Utf8View).expect("supported");
        let mut codes = Vec::new();
        key.code(&places(vec![Some(2), None, Some(1)]), &mut codes).expect("coded");
        key.code(&(Arc::new(StringViewArray::from(vec!["a", "c"])) as ArrayRef), &mut codes).expect("coded");
        key.code(&places(vec![Some(1), Some(2)]).slice(1, 1), &mut codes).expect("coded");
        assert_eq!(codes, [0, 1, 2, 2, 3, 0]);
        let expected = StringViewArray::from(vec![Some("b"), None, Some("a"), Some("c")]);
        assert_eq!(key.values(0..4).expect("values").as_string_view(), &expected);
    }

    #[test]
    fn times_keep_their_zone() {
        let times: ArrayRef = Arc::new(
            PrimitiveArray::<TimestampNanosecondType>::from(vec![Some(5), None, Some(5), Some(-7)])
                .with_timezone("UTC"),
        );
        let mut key = Key::new(times.data_type()).expect("supported");
        let mut codes = Vec::new();
        key.code(&times, &mut codes).expect("coded");
        assert_eq!(codes, [0, 1, 0, 2]);
        assert_eq!(&key.values(codes.into_iter()).expect("values"), &times);
    }

    #[test]
    fn a_text_that_many_rows_have_is_there_once() {
        let mut key = Key::new(&DataType::Utf8View).expect("supported");
        let long = "x".repeat(1 << 20);
        let mut codes = Vec::new();
        key.code(&(Arc::new(StringViewArray::from(vec![Some(long.as_str()), None])) as ArrayRef), &mut codes)
            .expect("coded");
        let values = key.values((0..10_000).map(|row| row % 2)).expect("values");
        assert!(values.get_array_memory_size() < 4 << 20, "{} bytes", values.get_array_memory_size());
        assert_eq!(values.as_string_view().value(9_998), long);
        assert_eq!(values.null_count(), 5_000);
    }
}
