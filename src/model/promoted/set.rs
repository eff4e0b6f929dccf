//! The columns of promoted attributes that a table has.

use super::names::{AttributeKey, Owner, PromotedColumn, Scalar};

/// The most keys of an owner that get columns of those that come together: a column that few rows use costs some hundred bytes a row group.
pub(super) fn max_keys(owner: Owner) -> usize {
    match owner {
        Owner::Span => 96,
        Owner::Resource => 48,
        Owner::Scope => 16,
    }
}

/// A table may have so many times [`max_keys`] over its life: columns of keys that no longer come stay in it, since old files have them, but one
/// with thousands of columns is slow to open for every reader.
const LIVES: usize = 3;

/// The most keys of an owner that a table ever has columns for.
pub(super) fn max_keys_of_table(owner: Owner) -> usize {
    LIVES * max_keys(owner)
}

/// The promoted columns of a table, in the order in which it got them. It only ever grows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Promoted {
    columns: Vec<PromotedColumn>,
}

/// What a new file may promote.
#[derive(Debug, Clone, Default)]
pub struct Promotion {
    /// The columns that the table has.
    pub known: Promoted,
    /// Whether keys may be promoted that the table has no column for. Two files that are written at the same time may not both do that: what
    /// they choose may not go together.
    pub may_grow: bool,
}

impl Promoted {
    /// Takes the promoted columns from the names of a table's columns.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { columns: names.into_iter().filter_map(PromotedColumn::parse).collect() }
    }

    pub fn columns(&self) -> &[PromotedColumn] {
        &self.columns
    }

    /// The promoted keys in order.
    pub fn keys(&self) -> Vec<AttributeKey> {
        let mut keys: Vec<AttributeKey> = Vec::new();
        for column in &self.columns {
            if !keys.contains(&column.key) {
                keys.push(column.key.clone());
            }
        }
        keys
    }

    /// Whether the table has a column for values of this type.
    pub(super) fn has(&self, key: &AttributeKey, scalar: Scalar) -> bool {
        self.columns.iter().any(|column| column.key == *key && column.scalar == scalar)
    }

    /// Those of `columns` that are not here yet.
    pub fn missing<'a>(&self, columns: &'a [PromotedColumn]) -> Vec<&'a PromotedColumn> {
        columns.iter().filter(|column| !self.columns.contains(column)).collect()
    }

    /// Adds the columns that are not here yet.
    pub fn extend(&mut self, columns: &[PromotedColumn]) {
        let missing: Vec<PromotedColumn> = self.missing(columns).into_iter().cloned().collect();
        self.columns.extend(missing);
    }
}
