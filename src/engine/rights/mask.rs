//! Which attributes are masked, by their keys, and what maps, lists and letters of types look like then.

use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, ListArray, MapArray, StringArray, StringBuilder, StringViewArray, StructArray,
};
use datafusion::arrow::datatypes::DataType;
use datafusion::common::internal_err;
use datafusion::error::Result as ArrowResult;
use regex::{RegexSet, RegexSetBuilder};

use crate::error::{Error, Result};
use crate::model::AttributeType;
use crate::model::schema::{ATTRIBUTE_TYPES, ATTRIBUTES};

/// What a masked value reads.
pub(super) const MASKED: &str = "***";

/// Keys of attributes whose values are masked, with `*` and `?` for any letters, whatever their case. The default masks nothing.
#[derive(Debug, Clone, Default)]
pub struct Masks {
    globs: BTreeSet<String>,
    whole: RegexSet,
    /// What each begins with that has neither `*` nor `?`, in small letters.
    beginnings: Vec<String>,
}

impl Masks {
    /// Masks the keys that one of `globs` is about.
    ///
    /// # Errors
    /// [`crate::error::Kind::BadInput`] where there are more than a key can be compared with.
    pub fn new(globs: impl IntoIterator<Item = String>) -> Result<Self> {
        let globs: BTreeSet<String> = globs.into_iter().collect();
        let part = |letter: char| match letter {
            '*' => "(?s:.)*".to_owned(),
            '?' => "(?s:.)".to_owned(),
            other => regex::escape(other.encode_utf8(&mut [0; 4])),
        };
        let regexes = globs.iter().map(|glob| format!("^{}$", glob.chars().map(part).collect::<String>()));
        let whole = RegexSetBuilder::new(regexes).case_insensitive(true).build();
        let whole = whole.map_err(|error| Error::bad_input(format!("keys that are masked: {error}")))?;
        let beginning = |glob: &String| glob.split(['*', '?']).next().unwrap_or_default().to_lowercase();
        let beginnings = globs.iter().map(beginning).collect();
        Ok(Self { globs, whole, beginnings })
    }

    /// Whether nothing is masked.
    pub fn is_empty(&self) -> bool {
        self.globs.is_empty()
    }

    /// Whether the values of a key are masked.
    pub(super) fn hides(&self, key: &str) -> bool {
        self.whole.is_match(key)
    }

    /// Whether something may be masked that lies in a list of keys and values with this key.
    fn may_hide_below(&self, key: &str) -> bool {
        let key = format!("{}.", key.to_lowercase());
        self.beginnings.iter().any(|beginning| beginning.starts_with(&key) || key.starts_with(beginning))
    }
}

impl PartialEq for Masks {
    fn eq(&self, other: &Self) -> bool {
        self.globs == other.globs
    }
}

impl Eq for Masks {}

impl Hash for Masks {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.globs.hash(state);
    }
}

/// The keys of some maps, each judged once.
struct Judged<'a> {
    masks: &'a Masks,
    keys: HashMap<&'a str, (bool, bool)>,
}

impl<'a> Judged<'a> {
    fn new(masks: &'a Masks) -> Self {
        Self { masks, keys: HashMap::new() }
    }

    fn key(&mut self, key: &'a str) -> (bool, bool) {
        let masks = self.masks;
        *self.keys.entry(key).or_insert_with(|| (masks.hides(key), masks.may_hide_below(key)))
    }

    /// Whether a value is masked. Keys and values that lie in it are text in it: where one of these keys may be masked, all of it is.
    fn value(&mut self, key: &'a str, value: &str) -> bool {
        let (hides, may_hide_below) = self.key(key);
        let holds_keys = || {
            let value = value.trim_start();
            value.starts_with('{') || (value.starts_with('[') && value.contains('{'))
        };
        hides || (may_hide_below && holds_keys())
    }
}

