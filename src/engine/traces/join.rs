//! `TraceJoin`: a join of spans with spans of the same trace, trace by trace.
//!
//! Both sides are made from one scan, and only rows of one chunk of whole traces can meet, so that nothing is repartitioned and no table of
//! all spans is built. The answers are those of a hash join; only the order of rows differs.

use std::fmt;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::JoinType;
use datafusion::common::internal_err;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::joins::utils::{ColumnIndex, JoinFilter};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};

use super::chunks::Chunks;
use super::join_stream::Joiner;
use super::local::Local;
use super::whole::WholeTracesExec;

/// What is joined with what.
#[derive(Debug, Clone)]
pub(in crate::engine) struct TraceJoin {
    pub left: Local,
    pub right: Local,
    /// What must be equal beside the trace.
    pub on: Vec<(Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>)>,
    pub filter: Option<JoinFilter>,
    pub join_type: JoinType,
    /// Where the columns of `schema` come from.
    pub columns: Vec<ColumnIndex>,
    pub schema: SchemaRef,
}

/// The operator.
#[derive(Debug)]
pub(in crate::engine) struct TraceJoinExec {
    input: Arc<dyn ExecutionPlan>,
    trace: usize,
    join: Arc<TraceJoin>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl TraceJoinExec {
    pub fn new(input: WholeTracesExec, join: TraceJoin) -> Self {
        Self::over(input.trace_column(), Arc::new(input), Arc::new(join))
    }

    fn over(trace: usize, input: Arc<dyn ExecutionPlan>, join: Arc<TraceJoin>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(join.schema.clone()),
            datafusion::physical_expr::Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self { input, trace, join, properties: Arc::new(properties), metrics: ExecutionPlanMetricsSet::new() }
    }
}

impl DisplayAs for TraceJoinExec {
    fn fmt_as(&self, _type: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = self.join.on.iter().map(|(left, right)| format!(", ({left}, {right})")).collect::<String>();
        write!(f, "TraceJoinExec: join_type={:?}, on=[trace{on}]", self.join.join_type)?;
        match &self.join.filter {
            Some(filter) => write!(f, ", filter={}", filter.expression()),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for TraceJoinExec {
    fn name(&self) -> &str {
        "TraceJoinExec"
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
        let join = &self.join;
        let on = join.on.iter().flat_map(|(left, right)| [left, right]);
        let filter = join.filter.iter().map(|filter| filter.expression());
        let all = join.left.expressions().chain(join.right.expressions()).chain(on).chain(filter);
        datafusion::physical_plan::apply_expression_roots(all, f)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match children.pop() {
            Some(input) if input.is::<WholeTracesExec>() => {
                Ok(Arc::new(Self::over(self.trace, input, self.join.clone())))
            }
            _ => internal_err!("a join of traces over something else than whole traces"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let input = self.input.execute(partition, context.clone())?;
        let reserve = || MemoryConsumer::new("TraceJoin").register(context.memory_pool());
        let joiner = Joiner::new(
            self.join.clone(),
            Chunks::new(input, self.trace, reserve()),
            reserve(),
            context.session_config().batch_size(),
            BaselineMetrics::new(&self.metrics, partition),
        );
        let rows = futures::stream::try_unfold(joiner, |mut joiner| async move {
            Ok(joiner.next().await?.map(|batch| (batch, joiner)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.join.schema.clone(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}
