//! The scan of sealed files.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::Session;
use datafusion::common::{ColumnStatistics, Statistics, internal_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::CachedParquetFileReaderFactory;
use datafusion::datasource::physical_plan::{
    FileGroup, FileScanConfig, FileScanConfigBuilder, FileSource, ParquetSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr_common::physical_expr::is_volatile;
use datafusion::physical_plan::ExecutionPlan;

use super::attributes::AttributeAdapters;
use super::hot::{ColumnCache, Once};
use super::lookup::{Rows, candidates, rows_of_traces};
use super::prune::prune;
use super::source::SpansSource;
use super::statistics::file_statistics;
use crate::model::schema::physical_schema;
use crate::store::{DataFile, Snapshot};

/// The scan of files that a plan is, if it is one.
fn spans_source(plan: &dyn ExecutionPlan) -> Option<(&FileScanConfig, &SpansSource)> {
    plan.downcast_ref::<DataSourceExec>()?.downcast_to_file_source()
}

/// The same scan with another source.
fn with_source(config: &FileScanConfig, source: Arc<dyn FileSource>) -> FileScanConfigBuilder {
    FileScanConfigBuilder::from(config.clone()).with_source(source)
}

/// The scan of Parquet files that a plan is, if it is one: what it reads, and the source that reads it.
pub(in crate::engine) fn file_scan(plan: &dyn ExecutionPlan) -> Option<(&FileScanConfig, &ParquetSource)> {
    let (config, source) = spans_source(plan)?;
    Some((config, source.parquet()?))
}

/// The same scan of files, for a statement for which `once` is enough; `None` when that makes no difference.
pub(in crate::engine) fn scan_once(plan: &dyn ExecutionPlan, once: Once) -> Option<Arc<dyn ExecutionPlan>> {
    let (config, source) = spans_source(plan)?;
    let columns = source.projection()?;
    let read = columns.column_indices();
    let is_told = match once {
        Once::Keys(_) => read.len() == 1 && source.filter().is_none(),
        Once::Rows => read.len() == 1 || read.iter().all(|at| may_have_dictionary(config.file_schema().field(*at))),
    };
    if config.limit.is_some() || columns.expr_iter().any(|expr| is_volatile(&expr)) || !is_told {
        return None;
    }
    Some(DataSourceExec::from_data_source(with_source(config, Arc::new(source.once(once))).build()))
}

/// Whether the column, or that of an attribute in it, may be places in a dictionary of text.
fn may_have_dictionary(field: &Field) -> bool {
    matches!(field.data_type(), DataType::Utf8View | DataType::Map(..))
}

/// The same scan of files, whose batches may have dictionaries of text in the place of text in `columns`.
pub(in crate::engine) fn scan_coded(plan: &dyn ExecutionPlan, columns: &[usize]) -> Option<Arc<dyn ExecutionPlan>> {
    let (config, source) = spans_source(plan)?;
    Some(DataSourceExec::from_data_source(with_source(config, Arc::new(source.coded(columns))).build()))
}

/// The same scan over parts of its files, which leaves rows out that `predicate` does not want where it reads them from files; `None` when the plan
/// is no scan of files.
pub(in crate::engine) fn scan_parts(
    plan: &dyn ExecutionPlan,
    groups: Vec<FileGroup>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
) -> Option<Arc<dyn ExecutionPlan>> {
    let (config, source) = spans_source(plan)?;
    let mut parquet = source.parquet()?.clone().with_pushdown_filters(true);
    if let Some(predicate) = predicate {
        parquet = parquet.with_predicate(predicate);
    }
    let config = with_source(config, source.around(Arc::new(parquet))).with_file_groups(groups).build();
    Some(DataSourceExec::from_data_source(config))
}

/// Plans a scan of the files that the predicate may want; `None` when there is none.
pub(super) async fn scan_files(
    state: &dyn Session,
    readers: &Readers,
    snapshot: &Snapshot,
    projection: Option<&Vec<usize>>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    limit: Option<usize>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    // What is known of a file is more work to compare than to ask its index for a trace.
    let files = candidates(snapshot, predicate.as_ref());
    let statistics: Vec<_> = files.iter().map(|file| file_statistics(file)).collect();
    let wanted = prune(predicate.as_ref(), &statistics);
    let (files, statistics): (Vec<&DataFile>, Vec<_>) =
        files.into_iter().zip(statistics).zip(wanted).filter_map(|(file, wanted)| wanted.then_some(file)).unzip();
    let rows = rows_of_traces(snapshot, &files, predicate.as_ref()).await;
    let statistics = statistics.iter().zip(&rows).map(|(of_file, rows)| rows.statistics(of_file));
    let mut files: Vec<_> = files
        .into_iter()
        .zip(statistics)
        .zip(&rows)
        .filter(|(_, rows)| **rows != Rows::None)
        .map(|((file, statistics), rows)| {
            let planned = PartitionedFile::new(file.location.to_string(), file.size_bytes).with_statistics(statistics);
            rows.attach(planned.with_extension(file.clone()), file.rows)
        })
        .collect();
    if files.is_empty() {
        return Ok(None);
    }
    state.runtime_env().register_object_store(&snapshot.object_store_url, snapshot.object_store.clone());
    let columns = file_columns(snapshot);
    for file in &mut files {
        file.statistics = file.statistics.take().map(|statistics| for_columns(statistics, &columns));
    }
    let total = Statistics::try_merge_iter(files.iter().filter_map(|file| file.statistics.as_deref()), &columns)?;
    let groups = FileGroup::new(files).split_files(state.config().target_partitions().max(1));
    let projection = projection.cloned().unwrap_or_else(|| (0..physical_schema().fields().len()).collect());
    let url = ObjectStoreUrl::parse(&snapshot.object_store_url)?;
    let is_lookup = rows.iter().all(|rows| *rows != Rows::All);
    let source = readers.source(snapshot, columns, predicate).lookup(is_lookup);
    let config = FileScanConfigBuilder::new(url, Arc::new(source))
        .with_file_groups(groups)
        .with_statistics(total)
        .with_projection_indices(Some(projection))?
        .with_limit(limit)
        .with_expr_adapter(Some(Arc::new(AttributeAdapters)))
        .build();
    Ok(Some(DataSourceExec::from_data_source(config)))
}

/// What reading files takes beside the files.
#[derive(Debug, Clone)]
pub(super) struct Readers {
    pub runtime: Arc<RuntimeEnv>,
    cache: Arc<ColumnCache>,
}

impl Readers {
    /// Those of a session.
    pub fn of(state: &dyn Session) -> Result<Self> {
        let cache = state.config().get_extension::<ColumnCache>();
        let cache = cache.ok_or_else(|| internal_datafusion_err!("a scan of files without a cache of columns"))?;
        Ok(Self { runtime: state.runtime_env().clone(), cache })
    }

    /// A source of files that may have `columns`.
    pub fn source(
        &self,
        snapshot: &Snapshot,
        columns: SchemaRef,
        predicate: Option<Arc<dyn PhysicalExpr>>,
    ) -> SpansSource {
        // Footers and page indexes are parsed once a file, not once a statement.
        let metadata = self.runtime.cache_manager.get_file_metadata_cache();
        let reader = CachedParquetFileReaderFactory::new(snapshot.object_store.clone(), metadata);
        let mut source = ParquetSource::new(columns);
        if let Some(predicate) = predicate {
            source = source.with_predicate(predicate);
        }
        SpansSource::new(source, Arc::new(reader), self.cache.clone())
    }
}

/// The columns that files may have: those of the table, and those of promoted attributes, which only the attribute adapter reads.
pub(super) fn file_columns(snapshot: &Snapshot) -> SchemaRef {
    let physical = physical_schema();
    let promoted = snapshot.promoted.columns().iter().map(|column| FieldRef::from(column.field()));
    Arc::new(Schema::new(physical.fields().iter().cloned().chain(promoted).collect::<Vec<_>>()))
}

/// The same statistics with unknown ones for the columns of promoted attributes.
pub(super) fn for_columns(statistics: Arc<Statistics>, columns: &Schema) -> Arc<Statistics> {
    let mut statistics = Arc::unwrap_or_clone(statistics);
    statistics.column_statistics.resize_with(columns.fields().len(), ColumnStatistics::new_unknown);
    Arc::new(statistics)
}
