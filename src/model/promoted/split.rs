//! Moving attributes out of the maps into columns.

use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayBuilder, ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, MapArray, RecordBatch, StringArray,
    StringBuilder, StringViewBuilder, StructArray, UInt32Array, new_empty_array, new_null_array,
};
use datafusion::arrow::buffer::{OffsetBuffer, ScalarBuffer};
use datafusion::arrow::compute::take;
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef};
use datafusion::arrow::error::ArrowError;

use super::census::{Census, ClassifiedMap, KindCounts, letter_at};
use super::choose::FileLayout;
use super::names::{AttributeKey, Owner, PromotedColumn, Scalar};
use super::notes::FileNotes;
use super::text::{exact_bool, exact_double, int_of_text};
use crate::error::{Error, Result};
use crate::model::schema::{attribute_map_type, physical_schema};
use crate::model::{SpanBatch, attribute_types_are_all_strings};

/// The most keys that a file's note names as being in its maps.
const MAX_NOTED_KEYS: usize = 256;

/// Moves the attributes of one file's batches into columns.
#[derive(Debug)]
pub struct Splitter {
    layout: FileLayout,
    census: Census,
    owners: [OwnerSlots; 3],
}

/// Where each key number of an owner goes.
#[derive(Debug)]
struct OwnerSlots {
    /// By the number of a promoted key: its columns, as places in the layout.
    columns_of: Vec<[Option<u16>; 4]>,
    /// By the number of a promoted key: whether a value had to stay in the map although it is its key's first.
    left: Vec<bool>,
    /// Whether anything stayed in a map: also a key's second value in a row, which no column has and no count knows.
    has_rest: bool,
}

impl Splitter {
    /// A splitter for a file with this layout.
    pub fn new(layout: FileLayout) -> Self {
        let census = Census::new(&layout.keys);
        let place = |key: &AttributeKey, scalar| {
            let is_it = |column: &PromotedColumn| column.key == *key && column.scalar == scalar;
            layout.columns.iter().position(is_it).map(|place| place as u16)
        };
        let owners = Owner::ALL.map(|owner| {
            let keys = layout.keys.iter().filter(|key| key.owner == owner);
            let columns_of: Vec<_> = keys.map(|key| Scalar::ALL.map(|scalar| place(key, scalar))).collect();
            OwnerSlots { left: vec![false; columns_of.len()], columns_of, has_rest: false }
        });
        Self { layout, census, owners }
    }

    /// The schema of the batches that [`Self::split`] gives.
    pub fn schema(&self) -> &SchemaRef {
        &self.layout.schema
    }

    /// Turns a batch into one with the layout's columns. What spans share is split once and repeated afterwards.
    ///
    /// # Errors
    /// An internal error when the batch has other columns.
    pub fn split(&mut self, batch: &SpanBatch) -> Result<RecordBatch> {
        let maps = self.census.add(batch)?;
        let owner_of = (!batch.shares_nothing()).then(|| UInt32Array::from(batch.owner_of().to_vec()));
        let rows_of = |owner| if owner == Owner::Span { batch.num_rows() } else { batch.owners() };
        let promoted = self.layout.columns.iter();
        let builder = |column: &PromotedColumn| ColumnBuilder::new(column.scalar, rows_of(column.key.owner));
        let mut columns: Vec<ColumnBuilder> = promoted.map(builder).collect();
        let mut physical = vec![None; physical_schema().fields().len()];
        for owner in Owner::ALL {
            let Some(map) = &maps[owner as usize] else { continue };
            let left = self.owners[owner as usize].split(map, &mut columns);
            let owner_of = owner_of.as_ref().filter(|_| owner != Owner::Span);
            let rest = left.rest(map, owner_of, batch.num_rows())?;
            for (name, column) in [owner.map_column(), owner.types_column()].into_iter().zip(rest) {
                physical[physical_schema().index_of(name).map_err(refused)?] = Some(column);
            }
        }
        let physical = physical.into_iter().enumerate();
        let mut all: Vec<ArrayRef> =
            physical.map(|(place, rest)| rest.map_or_else(|| batch.expanded(place), Ok)).collect::<Result<_>>()?;
        for (column, builder) in self.layout.columns.iter().zip(columns) {
            let owner = column.key.owner;
            let values = builder.finish(rows_of(owner));
            all.push(match owner_of.as_ref().filter(|_| owner != Owner::Span) {
                Some(owner_of) => take(&values, owner_of, None).map_err(refused)?,
                None => values,
            });
        }
        RecordBatch::try_new(self.layout.schema.clone(), all).map_err(refused)
    }

