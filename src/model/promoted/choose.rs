//! Which keys get columns, and which columns a file has.

use std::sync::Arc;

use datafusion::arrow::datatypes::{FieldRef, Schema, SchemaRef};

use super::census::Census;
use super::names::{AttributeKey, Owner, PromotedColumn, Scalar};
use super::set::{Promoted, Promotion, max_keys, max_keys_of_table};
use crate::model::schema::physical_schema;

/// A key gets columns when at least one row in this many has it.
const ROWS_FOR_ONE: u64 = 100;
/// Fewer rows than this do not tell what is frequent.
const LEAST_ROWS: u64 = 8;

/// The keys to promote beside those that are, the most frequent first.
fn choose_keys(promoted: &Promoted, census: &Census) -> Vec<AttributeKey> {
    Owner::ALL.into_iter().flat_map(|owner| choose_of_owner(promoted, census, owner)).collect()
}

fn choose_of_owner(promoted: &Promoted, census: &Census, owner: Owner) -> Vec<AttributeKey> {
    let mut known = promoted.keys();
    known.retain(|key| key.owner == owner);
    // A key that no longer comes leaves its place to another. It keeps its column, and is as before when it comes again.
    let coming = known.iter().filter(|key| census.count_of(key).in_columns() > 0).count();
    let room = max_keys(owner).saturating_sub(coming).min(max_keys_of_table(owner).saturating_sub(known.len()));
    let least = LEAST_ROWS.max(census.rows().div_ceil(ROWS_FOR_ONE));
    let mut wanted: Vec<(u64, AttributeKey)> = census
        .counts(owner)
        .map(|(key, counts)| (counts.in_columns(), key))
        .filter(|(rows, _)| *rows >= least)
        .map(|(rows, key)| (rows, AttributeKey::new(owner, key)))
        .filter(|(_, key)| key.is_promotable())
        .collect();
    wanted.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let mut chosen: Vec<AttributeKey> = Vec::new();
    for (_, key) in wanted {
        // Delta tells column names apart without regard to case.
        let same = |other: &AttributeKey| other.key.eq_ignore_ascii_case(&key.key);
        if chosen.len() < room && !known.iter().any(&same) && !chosen.iter().any(&same) {
            chosen.push(key);
        }
    }
    chosen
}

/// Of the promoted keys those that a file may have columns for: all that come, the most frequent ones first, and the others in the order in which
/// the table got them. What has no room stays in the map.
fn with_room(mut keys: Vec<AttributeKey>, census: &Census) -> Vec<AttributeKey> {
    let is_crowded = |owner: &Owner| keys.iter().filter(|key| key.owner == *owner).count() > max_keys(*owner);
    for owner in Owner::ALL.into_iter().filter(is_crowded).collect::<Vec<_>>() {
        let mut rows: Vec<u64> =
            keys.iter().filter(|key| key.owner == owner).map(|key| census.count_of(key).in_columns()).collect();
        rows.sort_unstable_by(|a, b| b.cmp(a));
        let least = rows.get(max_keys(owner) - 1).copied().unwrap_or(0);
        let mut ties = max_keys(owner) - rows.iter().filter(|count| **count > least).count();
        keys.retain(|key| {
            if key.owner != owner {
                return true;
            }
            let count = census.count_of(key).in_columns();
            let has_room = count > least || count == least && ties > 0;
            ties -= usize::from(count == least && has_room);
            has_room
        });
    }
    keys
}

/// The columns of a file: those of [`physical_schema`], and those of promoted keys.
#[derive(Debug, Clone)]
pub struct FileLayout {
    /// The promoted keys, whether they have a column in the file or not.
    pub(super) keys: Vec<AttributeKey>,
    pub(super) columns: Vec<PromotedColumn>,
    pub(super) schema: SchemaRef,
}

impl FileLayout {
    /// The layout of a file some of whose rows the census has counted, `is_whole` when it has counted them all: then the file has the
    /// columns that get a value, else also those that the table has, since they may, as far as there is room for them.
    pub fn new(promotion: &Promotion, census: &Census, is_whole: bool) -> Self {
        let promoted = &promotion.known;
        let mut keys = promoted.keys();
        if promotion.may_grow {
            keys.extend(choose_keys(promoted, census));
        }
        let keys = with_room(keys, census);
        let columns = keys.iter().flat_map(|key| {
            let counts = census.count_of(key);
            let occurs = move |scalar: &Scalar| {
                counts.scalars[*scalar as usize] > 0 || (!is_whole && promoted.has(key, *scalar))
            };
            Scalar::ALL.into_iter().filter(occurs).map(|scalar| PromotedColumn { key: key.clone(), scalar })
        });
        let columns: Vec<PromotedColumn> = columns.collect();
        let physical = physical_schema();
        let fields = physical.fields().iter().cloned();
        let promoted = columns.iter().map(|column| FieldRef::from(column.field()));
        let schema = Arc::new(Schema::new(fields.chain(promoted).collect::<Vec<_>>()));
        Self { keys, columns, schema }
    }
}

#[cfg(test)]
mod tests {
    use super::super::split::tests::{Row, span_batch};
    use super::*;

    fn census(promoted: &Promoted, rows: &[Row]) -> Census {
        let mut census = Census::new(&promoted.keys());
        census.count(&span_batch(rows)).expect("counted");
        census
    }

    fn growing(promoted: &Promoted) -> Promotion {
        Promotion { known: promoted.clone(), may_grow: true }
    }

