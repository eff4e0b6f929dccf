//! The operator over whole traces: what is done with them, it asks of its work.

use std::collections::HashSet;
use std::fmt::{self, Debug};
use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Statistics, internal_err};
use datafusion::error::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{
    Distribution, EquivalenceProperties, LexRequirement, OrderingRequirements, Partitioning, PhysicalExpr,
    PhysicalSortRequirement,
};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::filter_pushdown::{ChildFilterDescription, FilterDescription, FilterPushdownPhase};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet, SpillMetrics};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::stream::BoxStream;

use super::large::Disk;
use super::whole::WholeTracesExec;
use crate::engine::memory::WHOLE_TRACES;
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

    /// Whether it gives a row for each span that comes.
    fn gives_each_row(&self) -> bool {
        false
    }

    /// About how many rows it makes of so many spans, where that can be told.
    fn rows_of(&self, spans: usize) -> Option<usize> {
        self.gives_each_row().then_some(spans)
    }

    /// Which of its columns is the trace id as it comes, where rows of other traces than those that a condition on it lets through may be left
    /// out before they come.
    fn trace_given(&self) -> Option<usize> {
        None
    }

    /// The first of its columns that functions of windows give, where there are such.
    fn windows_from(&self) -> Option<usize> {
        None
    }

    /// The same work of which only those rows are given that `condition` holds for, where that is less work than leaving them out above.
    fn filtered(&self, _condition: &Arc<dyn PhysicalExpr>) -> Result<Option<Arc<dyn PerTrace>>> {
        Ok(None)
    }

    /// What gives `projection` of its rows over `input`, whose rows it works on, with less work than both; `None` where nothing does.
    fn projected(
        &self,
        _input: &WholeTracesExec,
        _projection: &[ProjectionExpr],
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        Ok(None)
    }

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
    pub disk: Disk,
    pub metrics: BaselineMetrics,
}

/// Whether the rows of a trace come one after the other; what rows pass by on their way leaves them as they are.
fn gives_whole_traces(input: &Arc<dyn ExecutionPlan>) -> bool {
    input.is::<WholeTracesExec>()
        || input.downcast_ref::<TapExec>().is_some_and(|tap| gives_whole_traces(tap.input()))
        || input.downcast_ref::<PerTraceExec>().is_some_and(|below| below.whole_by().is_some())
}

/// Whether an operator gives the spans that come, and holds what is needed of all those of a trace at once.
pub(in crate::engine) fn gives_spans_of_traces(plan: &dyn ExecutionPlan) -> bool {
    plan.downcast_ref::<PerTraceExec>().is_some_and(|per_trace| per_trace.work.gives_each_row())
}

/// How the rows of a trace come to be neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// They are.
    Whole,
    /// Once they have been brought into order.
    Sorted,
    /// There is one trace only.
    Alone,
}

