//! The operator: a partial aggregation that goes over to DataFusion's when the groups turn out to be many.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{internal_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::execution_plan::ReplaceChildrenOptions;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties, replace_children_if_necessary,
};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::table::Table;

/// More groups than this are not few: remembering views no longer pays, and DataFusion's table spills and skips better.
const MAX_GROUPS: usize = 16 * 1024;

/// A partial aggregation as `plan` would do it.
#[derive(Debug)]
pub(super) struct FewGroupsExec {
    plan: Arc<dyn ExecutionPlan>,
    metrics: ExecutionPlanMetricsSet,
}

impl FewGroupsExec {
    /// `plan` is an [`AggregateExec`] that the rule found fit.
    pub fn new(plan: Arc<dyn ExecutionPlan>) -> Self {
        Self { plan, metrics: ExecutionPlanMetricsSet::new() }
    }

    fn aggregate(&self) -> Result<&AggregateExec> {
        self.plan.downcast_ref().ok_or_else(|| internal_datafusion_err!("few groups of what is no aggregation"))
    }
}

impl DisplayAs for FewGroupsExec {
    fn fmt_as(&self, style: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FewGroupsExec: ")?;
        match self.plan.downcast_ref::<AggregateExec>() {
            Some(plan) => plan.fmt_as(style, f),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for FewGroupsExec {
    fn name(&self) -> &str {
        "FewGroupsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.plan.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.plan.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.plan.apply_expressions(f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(replace_children_if_necessary(self.plan.clone(), children)?)))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(Self::new(replace_children_if_necessary(self.plan.clone(), children)?)))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let aggregate = self.aggregate()?;
        let run = Run {
            table: Table::new(aggregate)?,
            rows: aggregate.input().execute(partition, context.clone())?,
            plan: self.plan.clone(),
            context,
            metrics: BaselineMetrics::new(&self.metrics, partition),
            partition,
        };
        let batches = stream::once(run.finish()).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One partition's aggregation.
struct Run {
    table: Table,
    rows: SendableRecordBatchStream,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    metrics: BaselineMetrics,
    partition: usize,
}

impl Run {
    /// Takes in all rows, or leaves those that are left to DataFusion's aggregation.
    async fn finish(mut self) -> Result<BoxStream<'static, Result<RecordBatch>>> {
        let memory = MemoryConsumer::new(format!("FewGroups[{}]", self.partition)).register(self.context.memory_pool());
        while let Some(batch) = self.rows.next().await {
            let timer = self.metrics.elapsed_compute().timer();
            self.table.add(&batch?)?;
            let fits = self.table.groups() <= MAX_GROUPS && memory.try_resize(self.table.heap_bytes()).is_ok();
            timer.done();
            if !fits {
                let rest = rest(&self.plan, self.rows, self.context)?;
                let first = self.table.finish()?;
                return Ok(stream::iter(first.map(Ok)).chain(rest).boxed());
            }
        }
        let batch = self.table.finish()?;
        self.metrics.record_output(batch.as_ref().map_or(0, RecordBatch::num_rows));
        Ok(stream::iter(batch.map(Ok)).boxed())
    }
}

/// DataFusion's aggregation over the rows that are left.
fn rest(
    plan: &Arc<dyn ExecutionPlan>,
    rows: SendableRecordBatchStream,
    context: Arc<TaskContext>,
) -> Result<SendableRecordBatchStream> {
    let schema = rows.schema();
    let of_plan = schema.clone();
    let rows = rows.map(move |batch| without_dictionaries(batch?, &of_plan));
    let rows: SendableRecordBatchStream = Box::pin(RecordBatchStreamAdapter::new(schema.clone(), rows));
    let left = Left { schema: schema.clone(), rows: Mutex::new(Some(rows)) };
    let input = StreamingTableExec::try_new(schema, vec![Arc::new(left)], None, [], false, None)?;
    replace_children_if_necessary(plan.clone(), vec![Arc::new(input)])?.execute(0, context)
}

/// The batch as the plan says that it is.
fn without_dictionaries(batch: RecordBatch, of_plan: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == of_plan {
        return Ok(batch);
    }
    let columns = batch.columns().iter().zip(of_plan.fields()).map(|(column, field)| cast(column, field.data_type()));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let columns = columns.collect::<std::result::Result<_, _>>()?;
    Ok(RecordBatch::try_new_with_options(of_plan.clone(), columns, &options)?)
}

/// Rows that are taken once.
struct Left {
    schema: SchemaRef,
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Left")
    }
}

impl PartitionStream for Left {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let taken = self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_else(|| {
            let twice = stream::iter([internal_err!("rows that were taken before")]);
            Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), twice))
        })
    }
}
