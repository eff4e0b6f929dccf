//! The shell's own questions: small results, read whole.

use datafusion::arrow::array::RecordBatch;
use datafusion::common::ScalarValue;
use futures::StreamExt;

use crate::engine::{Outcome, Session};
use crate::error::{Error, Result};
use crate::render::cell_text;

pub const ATTRIBUTE_KEYS: &str = include_str!("queries/attribute_keys.sql");
pub const COLUMNS: &str = include_str!("queries/columns.sql");
pub const FUNCTIONS: &str = include_str!("queries/functions.sql");
pub const RELATIONS: &str = include_str!("queries/relations.sql");
pub const SCHEMAS: &str = include_str!("queries/schemas.sql");
pub const TABLE_FUNCTIONS: &str = include_str!("queries/table_functions.sql");
pub const TRACE: &str = include_str!("queries/trace.sql");
pub const TRACES_BY_PREFIX: &str = include_str!("queries/traces_by_prefix.sql");
/// Has `:value` where the SQL of the value has to stand.
pub const VALUES: &str = include_str!("queries/values.sql");

/// Runs one query of the shell's own, whose text bounds its result, and gives all its batches.
pub async fn batches(session: &Session, sql: &str, parameters: &[&str]) -> Result<Vec<RecordBatch>> {
    let statements = session.prepare(sql).await?;
    let [statement] = statements.as_slice() else {
        return Err(Error::internal("a query of the shell is not one statement"));
    };
    let parameters: Vec<ScalarValue> = parameters.iter().map(|text| ScalarValue::from(*text)).collect();
    let Outcome::Rows(mut rows) = session.execute(statement, &parameters).await? else {
        return Err(Error::internal("a query of the shell gives no rows"));
    };
    let mut batches = Vec::new();
    while let Some(batch) = rows.stream.next().await {
        batches.push(batch?);
    }
    Ok(batches)
}

/// Runs such a query and gives its rows as text.
pub async fn texts(session: &Session, sql: &str, parameters: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut rows = Vec::new();
    for batch in batches(session, sql, parameters).await? {
        for row in 0..batch.num_rows() {
            let cells = batch.columns().iter().map(|column| cell_text(column, row));
            rows.push(cells.collect::<Result<_>>()?);
        }
    }
    Ok(rows)
}
