//! The operator: rows without columns, those of pages inside the range by what files say of them.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ScalarValue, internal_datafusion_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetAccessPlan;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties, replace_children_if_necessary,
};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::range::{Lies, lies};
use crate::engine::footers::{File, whole_files, with_footers};
use crate::engine::pages::{Page, access_to, pages, rows_of_row_groups};
use crate::engine::scan::{file_scan, scan_parts};

/// The rows, without columns, that a filter by a range of one column leaves.
#[derive(Debug)]
pub(super) struct CountedRowsExec {
    /// The filter, right above a scan of files.
    filter: Arc<dyn ExecutionPlan>,
    column: String,
    range: RangeInclusive<i64>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl CountedRowsExec {
    /// `column` is the files', and `range` what of its values `filter` lets through.
    pub fn new(filter: Arc<dyn ExecutionPlan>, column: String, range: RangeInclusive<i64>) -> Self {
        let properties =
            PlanProperties::clone(filter.properties()).with_partitioning(Partitioning::UnknownPartitioning(1));
        Self { filter, column, range, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for CountedRowsExec {
    fn fmt_as(&self, _style: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CountedRowsExec: pages by {}", self.column)
    }
}

impl ExecutionPlan for CountedRowsExec {
    fn name(&self) -> &str {
        "CountedRowsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.filter]
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let filter = children.pop().ok_or_else(|| internal_datafusion_err!("counted rows of nothing"))?;
        Ok(Arc::new(Self::new(filter, self.column.clone(), self.range.clone())))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        replace_children_if_necessary(self, children)
    }

    fn execute(&self, _partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let run = Run {
            filter: self.filter.clone(),
            column: self.column.clone(),
            range: self.range.clone(),
            context,
            metrics: self.metrics.clone(),
        };
        let batches = stream::once(run.start()).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

struct Run {
    filter: Arc<dyn ExecutionPlan>,
    column: String,
    range: RangeInclusive<i64>,
    context: Arc<TaskContext>,
    metrics: ExecutionPlanMetricsSet,
}

impl Run {
    async fn start(self) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let scan = scan_below(&self.filter)?;
        let (config, _) = file_scan(scan.as_ref()).ok_or_else(no_scan)?;
        let (mut counted, mut across) = (0, Vec::new());
        for file in whole_files(config) {
            match self.by_log(config, &file) {
                (Lies::Inside, Some(rows)) => counted += rows,
                (Lies::Outside, _) => {}
                _ => across.push(file),
            }
        }
        let files = with_footers(across, config, self.context.runtime_env().as_ref()).await?;
        let (mut groups, mut rows_of_groups) = (Vec::new(), 0);
        let mut read = 0;
        for File { file, metadata } in files {
            let all = ParquetAccessPlan::new_all(metadata.num_row_groups());
            let least = pages(0, &metadata, &all, &self.column, false);
            let most = pages(0, &metadata, &all, &self.column, true);
            let mut to_read: Vec<&Page> = Vec::new();
            for (page, most) in least.iter().zip(most) {
                match lies(&self.range, page.bound, most.bound) {
                    Lies::Inside => counted += page.rows.len(),
                    Lies::Outside => {}
                    Lies::Across => to_read.push(page),
                }
            }
            if !to_read.is_empty() {
                read += to_read.len();
                let access = access_to(&metadata, to_read.into_iter());
                rows_of_groups += rows_of_row_groups(&metadata, &access);
                groups.push(FileGroup::new(vec![file.with_extension(access)]));
            }
        }
        MetricBuilder::new(&self.metrics).counter("rows_counted", 0).add(counted);
        MetricBuilder::new(&self.metrics).counter("pages_read", 0).add(read);
        let rows = rows_without_columns(self.filter.schema(), counted, self.context.session_config().batch_size());
        if groups.is_empty() {
            return Ok(rows.boxed());
        }
        let parts = scan_parts(scan.as_ref(), groups, rows_of_groups, None).ok_or_else(no_scan)?;
        let filtered = over(&self.filter, &parts)?;
        let read = CoalescePartitionsExec::new(filtered).execute(0, self.context)?;
        Ok(rows.chain(read).boxed())
    }

    /// How a file lies to the range by the table's log, and how many rows it has.
    fn by_log(&self, config: &FileScanConfig, file: &PartitionedFile) -> (Lies, Option<usize>) {
        let known = file.statistics.as_deref().zip(config.file_schema().index_of(&self.column).ok());
        let Some((statistics, at)) = known else { return (Lies::Across, None) };
        let exact = |bound: &Precision<ScalarValue>| match bound {
            Precision::Exact(ScalarValue::Int64(bound)) => *bound,
            _ => None,
        };
        let bounds = statistics.column_statistics.get(at);
        let lies = bounds.map(|known| lies(&self.range, exact(&known.min_value), exact(&known.max_value)));
        let rows = match statistics.num_rows {
            Precision::Exact(rows) => Some(rows),
            _ => None,
        };
        (lies.unwrap_or(Lies::Across), rows)
    }
}

/// So many rows without a column.
fn rows_without_columns(
    schema: SchemaRef,
    rows: usize,
    of_batch: usize,
) -> impl futures::Stream<Item = Result<RecordBatch>> + Send {
    let mut left = rows;
    stream::iter(std::iter::from_fn(move || {
        let rows = left.min(of_batch);
        left -= rows;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        (rows > 0).then(|| Ok(RecordBatch::try_new_with_options(schema.clone(), Vec::new(), &options)?))
    }))
}

/// The scan below the filter; what was put in between since the rule saw it gives its input's rows.
fn scan_below(plan: &Arc<dyn ExecutionPlan>) -> Result<&Arc<dyn ExecutionPlan>> {
    let mut plan = plan;
    while file_scan(plan.as_ref()).is_none() {
        plan = plan.children().into_iter().next().ok_or_else(no_scan)?;
    }
    Ok(plan)
}

/// `plan` over another scan.
fn over(plan: &Arc<dyn ExecutionPlan>, scan: &Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    if file_scan(plan.as_ref()).is_some() {
        return Ok(scan.clone());
    }
    let children = plan.children().into_iter().map(|child| over(child, scan)).collect::<Result<_>>()?;
    replace_children_if_necessary(plan.clone(), children)
}

fn no_scan() -> datafusion::error::DataFusionError {
    internal_datafusion_err!("rows are counted of what is no scan of files")
}
