//! Relations that are not stored: their rows are made when a statement scans them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::ExecutionPlan;

type Rows = dyn Fn(&SchemaRef, &dyn Session) -> Result<RecordBatch> + Send + Sync;

/// A relation whose rows a function makes for each scan.
pub(super) struct Computed {
    schema: SchemaRef,
    rows: Box<Rows>,
}

impl Computed {
    /// The relation of `rows`, which gives batches of `schema`.
    pub fn table(
        schema: SchemaRef,
        rows: impl Fn(&SchemaRef, &dyn Session) -> Result<RecordBatch> + Send + Sync + 'static,
    ) -> Arc<dyn TableProvider> {
        Arc::new(Self { schema, rows: Box::new(rows) })
    }
}

impl fmt::Debug for Computed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Computed").field("schema", &self.schema).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for Computed {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let rows = (self.rows)(&self.schema, state)?;
        let source = MemorySourceConfig::try_new(&[vec![rows]], self.schema.clone(), projection.cloned())?;
        Ok(DataSourceExec::from_data_source(source))
    }
}
