//! The tables behind the schema `system`: what the statement's snapshot says of the store.
//!
//! Reads no file. The views of `schema/system` give the columns their types and names.

mod figures;
mod files;
mod promoted;

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::internal_datafusion_err;
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

use super::scan::PinnedSnapshot;
use crate::store::Snapshot;

/// The tables, by name.
pub(super) fn tables() -> Vec<(&'static str, Arc<dyn TableProvider>)> {
    vec![
        ("files", Arc::new(SnapshotTable { schema: files::schema(), rows: files::rows })),
        ("promoted", Arc::new(SnapshotTable { schema: promoted::schema(), rows: promoted::rows })),
        ("figures", Arc::new(SnapshotTable { schema: figures::schema(), rows: figures::rows })),
    ]
}

/// Rows that follow from the statement's snapshot.
#[derive(Debug)]
struct SnapshotTable {
    schema: SchemaRef,
    rows: fn(SchemaRef, &Snapshot) -> Result<RecordBatch>,
}

#[async_trait]
impl TableProvider for SnapshotTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let pinned = state
            .config()
            .get_extension::<PinnedSnapshot>()
            .ok_or_else(|| internal_datafusion_err!("a scan of the store's figures without a pinned snapshot"))?;
        let rows = (self.rows)(self.schema(), &pinned.0)?;
        let source = MemorySourceConfig::try_new(&[vec![rows]], self.schema(), projection.cloned())?;
        Ok(DataSourceExec::from_data_source(source))
    }
}
