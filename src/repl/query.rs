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
