//! The scan of sealed files.

use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::common::Statistics;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;

use super::prune::prune;
use super::statistics::file_statistics;
use crate::model::schema::physical_schema;
use crate::store::Snapshot;

/// Plans a scan of the files that the predicate may want; `None` when there is none.
pub(super) fn scan_files(
    state: &dyn Session,
    snapshot: &Snapshot,
    projection: Option<&Vec<usize>>,
    predicate: Option<Arc<dyn PhysicalExpr>>,
    limit: Option<usize>,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let statistics: Vec<_> = snapshot.files.iter().map(file_statistics).collect();
    let wanted = prune(predicate.as_ref(), &statistics);
    let files: Vec<_> =
        snapshot.files.iter().zip(statistics).zip(wanted).filter_map(|(file, wanted)| wanted.then_some(file)).collect();
    if files.is_empty() {
        return Ok(None);
    }
    state.runtime_env().register_object_store(&snapshot.object_store_url, snapshot.object_store.clone());
    let total =
        Statistics::try_merge_iter(files.iter().map(|(_, statistics)| statistics.as_ref()), &physical_schema())?;
    let files = files
        .into_iter()
        .map(|(file, statistics)| {
            PartitionedFile::new(file.location.to_string(), file.size_bytes).with_statistics(statistics)
        })
        .collect();
    let groups = FileGroup::new(files).split_files(state.config().target_partitions().max(1));
    let mut source = ParquetSource::new(physical_schema());
    if let Some(predicate) = predicate {
        source = source.with_predicate(predicate);
    }
    let url = ObjectStoreUrl::parse(&snapshot.object_store_url)?;
    let config = FileScanConfigBuilder::new(url, Arc::new(source))
        .with_file_groups(groups)
        .with_statistics(total)
        .with_projection_indices(projection.cloned())?
        .with_limit(limit)
        .build();
    Ok(Some(DataSourceExec::from_data_source(config)))
}
