//! The scan of fresh spans.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
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
use super::wanted::{TraceIds, wanted_traces};
use crate::model::SpanBatch;
use crate::model::schema::physical_schema;

/// Plans a scan of what the predicate may want of the batches; `None` when that is nothing.
pub(super) fn scan_fresh(
    batches: &[SpanBatch],
    projection: Option<&Vec<usize>>,
    predicate: Option<&Arc<dyn PhysicalExpr>>,
    partitions: usize,
) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let wanted = prune(predicate, batches.len(), |batch| StartRange::of_batch(&batches[batch]));
    let traces = predicate.and_then(wanted_traces);
    let mut groups = vec![Vec::new(); partitions.max(1)];
    let kept = batches.iter().zip(&wanted).filter(|(_, wanted)| **wanted);
    let parts = kept.map(|(batch, _)| Part::of(batch, traces.as_ref())).filter(|part| !part.rows.is_empty());
    for (n, part) in parts.enumerate() {
        groups[n % partitions.max(1)].push(part);
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

/// What is read of a batch.
#[derive(Debug, Clone)]
struct Part {
    batch: SpanBatch,
    rows: Vec<Range<usize>>,
}

/// With fewer rows than this to a run of one trace, a batch is read whole.
const ROWS_OF_RUN: usize = 8;

impl Part {
    /// The rows of `traces`, and at most all others: the predicate is looked at once more.
    fn of(batch: &SpanBatch, traces: Option<&TraceIds>) -> Self {
        let all = 0..batch.num_rows();
        let runs = traces.and_then(|traces| runs_of(batch, traces));
        let rows = match runs {
            Some(runs) if runs.len() * ROWS_OF_RUN <= all.len() => runs,
            _ if all.is_empty() => Vec::new(),
            _ => vec![all],
        };
        Self { batch: batch.clone(), rows }
    }
}

/// The rows that have one of these trace ids.
fn runs_of(batch: &SpanBatch, traces: &TraceIds) -> Option<Vec<Range<usize>>> {
    let wanted: HashSet<&[u8]> = traces.iter().map(Vec::as_slice).collect();
    let only = traces.first().filter(|_| traces.len() == 1);
    let is_wanted = |id: &[u8]| only.map_or_else(|| wanted.contains(id), |only| id == only.as_slice());
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (row, id) in batch.trace_ids().ok()?.iter().enumerate() {
        if !id.is_some_and(is_wanted) {
            continue;
        }
        match runs.last_mut().filter(|run| run.end == row) {
            Some(run) => run.end += 1,
            None => runs.push(row..row + 1),
        }
    }
    Some(runs)
}

/// Fresh spans, a group a partition. Only the columns at `places` are expanded, a slice at a time, as they are read.
#[derive(Debug, Clone)]
struct FreshSource {
    groups: Vec<Arc<[Part]>>,
    places: Vec<usize>,
    schema: SchemaRef,
    fetch: Option<usize>,
}

impl FreshSource {
    fn rows(&self, partition: Option<usize>) -> usize {
        let groups = self.groups.iter().enumerate().filter(|(group, _)| partition.is_none_or(|only| only == *group));
        groups.flat_map(|(_, group)| group.iter()).flat_map(|part| &part.rows).map(ExactSizeIterator::len).sum()
    }
}

impl DataSource for FreshSource {
    fn open(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let group = self.groups[partition].clone();
        let (places, batch_rows) = (self.places.clone(), context.session_config().batch_size());
        let mut left = self.fetch.unwrap_or(usize::MAX);
        let (mut number, mut run, mut row, mut most) = (0, 0, 0, None);
        let slices = std::iter::from_fn(move || {
            loop {
                let part = group.get(number).filter(|_| left > 0)?;
                let Some(rows) = part.rows.get(run) else {
                    (number, run, most) = (number + 1, 0, None);
                    continue;
                };
                let first = rows.start + row;
                if first >= rows.end {
                    (run, row) = (run + 1, 0);
                    continue;
                }
                let most = *most.get_or_insert_with(|| part.batch.expandable_rows());
                let count = most.min(batch_rows).min(left).min(rows.end - first);
                let slice = part.batch.project(&places, first..first + count);
                (row, left) = (row + count, left - count);
                return Some(slice.map_err(|error| DataFusionError::External(Box::new(error))));
            }
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

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Array, AsArray};
    use datafusion::common::{DFSchema, ScalarValue};
    use datafusion::logical_expr::{Expr, col, lit};
    use datafusion::physical_plan::collect;
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::model::schema::{SPAN_ID, TRACE_ID};
    use crate::store::testing::{START, TestSpan, decode, payload};

    /// A batch of spans of these traces, numbered from `first`.
    fn batch(first: u64, traces: impl IntoIterator<Item = u64>) -> SpanBatch {
        let span = |(span, trace)| TestSpan { trace, span, start_ns: START };
        let spans: Vec<TestSpan> = (first..).zip(traces).map(span).collect();
        decode(&payload(&spans)).expect("a batch")
    }

    fn is(trace: u64) -> Expr {
        let id = [trace.to_be_bytes(), trace.to_be_bytes()].concat();
        col(TRACE_ID).eq(lit(ScalarValue::FixedSizeBinary(16, Some(id))))
    }

    /// The span ids that a scan gives, as many as it said.
    async fn read(batches: &[SpanBatch], condition: Expr, partitions: usize) -> Vec<u64> {
        let schema = DFSchema::try_from(physical_schema()).expect("schema");
        let context = SessionContext::new();
        let predicate = context.create_physical_expr(condition, &schema).expect("planned");
        let Some(scan) = scan_fresh(batches, None, Some(&predicate), partitions).expect("planned") else {
            return Vec::new();
        };
        let counted: usize = (0..scan.properties().partitioning.partition_count())
            .map(|partition| *rows_of(&scan, partition).get_value().expect("a number"))
            .sum();
        let mut ids = Vec::new();
        for rows in collect(scan, context.task_ctx()).await.expect("rows") {
            let column = rows.column_by_name(SPAN_ID).expect("ids").as_fixed_size_binary();
            let id = |row| u64::from_be_bytes(column.value(row).try_into().expect("eight bytes"));
            ids.extend((0..column.len()).map(id));
        }
        assert_eq!(ids.len(), counted);
        ids.sort_unstable();
        ids
    }

    fn rows_of(scan: &Arc<dyn ExecutionPlan>, partition: usize) -> Precision<usize> {
        let source = scan.downcast_ref::<DataSourceExec>().expect("a source").data_source();
        source.partition_statistics(Some(partition)).expect("statistics").num_rows
    }

    #[tokio::test]
    async fn of_traces_that_are_named_their_rows_are_read_and_few_others() {
        let batches = [
            // Ten rows each, then trace 1 once more.
            batch(0, (0..10).flat_map(|trace| [trace; 10]).chain([1; 3])),
            batch(200, [8; 50]),
            // In turn: reading run by run would cost more than reading all.
            batch(300, (0..40).map(|row| row % 2)),
            batch(400, []),
        ];
        for partitions in [1, 3] {
            let one: Vec<u64> = (10..20).chain(100..103).chain(300..340).collect();
            assert_eq!(read(&batches, is(1), partitions).await, one);
            let two: Vec<u64> = (50..60).chain(80..90).chain(200..250).collect();
            assert_eq!(read(&batches, is(8).or(is(5)), partitions).await, two);
            assert_eq!(read(&batches, is(77), partitions).await, Vec::<u64>::new());
            let all: Vec<u64> = (0..103).chain(200..250).chain(300..340).collect();
            assert_eq!(read(&batches, is(1).or(lit(true)), partitions).await, all);
        }
    }
}