/// The operator.
#[derive(Debug)]
pub(in crate::engine) struct PerTraceExec {
    input: Arc<dyn ExecutionPlan>,
    trace: usize,
    comes: Comes,
    work: Arc<dyn PerTrace>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl PerTraceExec {
    pub(super) fn above(input: WholeTracesExec, work: impl PerTrace + 'static) -> Self {
        Self::over(input.trace_column(), Arc::new(input), Comes::Whole, Arc::new(work))
    }

    /// Asks for rows in the order of their trace ids, which are in column `trace` of `input`.
    pub(super) fn ordering(input: Arc<dyn ExecutionPlan>, trace: usize, work: impl PerTrace + 'static) -> Self {
        Self::over(trace, input, Comes::Sorted, Arc::new(work))
    }

    /// Of rows of one trace, whose ids are in column `trace` of `input`.
    pub(super) fn of_one(input: Arc<dyn ExecutionPlan>, trace: usize, work: impl PerTrace + 'static) -> Self {
        Self::over(trace, input, Comes::Alone, Arc::new(work))
    }

    /// Works on the rows of `input`, which has the trace ids in column `trace` and gives whole traces.
    pub(super) fn upon(input: Arc<dyn ExecutionPlan>, trace: usize, work: impl PerTrace + 'static) -> Result<Self> {
        match gives_whole_traces(&input) {
            true => Ok(Self::over(trace, input, Comes::Whole, Arc::new(work))),
            false => internal_err!("{} over something else than whole traces", work.name()),
        }
    }

    /// Which of its columns is the trace id, where its rows are those that come, and so those of a trace neighbours.
    pub(in crate::engine) fn whole_by(&self) -> Option<usize> {
        self.work.trace_given().filter(|_| self.work.gives_each_row())
    }

    /// The first of its columns that functions of windows give, where there are such.
    pub(in crate::engine) fn windows_from(&self) -> Option<usize> {
        self.work.windows_from()
    }

    /// The same with only those rows that `condition` holds for, where that is less work than leaving them out above.
    pub(in crate::engine) fn filtered(&self, condition: &Arc<dyn PhysicalExpr>) -> Result<Option<Self>> {
        let work = self.work.filtered(condition)?;
        Ok(work.map(|work| Self::over(self.trace, self.input.clone(), self.comes, work)))
    }

    fn over(trace: usize, input: Arc<dyn ExecutionPlan>, comes: Comes, work: Arc<dyn PerTrace>) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(work.schema().clone()),
            Partitioning::UnknownPartitioning(input.output_partitioning().partition_count()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let (properties, metrics) = (Arc::new(properties), ExecutionPlanMetricsSet::new());
        Self { input, trace, comes, work, properties, metrics }
    }

    /// The filter with the name that the input has for column `trace`: by it the column is found there.
    fn by_name_below(&self, filter: Arc<dyn PhysicalExpr>, trace: usize) -> Result<Arc<dyn PhysicalExpr>> {
        let schema = self.input.schema();
        let name = schema.field(self.trace).name();
        let is_known = |column: &Column| column.index() == trace && column.name() != name;
        let renamed = filter.transform_up(|expr| match expr.downcast_ref::<Column>().is_some_and(is_known) {
            true => Ok(Transformed::yes(Arc::new(Column::new(name, trace)) as Arc<dyn PhysicalExpr>)),
            false => Ok(Transformed::no(expr)),
        });
        renamed.data()
    }

    fn by_trace(&self) -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(self.input.schema().field(self.trace).name(), self.trace))
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

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![match self.comes {
            Comes::Whole => Distribution::UnspecifiedDistribution,
            Comes::Sorted => Distribution::KeyPartitioned(vec![self.by_trace()]),
            Comes::Alone => Distribution::SinglePartition,
        }]
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        let by_trace = PhysicalSortRequirement::new(self.by_trace(), None);
        let order = LexRequirement::new([by_trace]).map(OrderingRequirements::new);
        vec![order.filter(|_| self.comes == Comes::Sorted)]
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
            Some(input) if self.comes != Comes::Whole || gives_whole_traces(&input) => {
                Ok(Arc::new(Self::over(self.trace, input, self.comes, self.work.clone())))
            }
            _ => internal_err!("{} over something else than whole traces", self.work.name()),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn try_swapping_with_projection(&self, projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(whole) = self.input.downcast_ref::<WholeTracesExec>() else { return Ok(None) };
        self.work.projected(whole, projection.expr())
    }

    /// A condition that is on the trace id alone leaves traces whole, whatever it comes to while the statement runs.
    fn gather_filters_for_pushdown(
        &self,
        _phase: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        _config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let Some(trace) = self.work.trace_given() else {
            return Ok(FilterDescription::all_unsupported(&parent_filters, &self.children()));
        };
        let allowed = HashSet::from([trace]);
        let filters = parent_filters.into_iter().map(|filter| self.by_name_below(filter, trace));
        let filters = filters.collect::<Result<Vec<_>>>()?;
        let of_input = ChildFilterDescription::from_child_with_allowed_indices(&filters, allowed, &self.input)?;
        Ok(FilterDescription::new().with_child(of_input))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let name = self.work.name();
        let name = if self.work.gives_each_row() { format!("{WHOLE_TRACES}{name}") } else { name.to_owned() };
        let account = || MemoryConsumer::new(name.clone()).register(context.memory_pool());
        let traces = Traces {
            spans: self.input.execute(partition, context.clone())?,
            trace: self.trace,
            batch_rows: context.session_config().batch_size(),
            held: account(),
            made: account(),
            disk: Disk { metrics: SpillMetrics::new(&self.metrics, partition), context: context.clone() },
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let rows = self.work.clone().run(traces)?;
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.work.schema().clone(), rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, _partition: Option<usize>) -> Vec<ChildStats> {
        vec![if self.work.rows_of(0).is_some() { ChildStats::At(None) } else { ChildStats::Skip }]
    }

    /// About how many rows there are: joins choose their sides by it.
    fn statistics_from_inputs(&self, of_input: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(self.work.schema());
        let spans = of_input.first().and_then(|of_input| of_input.num_rows.get_value().copied());
        if let Some(rows) = spans.and_then(|spans| self.work.rows_of(spans)) {
            statistics.num_rows = Precision::Inexact(rows);
        }
        Ok(Arc::new(statistics))
    }
}