/// A column of spans, or a part of one, in which each map's values are masked: in maps, and in lists and structs of these.
pub(super) fn masked(values: &ArrayRef, masks: &Masks) -> ArrowResult<ArrayRef> {
    Ok(match values.data_type() {
        DataType::Map(..) => Arc::new(masked_map(values.as_map(), masks)?.0),
        DataType::List(field) => {
            let list = values.as_list::<i32>();
            let inside = masked(list.values(), masks)?;
            Arc::new(ListArray::try_new(field.clone(), list.offsets().clone(), inside, list.nulls().cloned())?)
        }
        DataType::Struct(fields) => {
            let parts = values.as_struct();
            let part = |name: &str| parts.column_by_name(name);
            let columns = fields.iter().zip(parts.columns()).map(|(field, column)| match field.name().as_str() {
                ATTRIBUTE_TYPES => match part(ATTRIBUTES) {
                    Some(map) => masked_types(map, column, masks),
                    None => Ok(column.clone()),
                },
                _ => masked(column, masks),
            });
            let columns = columns.collect::<ArrowResult<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, parts.nulls().cloned())?)
        }
        _ => values.clone(),
    })
}

/// The map with its masked values, and which of all its entries these are.
fn masked_map(map: &MapArray, masks: &Masks) -> ArrowResult<(MapArray, Vec<bool>)> {
    let (Some(keys), Some(values)) = (map.keys().as_string_opt::<i32>(), map.values().as_string_opt::<i32>()) else {
        return internal_err!("attributes that are no map of text");
    };
    let mut judged = Judged::new(masks);
    let hidden: Vec<bool> = (0..keys.len())
        .map(|entry| {
            let value = if values.is_valid(entry) { values.value(entry) } else { "" };
            judged.value(keys.value(entry), value)
        })
        .collect();
    if !hidden.contains(&true) {
        return Ok((map.clone(), hidden));
    }
    let mut shown = StringBuilder::with_capacity(values.len(), values.value_data().len());
    for (entry, hidden) in hidden.iter().enumerate() {
        // A value that is not there is told by its type's letter as well, and both are masked.
        match hidden {
            true => shown.append_value(MASKED),
            false => shown.append_option(values.is_valid(entry).then(|| values.value(entry))),
        }
    }
    let entries = map.entries();
    let columns: Vec<ArrayRef> = vec![map.keys().clone(), Arc::new(shown.finish())];
    let entries = StructArray::try_new(entries.fields().clone(), columns, entries.nulls().cloned())?;
    let DataType::Map(field, ordered) = map.data_type() else { return internal_err!("a map of another type") };
    let masked = MapArray::try_new(field.clone(), map.offsets().clone(), entries, map.nulls().cloned(), *ordered)?;
    Ok((masked, hidden))
}