    /// What the file that got everything that was split says of its attributes.
    pub fn notes(&self) -> FileNotes {
        let mut complete = Vec::new();
        let mut in_maps = Vec::new();
        for owner in Owner::ALL {
            for (number, (key, counts)) in self.census.counts(owner).enumerate() {
                let key = AttributeKey::new(owner, key).to_string();
                if self.owners[owner as usize].is_complete(number, counts) {
                    complete.push(key);
                } else if counts.others + counts.in_columns() > 0 {
                    in_maps.push(key);
                }
            }
        }
        let are_known = Owner::ALL.into_iter().all(|owner| !self.census.is_full(owner));
        let in_maps = (are_known && in_maps.len() <= MAX_NOTED_KEYS).then_some(in_maps);
        let empty = Owner::ALL.into_iter().filter(|owner| !self.owners[*owner as usize].has_rest);
        FileNotes::new(complete, in_maps, empty.map(|owner| owner.map_column().to_owned()).collect())
    }

    /// The columns that the table should have, now that these rows are in it: one for each promoted key and type that occurred.
    pub fn columns(&self) -> Vec<PromotedColumn> {
        let keys = self.layout.keys.iter().map(|key| (key, self.census.count_of(key)));
        keys.flat_map(|(key, counts)| counts.columns(key)).collect()
    }
}

impl OwnerSlots {
    /// Whether the columns say all of the key with this number.
    fn is_complete(&self, number: usize, counts: &KindCounts) -> bool {
        let Some(places) = self.columns_of.get(number) else { return false };
        let has_column = |scalar: Scalar| counts.scalars[scalar as usize] == 0 || places[scalar as usize].is_some();
        counts.others == 0 && !self.left[number] && Scalar::ALL.into_iter().all(has_column)
    }

    /// Splits one map; gives what stays in it.
    fn split(&mut self, map: &ClassifiedMap, columns: &mut [ColumnBuilder]) -> Left {
        let mut left = Left::default();
        for row in 0..map.rows() {
            let letters = map.letters(row);
            let (first, entries) = map.entries(row);
            for (place, entry) in entries.enumerate() {
                let letter = letter_at(letters, place);
                let number = map.numbers[first + place] as usize;
                let is_taken = self.columns_of.get(number).is_some_and(|places| {
                    let place = Scalar::from_letter(letter).and_then(|scalar| places[scalar as usize]);
                    let taken = place.is_some_and(|place| columns[place as usize].push(row, &map.values, entry));
                    self.left[number] |= !taken;
                    taken
                });
                if !is_taken {
                    left.entries.push((entry, letter));
                }
            }
            left.ends.push(left.entries.len());
        }
        self.has_rest |= !left.entries.is_empty();
        left
    }
}

/// The entries of a map that stay in it, with their letters.
#[derive(Debug, Default)]
struct Left {
    entries: Vec<(usize, u8)>,
    /// By row of the map.
    ends: Vec<usize>,
}

impl Left {
    /// The map column of `rows` spans and its type letters; a span's row of the map is that of its owner, or its own.
    fn rest(&self, map: &ClassifiedMap, owner_of: Option<&UInt32Array>, rows: usize) -> Result<[ArrayRef; 2]> {
        if self.entries.is_empty() {
            return Ok([map_of_nothing(rows)?, new_null_array(&DataType::Utf8View, rows)]);
        }
        let mut rest = RestBuilder::with_capacity(rows);
        for row in 0..rows {
            let row = owner_of.map_or(row, |owner_of| owner_of.value(row) as usize);
            let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
            for (entry, letter) in &self.entries[start..self.ends[row]] {
                rest.push(map, *entry, *letter);
            }
            rest.end_row();
        }
        rest.finish().map(|(map, types)| [map, types])
    }
}

