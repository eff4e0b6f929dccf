//! The table: plans a scan of one snapshot, fresh batches beside files.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, internal_datafusion_err};
use datafusion::datasource::TableType;
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::union::UnionExec;

use super::files::{Readers, scan_files};
use super::fresh::scan_fresh;
use super::spans_scan::SpansScan;
use super::visible::scan_visible;
use crate::engine::rights::Sight;
use crate::model::schema::physical_schema;
use crate::store::Snapshot;

/// The snapshot that a statement sees, kept in its session configuration.
#[derive(Debug)]
pub(in crate::engine) struct PinnedSnapshot(pub Snapshot);

/// The spans that the session's user sees, in the physical schema. Each scan reads the [`PinnedSnapshot`] of its statement, so that all scans of
/// a statement see the same spans.
#[derive(Debug)]
pub(in crate::engine) struct SpansTable;

#[async_trait]
impl TableProvider for SpansTable {
    fn schema(&self) -> SchemaRef {
        physical_schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match Sight::of(state) {
            None => scan_all(state, projection, filters, limit).await,
            Some(sight) => scan_visible(state, &sight, projection, filters).await,
        }
    }
}

/// Plans a scan of all spans of the statement's snapshot.
pub(super) async fn scan_all(
    state: &dyn Session,
    projection: Option<&Vec<usize>>,
    filters: &[Expr],
    limit: Option<usize>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let pinned = state
        .config()
        .get_extension::<PinnedSnapshot>()
        .ok_or_else(|| internal_datafusion_err!("a scan of spans without a pinned snapshot"))?;
    let predicate = physical_predicate(state, filters, physical_schema())?;
    let readers = Readers::of(state)?;
    let partitions = state.config().target_partitions();
    let mut inputs = Vec::new();
    if let Some(fresh) = scan_fresh(&pinned.0.fresh, projection, predicate.as_ref(), partitions)? {
        inputs.push(fresh);
    }
    if let Some(sealed) = scan_files(state, &readers, &pinned.0, projection, predicate.clone(), limit).await? {
        inputs.push(sealed);
    }
    let inner = match inputs.len() {
        0 => Arc::new(EmptyExec::new(datafusion::common::project_schema(&physical_schema(), projection)?)),
        1 => inputs.swap_remove(0),
        _ => UnionExec::try_new(inputs)?,
    };
    let columns = projection.cloned().unwrap_or_else(|| (0..physical_schema().fields().len()).collect());
    Ok(Arc::new(SpansScan { inner, readers, snapshot: pinned.0.clone(), columns, predicate, limit }))
}

/// The conditions as one over rows of `schema`; `None` where there is none.
pub(in crate::engine) fn physical_predicate(
    state: &dyn Session,
    filters: &[Expr],
    schema: SchemaRef,
) -> Result<Option<Arc<dyn PhysicalExpr>>> {
    let Some(filter) = conjunction(filters.to_vec()) else { return Ok(None) };
    let schema = DFSchema::try_from(schema)?;
    state.create_physical_expr(filter, &schema).map(Some)
}
