//! The scan of fresh batches.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;

use super::prune::prune;
use super::statistics::batch_statistics;
use crate::model::schema::physical_schema;

/// Plans a scan of the batches that the predicate may want; `None` when there is none.
pub(super) fn scan_fresh(
    batches: &[RecordBatch],
    projection: Option<&Vec<usize>>,
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    partitions: usize,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let statistics: Vec<_> = batches.iter().map(batch_statistics).collect();
    let wanted = prune(predicate, &statistics);
    let mut groups = vec![Vec::new(); partitions.max(1)];
    let kept = batches.iter().zip(&wanted).filter(|(batch, wanted)| **wanted && batch.num_rows() > 0);
    for (n, (batch, _)) in kept.enumerate() {
        groups[n % partitions.max(1)].push(batch.clone());
    }
    groups.retain(|group| !group.is_empty());
    if groups.is_empty() {
        return Ok(None);
    }
    let source = MemorySourceConfig::try_new(&groups, physical_schema(), projection.cloned())?.with_show_sizes(false);
    Ok(Some(DataSourceExec::from_data_source(source)))
}
