//! The operator over whole traces: what is done with them, it asks of its work.

use std::fmt::{self, Debug};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::stream::BoxStream;

use super::whole::WholeTracesExec;
use crate::engine::tap::TapExec;

/// What is done with whole traces.
pub(super) trait PerTrace: Debug + Send + Sync {
    /// The operator's name in plans.
    fn name(&self) -> &'static str;

    /// What plans say of it beside the name.
    fn detail(&self) -> String;

    /// The columns that it gives.
    fn schema(&self) -> &SchemaRef;

    /// All that it evaluates.
    fn expressions(&self) -> Vec<Arc<dyn PhysicalExpr>>;

    /// Its rows over those of one partition.
    fn run(self: Arc<Self>, traces: Traces) -> Result<BoxStream<'static, Result<RecordBatch>>>;
}

/// The spans of a partition, the rows of each trace one after the other, and what working on them takes.
pub(super) struct Traces {
    pub spans: SendableRecordBatchStream,
    /// Which column is the trace id.
    pub trace: usize,
    /// The most rows that a batch should have.
    pub batch_rows: usize,
    /// Two accounts with the statement's memory: one for the spans that are held, one for what is made of them.
    pub held: MemoryReservation,
    pub made: MemoryReservation,
    pub metrics: BaselineMetrics,
}

/// Whether the rows of a trace come one after the other; what rows pass by on their way leaves them as they are.
fn gives_whole_traces(input: &Arc<dyn ExecutionPlan>) -> bool {
    input.is::<WholeTracesExec>() || input.downcast_ref::<TapExec>().is_some_and(|tap| gives_whole_traces(tap.input()))
}

/// The operator.
#[derive(Debug)]
pub(in crate::engine) struct PerTraceExec {
    input: Arc<dyn ExecutionPlan>,
    trace: usize,
    work: Arc<dyn PerTrace>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl PerTraceExec {
    pub(super) fn above(input: WholeTracesExec, work: impl PerTrace + 'static) -> Self {
        Self::over(input.trace_column(), Arc::new(input), Arc::new(work))
    }

    fn over(trace: usize, input: Arc<dyn ExecutionPlan>, work: Arc<dyn PerTrace>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(work.schema().clone()),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { input, trace, work, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for PerTraceExec {
    fn fmt_as(&self, _type: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.work.name(), self.work.detail())
    }
}

impl ExecutionPlan for PerTraceExec {
    fn name(&self) -> &str {
        self.work.name()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// More partitions would cut traces.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        datafusion::physical_plan::apply_expression_roots(&self.work.expressions(), f)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) if gives_whole_traces(&input) => Ok(Arc::new(Self::over(self.trace, input, self.work.clone()))),
            _ => internal_err!("{} over something else than whole traces", self.work.name()),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let account = || MemoryConsumer::new(self.work.name()).register(context.memory_pool());
        let traces = Traces {
            spans: self.input.execute(partition, context.clone())?,
            trace: self.trace,
            batch_rows: context.session_config().batch_size(),
            held: account(),
            made: account(),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let rows = self.work.clone().run(traces)?;
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.work.schema().clone(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