/// The letters of the types of a map's values as it was before it was masked: what is masked is text.
pub(super) fn masked_types(map: &ArrayRef, types: &ArrayRef, masks: &Masks) -> ArrowResult<ArrayRef> {
    let Some(map) = map.as_map_opt() else { return internal_err!("types of what is no map") };
    let (_, hidden) = masked_map(map, masks)?;
    let text = char::from(AttributeType::String.letter());
    let letters = |row: usize, letters: &str| -> Option<String> {
        let first = map.value_offsets()[row] as usize;
        let shown = letters.chars().enumerate().map(|(at, letter)| match hidden.get(first + at) {
            Some(true) => text,
            _ => letter,
        });
        // Of text only there are no letters.
        Some(shown.collect::<String>()).filter(|shown| shown.chars().any(|letter| letter != text))
    };
    let rows = 0..types.len();
    Ok(match types.data_type() {
        DataType::Utf8View => {
            let types = types.as_string_view();
            let shown = rows.map(|row| types.is_valid(row).then(|| letters(row, types.value(row))).flatten());
            Arc::new(shown.collect::<StringViewArray>())
        }
        DataType::Utf8 => {
            let types = types.as_string::<i32>();
            let shown = rows.map(|row| types.is_valid(row).then(|| letters(row, types.value(row))).flatten());
            Arc::new(shown.collect::<StringArray>())
        }
        other => return internal_err!("types of attributes as {other}"),
    })
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{MapBuilder, MapFieldNames};

    use super::*;
    use crate::model::schema::{MAP_ENTRIES, MAP_KEY, MAP_VALUE};

    fn masks(globs: &[&str]) -> Masks {
        Masks::new(globs.iter().map(|glob| (*glob).to_owned())).expect("masks")
    }

    fn map(rows: &[&[(&str, Option<&str>)]]) -> ArrayRef {
        let names = MapFieldNames { entry: MAP_ENTRIES.into(), key: MAP_KEY.into(), value: MAP_VALUE.into() };
        let mut maps = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
        for row in rows {
            for (key, value) in *row {
                maps.keys().append_value(key);
                maps.values().append_option(*value);
            }
            maps.append(true).expect("a row");
        }
        Arc::new(maps.finish())
    }

    fn values(map: &ArrayRef, row: usize) -> Vec<Option<String>> {
        let row = map.as_map().value(row);
        row.column(1).as_string::<i32>().iter().map(|value| value.map(str::to_owned)).collect()
    }

    #[test]
    fn keys_are_globs_whatever_their_case() {
        let masks = masks(&["user.*", "db.statement", "h?sh"]);
        for hidden in ["user.id", "User.ID", "user.", "DB.Statement", "hash"] {
            assert!(masks.hides(hidden), "{hidden}");
        }
        for shown in ["user", "a.user.id", "db.statements", "hsh", ""] {
            assert!(!masks.hides(shown), "{shown}");
        }
        assert!(!Masks::default().hides("user.id"));
    }

    #[test]
    fn values_are_masked_in_their_rows_and_letters_with_them() {
        let all = map(&[
            &[("user.id", Some("7")), ("n", Some("1"))],
            &[],
            &[("n", Some("2")), ("user.id", None), ("user.name", Some("ada"))],
        ]);
        let masks = masks(&["user.*"]);
        let types: ArrayRef = Arc::new(StringViewArray::from(vec![Some("ii"), None, Some("ins")]));
        for from in [0, 1] {
            let rows = all.len() - from;
            let (map, types) = (all.slice(from, rows), types.slice(from, rows));
            let seen = masked(&map, &masks).expect("masked");
            let text = |text: &str| Some(text.to_owned());
            assert_eq!(values(&seen, rows - 1), [text("2"), text(MASKED), text(MASKED)]);
            let letters = masked_types(&map, &types, &masks).expect("letters");
            let letters: Vec<_> = letters.as_string_view().iter().map(|row| row.map(str::to_owned)).collect();
            assert_eq!(letters.last(), Some(&text("iss")));
            assert_eq!(letters[0], if from == 0 { text("si") } else { None });
        }
        let letters: ArrayRef = Arc::new(StringArray::from(vec![Some("is")]));
        let only = map_of_one("user.id");
        assert!(masked_types(&only, &letters.slice(0, 1), &masks).expect("letters").is_null(0), "all text has none");
    }

    fn map_of_one(key: &str) -> ArrayRef {
        map(&[&[(key, Some("1")), ("other", Some("text"))]])
    }

    #[test]
    fn what_may_lie_in_a_value_hides_all_of_it() {
        let masks = masks(&["user.id", "*.secret"]);
        let seen = |key, value| values(&masked(&map(&[&[(key, Some(value))]]), &masks).expect("masked"), 0)[0].clone();
        assert_eq!(seen("user", r#"{"id":7}"#).as_deref(), Some(MASKED));
        assert_eq!(seen("User", r#" [{"id":7}]"#).as_deref(), Some(MASKED));
        assert_eq!(seen("any", r#"{"x":1}"#).as_deref(), Some(MASKED), "a pattern may begin with anything");
        assert_eq!(seen("user", r#"["id"]"#).as_deref(), Some(r#"["id"]"#));
        assert_eq!(seen("user", "ada").as_deref(), Some("ada"));
        let few = super::tests::masks(&["user.id"]);
        let other = values(&super::masked(&map(&[&[("users", Some("{}"))]]), &few).expect("masked"), 0);
        assert_eq!(other[0].as_deref(), Some("{}"));
    }
}
