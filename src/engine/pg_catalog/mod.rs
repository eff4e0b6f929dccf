//! What PostgreSQL's clients ask of `pg_catalog`: the tables and functions of `datafusion-pg-catalog`, mended where our
//! relations or clients need it.
//!
//! Only `traces`, `pg_catalog` and `information_schema` exist here; the physical tables are not listed.

mod functions;
mod relations;
mod rewrite;

use std::sync::Arc;

use datafusion::execution::context::SessionContext;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::setup_pg_catalog;

use super::catalog::CATALOG;
use super::errors::from_datafusion;
use crate::error::Result;

pub(super) use rewrite::parse;

/// Adds the catalogue's tables and functions to the engine's context.
pub(super) fn install(context: &SessionContext) -> Result<()> {
    setup_pg_catalog(context, CATALOG, EmptyContextProvider).map_err(|error| from_datafusion(*error))?;
    let tables = relations::PgCatalog::new(context).map_err(from_datafusion)?;
    context.register_udf(functions::view_definition(tables.definitions()));
    if let Some(catalog) = context.catalog(CATALOG) {
        catalog.register_schema("pg_catalog", Arc::new(tables)).map_err(from_datafusion)?;
    }
    for function in functions::scalar_functions() {
        context.register_udf(function);
    }
    Ok(())
}
