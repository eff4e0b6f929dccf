//! A recorded table: plans a scan of the version that its statement sees.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DataFusionError, project_schema};
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::source_as_provider;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableScan};
use datafusion::object_store::memory::InMemory;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;

use super::open_file::OpenFiles;
use super::pinned::PinnedTables;
use super::{RecordedFile, RecordedTables};
use crate::engine::scan::physical_predicate;
use crate::error::{Error, Kind};

/// Scans go by an object store; nothing is read of this one, which is empty.
const STORE_URL: &str = "spanhouse-reports://tables/";

/// A table of the schema, with the columns that it had when it was named.
#[derive(Debug)]
pub(super) struct RecordedTable {
    name: String,
    schema: SchemaRef,
    tables: Arc<dyn RecordedTables>,
}

impl RecordedTable {
    pub fn new(name: &str, schema: SchemaRef, tables: Arc<dyn RecordedTables>) -> Self {
        Self { name: name.to_owned(), schema, tables }
    }

    /// Refuses a version that lacks what the statement was planned with. A table only gains columns, so that this one is another table.
    fn check(&self, now: &Schema) -> crate::error::Result<()> {
        let same = |field: &datafusion::arrow::datatypes::FieldRef| {
            now.field_with_name(field.name()).is_ok_and(|now| now.data_type() == field.data_type())
        };
        match self.schema.fields().iter().find(|field| !same(field)) {
            None => Ok(()),
            Some(field) => {
                let message = format!("column \"{}\" of reports.{} is not what it was", field.name(), self.name);
                let error = Error::new(Kind::BadInput, message).with_sqlstate("0A000");
                Err(error.with_hint("the table was made anew since the statement was prepared: prepare it again"))
            }
        }
    }
}

/// Whether a scan is of a recorded table, whose columns may be others the next time.
pub(in crate::engine) fn is_recorded(scan: &TableScan) -> bool {
    source_as_provider(&scan.source).is_ok_and(|table| table.is::<RecordedTable>())
}

/// One of our errors on its way through DataFusion.
pub(super) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

#[async_trait]
impl TableProvider for RecordedTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        // Row groups are left out by their statistics; what is left is filtered above the scan.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let pinned = state.config().get_extension::<PinnedTables>().unwrap_or_default();
        let version = pinned.version(&self.name, self.tables.as_ref()).map_err(external)?;
        self.check(&version.schema).map_err(external)?;
        if version.files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        }
        let mut source = ParquetSource::new(self.schema.clone()).with_parquet_file_reader_factory(Arc::new(OpenFiles));
        if let Some(predicate) = physical_predicate(state, filters, self.schema.clone())? {
            source = source.with_predicate(predicate);
        }
        let planned = |file: &RecordedFile| PartitionedFile::new(&*file.name, file.bytes).with_extension(file.clone());
        let files = FileGroup::new(version.files.iter().map(planned).collect());
        let url = ObjectStoreUrl::parse(STORE_URL)?;
        state.runtime_env().register_object_store(url.as_ref(), Arc::new(InMemory::new()));
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(files.split_files(state.config().target_partitions().max(1)))
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}