/// Builds a promoted column; rows that are passed over are NULL.
enum ColumnBuilder {
    /// Long texts stay where they lie, in the block that is the map's own text.
    String {
        builder: StringViewBuilder,
        block: Option<u32>,
    },
    Int(Int64Builder),
    Double(Float64Builder),
    Bool(BooleanBuilder),
}

macro_rules! append {
    ($builder:expr, $row:expr, $value:expr) => {{
        let Some(value) = $value else { return false };
        $builder.append_nulls($row - $builder.len());
        $builder.append_value(value);
        true
    }};
}

impl ColumnBuilder {
    fn new(scalar: Scalar, rows: usize) -> Self {
        match scalar {
            Scalar::String => Self::String { builder: StringViewBuilder::with_capacity(rows), block: None },
            Scalar::Int => Self::Int(Int64Builder::with_capacity(rows)),
            Scalar::Double => Self::Double(Float64Builder::with_capacity(rows)),
            Scalar::Bool => Self::Bool(BooleanBuilder::with_capacity(rows)),
        }
    }

    /// Sets the value of `row`, which is after all that were set before; `false` when it would not read back the same.
    #[inline]
    fn push(&mut self, row: usize, values: &StringArray, entry: usize) -> bool {
        match self {
            Self::String { builder, block } => {
                for _ in builder.len()..row {
                    builder.append_null();
                }
                let text = values.value(entry);
                if text.len() <= INLINE_BYTES {
                    builder.append_value(text);
                    return true;
                }
                let block = *block.get_or_insert_with(|| builder.append_block(values.values().clone()));
                builder.try_append_view(block, values.value_offsets()[entry] as u32, text.len() as u32).is_ok()
            }
            Self::Int(builder) => append!(builder, row, int_of_text(values.value(entry))),
            Self::Double(builder) => append!(builder, row, exact_double(values.value(entry))),
            Self::Bool(builder) => append!(builder, row, exact_bool(values.value(entry))),
        }
    }

    fn finish(self, rows: usize) -> ArrayRef {
        match self {
            Self::String { mut builder, .. } => {
                for _ in builder.len()..rows {
                    builder.append_null();
                }
                Arc::new(builder.finish())
            }
            Self::Int(mut builder) => {
                builder.append_nulls(rows - builder.len());
                Arc::new(builder.finish())
            }
            Self::Double(mut builder) => {
                builder.append_nulls(rows - builder.len());
                Arc::new(builder.finish())
            }
            Self::Bool(mut builder) => {
                builder.append_nulls(rows - builder.len());
                Arc::new(builder.finish())
            }
        }
    }
}

/// Texts up to this long lie in the view itself.
const INLINE_BYTES: usize = 12;

/// Builds a map column and its type letters from entries.
pub(super) struct RestBuilder {
    keys: StringBuilder,
    values: StringBuilder,
    ends: Vec<i32>,
    letters: Vec<u8>,
    types: StringViewBuilder,
}

impl RestBuilder {
    pub fn with_capacity(rows: usize) -> Self {
        let mut ends = Vec::with_capacity(rows + 1);
        ends.push(0);
        Self {
            keys: StringBuilder::with_capacity(0, 0),
            values: StringBuilder::with_capacity(0, 0),
            ends,
            letters: Vec::new(),
            types: StringViewBuilder::with_capacity(rows),
        }
    }

    fn push(&mut self, map: &ClassifiedMap, entry: usize, letter: u8) {
        let value = map.values.is_valid(entry).then(|| map.values.value(entry));
        self.push_text(map.keys.value(entry), value, letter);
    }