    fn names(keys: &[AttributeKey]) -> Vec<String> {
        keys.iter().map(AttributeKey::to_string).collect()
    }

    #[test]
    fn frequent_keys_are_chosen_and_rare_ones_and_odd_ones_are_not() {
        let mut rows = vec![Row::span(&[("always", 's', "x"), ("a b", 's', "x"), ("list", 'a', "[]")]); 1000];
        rows[..10].fill(Row::span(&[("always", 's', "x"), ("hundredth", 'i', "1")]));
        rows[10..19].fill(Row::span(&[("always", 'b', "true"), ("less", 's', "x")]));
        let none = Promoted::default();
        let census = census(&none, &rows);
        assert_eq!(names(&choose_keys(&none, &census)), ["attributes.always", "attributes.hundredth"]);
        let layout = FileLayout::new(&growing(&none), &census, true);
        let columns: Vec<String> = layout.columns.iter().map(PromotedColumn::name).collect();
        assert_eq!(columns, ["attributes.always", "attributes.always:bool", "attributes.hundredth:int"]);
    }

    #[test]
    fn few_rows_tell_nothing() {
        let none = Promoted::default();
        let rows = vec![Row::span(&[("a", 's', "x")]); LEAST_ROWS as usize - 1];
        assert_eq!(choose_keys(&none, &census(&none, &rows)), []);
    }

    #[test]
    fn what_is_promoted_stays_and_nothing_passes_the_bound() {
        let keys: Vec<String> = (0..200).map(|n| format!("key{n:03}")).collect();
        let row: Vec<(&str, char, &str)> = keys.iter().map(|key| (key.as_str(), 's', "x")).collect();
        let rows = vec![Row::span(&row); 10];
        let promoted = Promoted::from_names(["start_ns", "attributes.old:int", "attributes.KEY001"]);
        let chosen = choose_keys(&promoted, &census(&promoted, &rows));
        assert_eq!(chosen.len(), max_keys(Owner::Span), "those that are promoted do not come");
        assert!(chosen.iter().all(|key| key.key != "key001"), "differs only in case from one that is promoted");
        let census = census(&promoted, &rows);
        let has_old = |layout: FileLayout| layout.columns.iter().any(|column| column.key.key == "old");
        assert!(!has_old(FileLayout::new(&growing(&promoted), &census, true)));
        assert!(!has_old(FileLayout::new(&growing(&promoted), &census, false)), "there is no room for what may come");
        let few = Census::new(&promoted.keys());
        assert!(has_old(FileLayout::new(&growing(&promoted), &few, false)));
    }

    fn key(name: &str) -> String {
        format!("attributes.{name}")
    }

    /// A row with `count` keys, from `first` on.
    fn row(first: usize, count: usize) -> Row {
        let keys: Vec<String> = (first..first + count).map(|n| format!("key{n:04}")).collect();
        Row::span(&keys.iter().map(|key| (key.as_str(), 's', "x")).collect::<Vec<_>>())
    }

    #[test]
    fn keys_that_no_longer_come_leave_their_places_to_others_a_bounded_number_of_times() {
        let most = max_keys(Owner::Span);
        let mut promoted = Promoted::default();
        for generation in 0..10 {
            let rows = vec![row(generation * most, most); 10];
            let layout = FileLayout::new(&growing(&promoted), &census(&promoted, &rows), true);
            let expected = if generation < max_keys_of_table(Owner::Span) / most { most } else { 0 };
            assert_eq!(layout.columns.len(), expected, "{generation}");
            promoted.extend(&layout.columns);
            // What has come before goes into the same columns when it comes again.
            let again = FileLayout::new(&growing(&promoted), &census(&promoted, &vec![row(0, most); 10]), true);
            let names: Vec<String> = again.columns.iter().map(PromotedColumn::name).collect();
            assert_eq!(names, (0..most).map(|n| key(&format!("key{n:04}"))).collect::<Vec<_>>(), "{generation}");
        }
        assert_eq!(promoted.keys().len(), max_keys_of_table(Owner::Span));
    }

    #[test]
    fn a_file_has_no_more_columns_however_many_the_table_has() {
        let most = max_keys(Owner::Span);
        let names: Vec<String> = (0..2 * most).map(|n| key(&format!("key{n:04}"))).collect();
        let promoted = Promoted::from_names(names.iter().map(String::as_str));
        let keys = |rows: &[Row], is_whole| {
            let layout = FileLayout::new(&growing(&promoted), &census(&promoted, rows), is_whole);
            layout.columns.iter().map(PromotedColumn::name).collect::<Vec<_>>()
        };
        // The later half is in more rows.
        let mut rows = vec![row(0, 2 * most); 10];
        rows.extend(vec![row(most, most); 10]);
        assert_eq!(keys(&rows, true), names[most..]);
        assert_eq!(keys(&rows, false), names[most..]);
        assert_eq!(keys(&vec![row(0, 2 * most); 10], true), names[..most], "all are as frequent");
        // Of what a sample does not have the rest may have some.
        let others = [row(most, 1)];
        assert_eq!(keys(&others, true), names[most..=most]);
        assert_eq!(keys(&others, false), [&names[..most - 1], &names[most..=most]].concat());
        // New keys find no place beside those that come.
        assert_eq!(keys(&vec![row(most, 2 * most); 10], true), names[most..]);
    }
}
