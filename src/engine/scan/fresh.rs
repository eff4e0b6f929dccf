//! The scan of fresh spans.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Statistics, project_schema};
use datafusion::datasource::source::{DataSource, DataSourceExec};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::projection::{all_alias_free_columns, new_projections_for_columns};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};
use futures::stream;

use super::prune::prune;
use super::statistics::StartRange;
use crate::model::SpanBatch;
use crate::model::schema::physical_schema;

/// Plans a scan of the batches that the predicate may want; `None` when there is none.
pub(super) fn scan_fresh(
    batches: &[SpanBatch],
    projection: Option<&Vec<usize>>,
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    partitions: usize,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let wanted = prune(predicate, batches.len(), |batch| StartRange::of_batch(&batches[batch]));
    let mut groups = vec![Vec::new(); partitions.max(1)];
    let kept = batches.iter().zip(&wanted).filter(|(batch, wanted)| **wanted && batch.num_rows() > 0);
    for (n, (batch, _)) in kept.enumerate() {
        groups[n % partitions.max(1)].push(batch.clone());
    }
    groups.retain(|group| !group.is_empty());
    if groups.is_empty() {
        return Ok(None);
    }
    let all = || (0..physical_schema().fields().len()).collect();
    let places = projection.cloned().unwrap_or_else(all);
    let schema = project_schema(&physical_schema(), Some(&places))?;
    let groups = groups.into_iter().map(Arc::from).collect();
    Ok(Some(DataSourceExec::from_data_source(FreshSource { groups, places, schema, fetch: None })))
}

/// Fresh spans, a group a partition. Only the columns at `places` are expanded, a slice at a time, as they are read.
#[derive(Debug, Clone)]
struct FreshSource {
    groups: Vec<Arc<[SpanBatch]>>,
    places: Vec<usize>,
    schema: SchemaRef,
    fetch: Option<usize>,
}

impl FreshSource {
    fn rows(&self, partition: Option<usize>) -> usize {
        let groups = self.groups.iter().enumerate().filter(|(group, _)| partition.is_none_or(|only| only == *group));
        groups.flat_map(|(_, group)| group.iter()).map(SpanBatch::num_rows).sum()
    }
}

impl DataSource for FreshSource {
    fn open(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let group = self.groups[partition].clone();
        let (places, batch_rows) = (self.places.clone(), context.session_config().batch_size());
        let mut left = self.fetch.unwrap_or(usize::MAX);
        let (mut number, mut row) = (0, 0);
        let slices = std::iter::from_fn(move || {
            while group.get(number).is_some_and(|batch| row >= batch.num_rows()) {
                (number, row) = (number + 1, 0);
            }
            let batch = group.get(number).filter(|_| left > 0)?;
            let rows = batch.expandable_rows().min(batch_rows).min(left).min(batch.num_rows() - row);
            let slice = batch.project(&places, row..row + rows);
            (row, left) = (row + rows, left - rows);
            Some(slice.map_err(|error| DataFusionError::External(Box::new(error))))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream::iter(slices))))
    }

    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fresh, partitions={}", self.groups.len())?;
        self.fetch.map_or(Ok(()), |fetch| write!(f, ", fetch={fetch}"))
    }

    fn output_partitioning(&self) -> Partitioning {
        Partitioning::UnknownPartitioning(self.groups.len())
    }

    fn eq_properties(&self) -> EquivalenceProperties {
        EquivalenceProperties::new(self.schema.clone())
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        let rows = self.rows(partition);
        statistics.num_rows = match self.fetch {
            Some(fetch) if fetch < rows => Precision::Inexact(fetch),
            _ => Precision::Exact(rows),
        };
        Ok(Arc::new(statistics))
    }

    fn with_fetch(&self, limit: Option<usize>) -> Option<Arc<dyn DataSource>> {
        Some(Arc::new(Self { fetch: limit, ..self.clone() }))
    }

    fn fetch(&self) -> Option<usize> {
        self.fetch
    }

    fn try_swapping_with_projection(&self, projection: &ProjectionExprs) -> Result<Option<Arc<dyn DataSource>>> {
        let expressions: Vec<_> = projection.iter().cloned().collect();
        if !all_alias_free_columns(&expressions) {
            return Ok(None);
        }
        let places = new_projections_for_columns(&expressions, &self.places);
        let schema = project_schema(&physical_schema(), Some(&places))?;
        Ok(Some(Arc::new(Self { places, schema, ..self.clone() })))
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }
}