    pub fn push_text(&mut self, key: &str, value: Option<&str>, letter: u8) {
        self.keys.append_value(key);
        self.values.append_option(value);
        self.letters.push(letter);
    }

    /// Ends a row whose letters are those of its entries.
    pub fn end_row(&mut self) {
        self.ends.push(self.keys.len() as i32);
        let all_strings = attribute_types_are_all_strings(&self.letters);
        // Letters are ASCII.
        self.types.append_option(std::str::from_utf8(&self.letters).ok().filter(|_| !all_strings));
        self.letters.clear();
    }

    /// The map column and the types column.
    pub fn finish(mut self) -> Result<(ArrayRef, ArrayRef)> {
        let columns: Vec<ArrayRef> = vec![Arc::new(self.keys.finish()), Arc::new(self.values.finish())];
        let map = map_of(columns, self.ends)?;
        Ok((Arc::new(map), Arc::new(self.types.finish())))
    }
}

fn map_of_nothing(rows: usize) -> Result<ArrayRef> {
    let texts = || new_empty_array(&DataType::Utf8);
    Ok(Arc::new(map_of(vec![texts(), texts()], vec![0; rows + 1])?))
}

fn map_of(columns: Vec<ArrayRef>, ends: Vec<i32>) -> Result<MapArray> {
    let (entries_field, fields) = map_fields()?;
    let entries = StructArray::try_new(fields, columns, None).map_err(refused)?;
    MapArray::try_new(entries_field, OffsetBuffer::new(ScalarBuffer::from(ends)), entries, None, false).map_err(refused)
}

fn refused(error: ArrowError) -> Error {
    Error::internal(format!("cannot split the attributes of spans: {error}"))
}

