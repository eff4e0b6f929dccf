//! The shell's own questions: small results, read whole.

use datafusion::arrow::array::RecordBatch;

use super::backend::Backend;
use crate::error::Result;
use crate::render::cell_text;

pub const ATTRIBUTE_KEYS: &str = include_str!("queries/attribute_keys.sql");
pub const COLUMNS: &str = include_str!("queries/columns.sql");
pub const FUNCTIONS: &str = include_str!("queries/functions.sql");
pub const RELATIONS: &str = include_str!("queries/relations.sql");
pub const FLAME: &str = include_str!("queries/flame.sql");
pub const HAS_ATTRIBUTE: &str = include_str!("queries/has_attribute.sql");
pub const HEATMAP: &str = include_str!("queries/heatmap.sql");
pub const MAP: &str = include_str!("queries/map.sql");
pub const NUMBERS: &str = include_str!("queries/numbers.sql");
pub const NUMBER_BINS: &str = include_str!("queries/number_bins.sql");
pub const RELATION_COLUMNS: &str = include_str!("queries/relation_columns.sql");
pub const SCHEMAS: &str = include_str!("queries/schemas.sql");
pub const TAIL: &str = include_str!("queries/tail.sql");
pub const TEXT_VALUES: &str = include_str!("queries/text_values.sql");
pub const TIME_RANGE: &str = include_str!("queries/time_range.sql");
pub const TABLE_FUNCTIONS: &str = include_str!("queries/table_functions.sql");
pub const TRACE: &str = include_str!("queries/trace.sql");
pub const TRACES_BY_PREFIX: &str = include_str!("queries/traces_by_prefix.sql");
/// Has `:value` where the SQL of the value has to stand.
pub const VALUES: &str = include_str!("queries/values.sql");

/// Runs one query of the shell's own and gives its rows as text.
pub async fn texts(backend: &Backend, sql: &str, parameters: &[&str]) -> Result<Vec<Vec<String>>> {
    rows_of(&backend.batches(sql, parameters).await?)
}

/// The rows of batches as text.
pub fn rows_of(batches: &[RecordBatch]) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| cell_text(column, row));
            rows.push(cells.collect::<Result<_>>()?);
        }
    }
    Ok(rows)
}

/// A query with texts in the places of names such as `:condition`. What is put in is not looked at again: it may hold what looks like a name.
pub fn filled(query: &str, values: &[(&str, &str)]) -> String {
    let mut out = String::with_capacity(query.len());
    let mut rest = query;
    while let Some(colon) = rest.find(':') {
        let (before, from) = rest.split_at(colon);
        out.push_str(before);
        if let Some(after) = from.strip_prefix("::") {
            out.push_str("::");
            rest = after;
            continue;
        }
        let length =
            from[1..].find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).map_or(from.len(), |end| end + 1);
        let (name, after) = from.split_at(length);
        match values.iter().find(|(known, _)| *known == &name[1..]) {
            Some((_, value)) => out.push_str(value),
            None => out.push_str(name),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_once() {
        let text = filled("a :b = :bc AND x::text :d", &[("b", ":bc"), ("bc", "1"), ("text", "no")]);
        assert_eq!(text, "a :bc = 1 AND x::text :d");
        assert_eq!(filled("SELECT ':x' WHERE :c", &[("c", "y = ':c é'")]), "SELECT ':x' WHERE y = ':c é'");
    }
}
