//! `TraceAggregate`: groups within traces, without a table of all groups.
//!
//! The rows of a trace are neighbours, so that its groups are complete when the next trace begins. DataFusion's own accumulators do the
//! counting; a trace's number in the stream takes the place of its id's hash.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};

use super::aggregate_stream::Grouper;
use super::local::Local;
use super::whole::WholeTracesExec;

/// What is grouped and counted.
#[derive(Debug, Clone)]
pub(in crate::engine) struct TraceAggregate {
    pub spans: Local,
    pub group_by: Vec<Arc<dyn PhysicalExpr>>,
    /// Which of `group_by` is the trace id.
    pub trace_group: usize,
    pub aggregates: Vec<Arc<AggregateFunctionExpr>>,
    /// For each aggregate the rows that it takes.
    pub filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    /// The groups' columns, then the aggregates'.
    pub schema: SchemaRef,
}

/// The operator.
#[derive(Debug)]
pub(in crate::engine) struct TraceAggregateExec {
    input: Arc<dyn ExecutionPlan>,
    trace: usize,
    aggregate: Arc<TraceAggregate>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl TraceAggregateExec {
    pub fn new(input: WholeTracesExec, aggregate: TraceAggregate) -> Self {
        Self::over(input.trace_column(), Arc::new(input), Arc::new(aggregate))
    }

    fn over(trace: usize, input: Arc<dyn ExecutionPlan>, aggregate: Arc<TraceAggregate>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(aggregate.schema.clone()),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { input, trace, aggregate, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for TraceAggregateExec {
    fn fmt_as(&self, _type: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<_> = self.aggregate.group_by.iter().map(|group| group.to_string()).collect();
        let aggregates: Vec<_> = self.aggregate.aggregates.iter().map(|aggregate| aggregate.name()).collect();
        write!(f, "TraceAggregateExec: gby=[{}], aggr=[{}]", groups.join(", "), aggregates.join(", "))
    }
}

impl ExecutionPlan for TraceAggregateExec {
    fn name(&self) -> &str {
        "TraceAggregateExec"
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
        let aggregate = &self.aggregate;
        let arguments: Vec<_> = aggregate.aggregates.iter().flat_map(|aggregate| aggregate.expressions()).collect();
        let filters = aggregate.filters.iter().flatten();
        let all = aggregate.spans.expressions().chain(&aggregate.group_by).chain(&arguments).chain(filters);
        datafusion::physical_plan::apply_expression_roots(all, f)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) if input.is::<WholeTracesExec>() => {
                Ok(Arc::new(Self::over(self.trace, input, self.aggregate.clone())))
            }
            _ => internal_err!("groups of traces over something else than whole traces"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context.clone())?;
        let grouper = Grouper::new(
            self.aggregate.clone(),
            input,
            self.trace,
            MemoryConsumer::new("TraceAggregate").register(context.memory_pool()),
            context.session_config().batch_size(),
            BaselineMetrics::new(&self.metrics, partition),
        )?;
        let rows = futures::stream::try_unfold(grouper, |mut grouper| async move {
            Ok(grouper.next().await?.map(|batch| (batch, grouper)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.aggregate.schema.clone(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