fn map_fields() -> Result<(FieldRef, Fields)> {
    match attribute_map_type() {
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => Ok((entries.clone(), fields.clone())),
            _ => Err(Error::internal("the entries of an attribute map are no struct")),
        },
        _ => Err(Error::internal("the attribute map type is no map")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use datafusion::arrow::array::{AsArray, StringViewArray};
    use datafusion::arrow::datatypes::Field;
    use datafusion::common::ScalarValue;
    use proptest::prelude::*;

    use super::super::assemble::{MapParts, ScalarValues, assemble_map, assemble_types};
    use super::super::set::{Promoted, Promotion};
    use super::*;
    use crate::model::schema::physical_schema;
    use crate::model::{AttributeType, is_of_owner, write_double};

    /// The attributes of a row: key, type letter, text.
    pub type Entries = Vec<(String, char, Option<String>)>;

    /// A row by owner.
    #[derive(Debug, Clone, Default)]
    pub struct Row(pub [Entries; 3]);

    impl Row {
        pub fn span(entries: &[(&str, char, &str)]) -> Self {
            let entries = entries.iter().map(|(key, letter, text)| (key.to_string(), *letter, Some(text.to_string())));
            Self([entries.collect(), Vec::new(), Vec::new()])
        }
    }

    /// A batch with these attributes, and nothing much in its other columns.
    pub fn batch(rows: &[Row]) -> RecordBatch {
        let maps = Owner::ALL.map(|owner| {
            let mut builder = RestBuilder::with_capacity(rows.len());
            for row in rows {
                for (key, letter, text) in &row.0[owner as usize] {
                    builder.push_text(key, text.as_deref(), *letter as u8);
                }
                builder.end_row();
            }
            builder.finish().expect("built")
        });
        let schema = physical_schema();
        let columns = schema.fields().iter().map(|field| {
            let of_owner = Owner::ALL.into_iter().zip(&maps).find_map(|(owner, (map, types))| match field.name() {
                name if name == owner.map_column() => Some(map.clone()),
                name if name == owner.types_column() => Some(types.clone()),
                _ => None,
            });
            of_owner.unwrap_or_else(|| some_column(field, rows.len()))
        });
        RecordBatch::try_new(schema.clone(), columns.collect()).expect("a batch")
    }

    /// The same, in which rows that have the same resource and scope share them.
    pub fn span_batch(rows: &[Row]) -> SpanBatch {
        let mut owners: Vec<&Row> = Vec::new();
        let owner_of = rows.iter().map(|row| {
            let same = owners.iter().position(|owner| owner.0[1..] == row.0[1..]);
            same.unwrap_or_else(|| {
                owners.push(row);
                owners.len() - 1
            }) as u32
        });
        let owner_of: Vec<u32> = owner_of.collect();
        let owners: Vec<Row> = owners.into_iter().cloned().collect();
        let (spans, owners_batch) = (batch(rows), batch(&owners));
        let columns = (0..spans.num_columns()).map(|place| {
            let from = if is_of_owner(place) { &owners_batch } else { &spans };
            Some(from.column(place).clone())
        });
        SpanBatch::try_new(columns.collect(), owner_of, owners.len()).expect("a batch")
    }

    fn some_column(field: &Field, rows: usize) -> ArrayRef {
        let value = match field.data_type() {
            data_type if field.is_nullable() => ScalarValue::try_new_null(data_type),
            DataType::Int64 => Ok(ScalarValue::Int64(Some(1))),
            DataType::Int32 => Ok(ScalarValue::Int32(Some(1))),
            DataType::Utf8View => Ok(ScalarValue::Utf8View(Some("x".into()))),
            DataType::FixedSizeBinary(len) => Ok(ScalarValue::FixedSizeBinary(*len, Some(vec![1; *len as usize]))),
            DataType::List(element) => Ok(ScalarValue::List(ScalarValue::new_list(&[], element.data_type(), false))),
            other => panic!("no value for {other}"),
        };
        let array = value.and_then(|value| value.to_array_of_size(rows)).expect("a column");
        // An empty list says that its elements are nullable unless told otherwise.
        datafusion::arrow::compute::cast(&array, field.data_type()).expect("the column's type")
    }

    /// What a map and its types hold, row by row.
    pub fn entries(map: &ArrayRef, types: &ArrayRef) -> Vec<Entries> {
        let (map, types): (&MapArray, &StringViewArray) = (map.as_map(), types.as_string_view());
        (0..map.len())
            .map(|row| {
                let entries = map.value(row);
                let (keys, values) = (entries.column(0).as_string::<i32>(), entries.column(1).as_string::<i32>());
                let letters = if types.is_valid(row) { types.value(row).to_owned() } else { "s".repeat(keys.len()) };
                assert_eq!(letters.len(), keys.len());
                let texts = values.iter().map(|text| text.map(str::to_owned));
                keys.iter().flatten().zip(letters.chars()).zip(texts).map(|((k, l), t)| (k.to_owned(), l, t)).collect()
            })
            .collect()
    }

    struct Split {
        batch: RecordBatch,
        columns: Vec<(PromotedColumn, ArrayRef)>,
        notes: FileNotes,
        wanted: Vec<String>,
    }

    fn split(promoted: &Promoted, sample: &[Row], rows: &[Row]) -> Split {
        let mut census = Census::new(&promoted.keys());
        census.add(&span_batch(sample)).expect("counted");
        let layout = FileLayout::new(
            &Promotion { known: promoted.clone(), may_grow: true },
            &census,
            sample.len() == rows.len(),
        );
        let names = layout.columns.clone();
        let mut splitter = Splitter::new(layout);
        let batch = splitter.split(&span_batch(rows)).expect("split");
        let column =
            |name: PromotedColumn| (name.clone(), batch.column_by_name(&name.name()).expect("a column").clone());
        let columns = names.into_iter().map(column).collect();
        let wanted = splitter.columns().iter().map(PromotedColumn::name).collect();
        Split { columns, notes: splitter.notes(), batch, wanted }
    }

    fn rest(split: &Split, owner: Owner) -> (ArrayRef, ArrayRef) {
        let column = |name| split.batch.column_by_name(name).expect("a column").clone();
        (column(owner.map_column()), column(owner.types_column()))
    }

    fn has_no_rest(split: &Split, owner: Owner) -> bool {
        rest(split, owner).0.as_map().keys().is_empty()
    }

    fn assembled(split: &Split, owner: Owner) -> Vec<Entries> {
        let of_owner = split.columns.iter().filter(|(column, _)| column.key.owner == owner);
        let columns: Vec<_> = of_owner.cloned().collect();
        let (map, types) = rest(split, owner);
        let parts = MapParts { columns: &columns, map: &map, types: Some(&types) };
        entries(&assemble_map(&parts).expect("a map"), &assemble_types(&parts).expect("types"))
    }

    /// What the columns of `key` say of a row.
    fn in_columns(split: &Split, owner: Owner, key: &str, row: usize) -> Option<String> {
        let mut found = split.columns.iter().filter(|(column, _)| column.key.owner == owner && column.key.key == key);
        let text = |scalar, values| {
            ScalarValues::new(scalar, values).expect("its type").text(row, &mut String::new()).map(str::to_owned)
        };
        found.find_map(|(column, values)| text(column.scalar, values))
    }

    /// The order of different keys is free, the order of one key's values is not.
    fn sorted(mut entries: Entries) -> Entries {
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries
    }

    #[test]
    fn scalars_of_frequent_keys_move_and_everything_else_stays() {
        let usual = Row::span(&[("route", 's', "/a long enough route to lie outside"), ("code", 'i', "200")]);
        let odd = Row::span(&[("code", 's', "none"), ("x y", 's', "1"), ("route", 'a', "[1]"), ("code", 'i', "1")]);
        let number = Row::span(&[("ratio", 'd', "NaN"), ("code", 'i', "007"), ("ok", 'b', "true")]);
        let rows = [vec![usual.clone(); 8], vec![odd, number]].concat();
        let promoted = Promoted::from_names(["attributes.ratio:double", "attributes.ok:bool", "attributes.unseen"]);
        let split = split(&promoted, &rows, &rows);
        let names: Vec<String> = split.columns.iter().map(|(column, _)| column.name()).collect();
        let expected =
            ["ratio:double", "ok:bool", "code", "code:int", "route"].map(|name| format!("attributes.{name}"));
        assert_eq!(names, expected);
        let (map, types) = rest(&split, Owner::Span);
        let rest = entries(&map, &types);
        assert_eq!(rest[..8], vec![Entries::new(); 8]);
        let text = |key: &str, letter, text: &str| (key.to_owned(), letter, Some(text.to_owned()));
        assert_eq!(rest[8], [text("x y", 's', "1"), text("route", 'a', "[1]"), text("code", 'i', "1")]);
        assert_eq!(rest[9], [text("ratio", 'd', "NaN"), text("code", 'i', "007")]);
        for (key, complete) in [("ok", true), ("unseen", true), ("elsewhere", true), ("ratio", false), ("route", false)]
        {
            assert_eq!(split.notes.is_complete(&AttributeKey::new(Owner::Span, key)), complete, "{key}");
        }
    }

    #[test]
    fn what_the_sample_did_not_show_stays_in_the_map_and_is_wanted_next_time() {
        let seen = Row::span(&[("k", 's', "x"), ("known", 'i', "1")]);
        let rows = [vec![seen.clone(); 20], vec![Row::span(&[("k", 'i', "1"), ("late", 's', "x")])]].concat();
        let promoted = Promoted::from_names(["attributes.known", "attributes.known:int"]);
        let split = split(&promoted, &rows[..10], &rows);
        let names: Vec<String> = split.columns.iter().map(|(column, _)| column.name()).collect();
        assert_eq!(names, ["attributes.known", "attributes.known:int", "attributes.k"]);
        assert_eq!(split.wanted, ["attributes.known:int", "attributes.k", "attributes.k:int"]);
        for (key, complete) in [("known", true), ("k", false), ("late", false), ("elsewhere", true)] {
            assert_eq!(split.notes.is_complete(&AttributeKey::new(Owner::Span, key)), complete, "{key}");
        }
        assert_eq!(assembled(&split, Owner::Span)[20].len(), 2);
        assert_eq!(Owner::ALL.map(|owner| split.notes.is_map_empty(owner)), [false, true, true]);
    }

    #[test]
    fn a_map_is_told_empty_when_columns_have_all_of_it_and_only_then() {
        let plain = Row::span(&[("k", 's', "x"), ("n", 'i', "1")]);
        let is_empty = |last: Row| {
            let rows = [vec![plain.clone(); 20], vec![last]].concat();
            let split = split(&Promoted::default(), &rows[..10], &rows);
            assert_eq!(has_no_rest(&split, Owner::Span), split.notes.is_map_empty(Owner::Span));
            split.notes.is_map_empty(Owner::Span)
        };
        assert!(is_empty(plain.clone()));
        assert!(is_empty(Row::span(&[])));
        for left in [("k", 'i', "1"), ("other", 's', "x"), ("k", 'y', "AA==")] {
            assert!(!is_empty(Row::span(&[left])), "{left:?}");
        }
        assert!(!is_empty(Row::span(&[("k", 's', "x"), ("k", 's', "x")])));
        let without_value = Row([vec![("k".into(), AttributeType::Empty.letter() as char, None)], vec![], vec![]]);
        assert!(!is_empty(without_value));
    }

    fn entry() -> impl Strategy<Value = (String, char, Option<String>)> {
        let key = prop_oneof![
            4 => prop::sample::select(vec!["a", "b", "c", "A", "", "x y", "k:int", "ö", "a.b"]).prop_map(str::to_owned),
            1 => any::<String>(),
        ];
        let text = |letter: AttributeType, text: String| (letter.letter() as char, Some(text));
        let double = |value: f64| {
            let mut text = String::new();
            write_double(value, &mut text);
            text
        };
        let value = prop_oneof![
            any::<String>().prop_map(move |value| text(AttributeType::String, value)),
            any::<i64>().prop_map(move |value| text(AttributeType::Int, value.to_string())),
            any::<f64>().prop_map(move |value| text(AttributeType::Double, double(value))),
            any::<bool>().prop_map(move |value| text(AttributeType::Bool, value.to_string())),
            "[01x.+-]{0,3}".prop_flat_map(|text| {
                prop::sample::select(vec!['i', 'd', 'b', 'y', 'a', 'k', 'o'])
                    .prop_map(move |letter| (letter, Some(text.clone())))
            }),
            Just((AttributeType::Empty.letter() as char, None)),
        ];
        (key, value).prop_map(|(key, (letter, text))| (key, letter, text))
    }

    proptest! {
        #[test]
        fn whatever_is_split_is_whole_again_when_it_is_assembled(
            rows in prop::collection::vec(prop::array::uniform3(prop::collection::vec(entry(), 0..6)), 1..40),
            sample in 0..40_usize,
            known in prop::collection::vec(prop::sample::select(vec!["attributes.a", "attributes.b:int", "scope_attributes.c:bool"]), 0..3),
        ) {
            let rows: Vec<Row> = rows.into_iter().map(Row).collect();
            let split = split(&Promoted::from_names(known), &rows[..sample.min(rows.len())], &rows);
            for owner in Owner::ALL {
                if split.notes.is_map_empty(owner) {
                    prop_assert!(has_no_rest(&split, owner));
                }
                let assembled = assembled(&split, owner);
                for (row, assembled) in rows.iter().zip(assembled) {
                    prop_assert_eq!(sorted(assembled), sorted(row.0[owner as usize].clone()));
                }
                for (place, row) in rows.iter().enumerate() {
                    for (key, ..) in &row.0[owner as usize] {
                        if split.notes.is_complete(&AttributeKey::new(owner, key.clone())) {
                            let first = row.0[owner as usize].iter().find(|(other, ..)| other == key).expect("itself");
                            prop_assert_eq!(in_columns(&split, owner, key, place), first.2.clone(), "{}", key);
                        }
                    }
                }
            }
        }
    }
}
