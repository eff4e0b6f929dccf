//! What PostgreSQL's clients ask of `pg_catalog`: the tables and functions of `datafusion-pg-catalog`, mended where our
//! relations or clients need it.
//!
//! The physical tables are not listed.

mod callable;
mod descriptions;
mod empty;
mod functions;
mod live;
mod oids;
mod recorded;
mod reg;
mod relations;
mod rewrite;

use std::sync::Arc;

use datafusion::execution::context::SessionContext;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::ScalarUDF;
use datafusion_pg_catalog::pg_catalog::context::EmptyContextProvider;
use datafusion_pg_catalog::setup_pg_catalog;

use super::activity::Activity;
use super::catalog;
use super::errors::from_datafusion;
use super::recorded::Recorded;
use crate::error::Result;

use oids::{CatalogTypes, OverOids};

pub(super) use empty::read;
pub(super) use rewrite::parse;

/// Functions of the crate that take OIDs as signed numbers.
const OF_OIDS: [&str; 6] = [
    "format_type",
    "pg_get_constraintdef",
    "pg_get_expr",
    "pg_get_partkeydef",
    "pg_get_statisticsobjdef_columns",
    "pg_relation_is_publishable",
];

/// Adds the catalogue's tables and functions to the engine's context.
pub(super) fn install(context: &SessionContext, activity: &Arc<Activity>, recorded: &Arc<Recorded>) -> Result<()> {
    let database = catalog::database(context);
    setup_pg_catalog(context, &database, EmptyContextProvider).map_err(|error| from_datafusion(*error))?;
    let tables = relations::PgCatalog::new(context, activity, recorded).map_err(from_datafusion)?;
    context.register_udf(functions::view_definition(tables.definitions()));
    context.register_udf(functions::table_is_visible(tables.visible()));
    let (objects, descriptions) = (tables.objects().clone(), tables.descriptions().clone());
    if let Some(catalog) = context.catalog(&database) {
        catalog.register_schema("pg_catalog", Arc::new(tables)).map_err(from_datafusion)?;
    }
    let state = context.state();
    for name in OF_OIDS {
        if let Some(function) = state.scalar_functions().get(name) {
            context.register_udf(ScalarUDF::from(OverOids::of(function.clone())));
        }
    }
    for function in
        functions::scalar_functions().into_iter().chain(descriptions.functions()).chain(reg::functions(&objects))
    {
        context.register_udf(function);
    }
    let known = context.state_ref().read().clone();
    let known = SessionStateBuilder::new_from_existing(known).with_type_planner(Arc::new(CatalogTypes)).build();
    *context.state_ref().write() = known;
    Ok(())
}
