//! Relations that PostgreSQL has and that are always empty here, out of one list of names and columns.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};

/// The list of `pg_catalog`: `name: column type, column type`.
const CATALOG_LIST: &str = include_str!("../../../schema/pg_catalog/empty.txt");

/// The empty relations of `pg_catalog` with their columns.
pub(super) static IN_PG_CATALOG: LazyLock<Vec<(&str, SchemaRef)>> = LazyLock::new(|| read(CATALOG_LIST));

/// Whether nothing is ever in that relation of `pg_catalog`.
pub(super) fn is_empty(name: &str) -> bool {
    IN_PG_CATALOG.iter().any(|(empty, _)| *empty == name)
}

/// Reads a list of relations.
pub(in crate::engine) fn read(list: &'static str) -> Vec<(&'static str, SchemaRef)> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(": ")).map(|(name, columns)| (name, columns_of(columns))).collect()
}

fn columns_of(columns: &str) -> SchemaRef {
    let pairs = columns.split(", ").filter_map(|column| column.split_once(' '));
    Arc::new(Schema::new(pairs.map(|(name, word)| Field::new(name, type_of(word), true)).collect::<Vec<_>>()))
}

fn type_of(word: &str) -> DataType {
    if let Some(element) = word.strip_suffix("[]") {
        return DataType::new_list(type_of(element), true);
    }
    match word {
        "bool" => DataType::Boolean,
        "int2" => DataType::Int16,
        "int4" => DataType::Int32,
        "int8" => DataType::Int64,
        "oid" => DataType::UInt32,
        "float8" => DataType::Float64,
        "interval" => DataType::Interval(IntervalUnit::MonthDayNano),
        "timestamptz" => DataType::Timestamp(TimeUnit::Nanosecond, Some("+00:00".into())),
        _ => DataType::Utf8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_list_is_a_relation_with_columns_of_known_types() {
        let words = ["bool", "int2", "int4", "int8", "oid", "float8", "interval", "timestamptz", "text"];
        for line in CATALOG_LIST.lines().filter(|line| !line.starts_with('#')) {
            let (name, columns) = line.split_once(": ").expect(line);
            assert!(is_empty(name), "{name}");
            for column in columns.split(", ") {
                let (_, word) = column.split_once(' ').expect(column);
                assert!(words.contains(&word.trim_end_matches("[]")), "{column} of {name}");
            }
        }
    }
}
