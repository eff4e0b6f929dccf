//! The operator: reads the ids first, then lets the spans of those traces through.

use std::fmt;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{BooleanArray, RecordBatch};
use datafusion::arrow::compute::{BatchCoalescer, filter_record_batch};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr, lit};
use datafusion::physical_expr::{Distribution, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::filter_pushdown::{
    ChildFilterDescription, ChildPushdownResult, FilterDescription, FilterPushdownPhase, FilterPushdownPropagation,
};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions, apply_expression_roots,
};
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt, StreamExt, stream};

use super::ids::TraceIds;

/// Of so many spans, one is thought to be of the traces that are looked for.
const ONE_PASSES_OF: usize = 20;

/// The ids, once they are read: by whichever partition comes first, for all.
type Found = Shared<BoxFuture<'static, std::result::Result<Arc<TraceIds>, Arc<DataFusionError>>>>;

/// The spans whose trace is among the ids that another plan gives.
#[derive(Debug)]
pub(in crate::engine) struct AmongTracesExec {
    spans: Arc<dyn ExecutionPlan>,
    /// The column of `spans` that is the trace id.
    trace: usize,
    ids: Arc<dyn ExecutionPlan>,
    /// The id, over the rows of `ids`.
    id: Arc<dyn PhysicalExpr>,
    /// What the scan of spans learns.
    learnt: Option<Arc<DynamicFilterPhysicalExpr>>,
    found: Arc<OnceLock<Found>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl AmongTracesExec {
    pub(super) fn new(
        spans: Arc<dyn ExecutionPlan>,
        trace: usize,
        ids: Arc<dyn ExecutionPlan>,
        id: Arc<dyn PhysicalExpr>,
    ) -> Self {
        let properties = PlanProperties::new(
            spans.equivalence_properties().clone(),
            spans.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let properties = Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative));
        let (found, metrics) = (Arc::default(), ExecutionPlanMetricsSet::new());
        Self { spans, trace, ids, id, learnt: None, found, properties, metrics }
    }

    /// The same over other spans, of which the same column is the trace id.
    pub fn over(&self, spans: Arc<dyn ExecutionPlan>) -> Self {
        Self { learnt: self.learnt.clone(), ..Self::new(spans, self.trace, self.ids.clone(), self.id.clone()) }
    }

    /// Where spans come from.
    pub fn spans(&self) -> &Arc<dyn ExecutionPlan> {
        &self.spans
    }

    fn trace_id(&self) -> Arc<dyn PhysicalExpr> {
        Arc::new(Column::new(self.spans.schema().field(self.trace).name(), self.trace))
    }

    /// Begins to read the ids, if nobody has.
    fn found(&self, context: &Arc<TaskContext>) -> Found {
        let find = || {
            let held = MemoryConsumer::new("AmongTraces").register(context.memory_pool());
            let (ids, id, context) = (self.ids.clone(), self.id.clone(), context.clone());
            let (learnt, trace, schema) = (self.learnt.clone(), self.trace_id(), self.spans.schema());
            let count = MetricBuilder::new(&self.metrics).global_counter("traces");
            let read = async move {
                let mut all = TraceIds::new(held);
                let mut rows = ids.execute(0, context)?;
                while let Some(batch) = rows.next().await.transpose()? {
                    all.extend(&id.evaluate(&batch)?.into_array(batch.num_rows())?)?;
                }
                count.add(all.len());
                let all = Arc::new(all);
                if let Some(learnt) = learnt {
                    learnt.update(all.condition(trace, &schema)?)?;
                }
                Ok(all)
            };
            read.map(|read: Result<_>| read.map_err(Arc::new)).boxed().shared()
        };
        self.found.get_or_init(find).clone()
    }
}

impl DisplayAs for AmongTracesExec {
    fn fmt_as(&self, _type: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AmongTracesExec: {} IN {}", self.trace_id(), self.id)
    }
}

impl ExecutionPlan for AmongTracesExec {
    fn name(&self) -> &str {
        "AmongTracesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.ids, &self.spans]
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        vec![Distribution::SinglePartition, Distribution::UnspecifiedDistribution]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false, false]
    }

    /// A sort stands above, where there are fewer rows; one that was moved below would count the columns of the ids as its own.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![false, false]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        let learnt = self.learnt.iter().map(|learnt| learnt.clone() as Arc<dyn PhysicalExpr>);
        apply_expression_roots([self.id.clone()].into_iter().chain(learnt), f)
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        match (children.pop(), children.pop()) {
            (Some(spans), Some(ids)) => {
                let made = Self::new(spans, self.trace, ids, self.id.clone());
                Ok(Arc::new(Self { learnt: self.learnt.clone(), ..made }))
            }
            _ => internal_err!("spans of traces without the traces"),
        }
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    /// Whoever runs it again reads the ids again, and tells the same scan of them.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.over(self.spans.clone())))
    }

    /// A projection that leaves columns out goes below: the scan then does not read them.
    fn try_swapping_with_projection(&self, projection: &ProjectionExec) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if self.learnt.is_some() {
            // The scan knows the column by its place.
            return Ok(None);
        }
        let of = |at: usize| projection.expr().get(at).and_then(|made| made.expr.downcast_ref::<Column>());
        let columns = projection.expr().len();
        let trace = (0..columns).find(|at| of(*at).is_some_and(|column| column.index() == self.trace));
        let Some(trace) = trace.filter(|_| (0..columns).all(|at| of(at).is_some())) else { return Ok(None) };
        let spans = ProjectionExec::try_new(projection.expr().to_vec(), self.spans.clone())?;
        Ok(Some(Arc::new(Self::new(Arc::new(spans), trace, self.ids.clone(), self.id.clone()))))
    }

    fn gather_filters_for_pushdown(
        &self,
        phase: FilterPushdownPhase,
        parent_filters: Vec<Arc<dyn PhysicalExpr>>,
        config: &ConfigOptions,
    ) -> Result<FilterDescription> {
        let of_ids = ChildFilterDescription::all_unsupported(&parent_filters);
        let mut of_spans = ChildFilterDescription::from_child(&parent_filters, &self.spans)?;
        let tells = config.optimizer.enable_join_dynamic_filter_pushdown && self.learnt.is_none();
        if tells && phase == FilterPushdownPhase::Post {
            let learnt = DynamicFilterPhysicalExpr::new(vec![self.trace_id()], lit(true));
            of_spans = of_spans.with_self_filter(Arc::new(learnt));
        }
        Ok(FilterDescription::new().with_child(of_ids).with_child(of_spans))
    }

    fn handle_child_pushdown_result(
        &self,
        _phase: FilterPushdownPhase,
        pushed: ChildPushdownResult,
        _config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let own = pushed.self_filters.get(1).and_then(|own| own.first()).map(|own| own.predicate.clone());
        let result = FilterPushdownPropagation::if_any(pushed);
        match own.map(|own| Arc::downcast::<DynamicFilterPhysicalExpr>(own)) {
            Some(Ok(learnt)) => {
                let made = Self { learnt: Some(learnt), ..self.over(self.spans.clone()) };
                Ok(result.with_updated_node(Arc::new(made)))
            }
            _ => Ok(result),
        }
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::Skip, ChildStats::At(partition)]
    }

    /// What joins above choose their sides by.
    fn statistics_from_inputs(&self, of_inputs: &[Arc<Statistics>], _args: &StatisticsArgs) -> Result<Arc<Statistics>> {
        let [_, of_spans] = of_inputs else { return internal_err!("spans of traces without the traces") };
        Ok(Arc::new(Statistics {
            num_rows: of_spans.num_rows.map(|rows| rows / ONE_PASSES_OF).to_inexact(),
            ..of_spans.as_ref().clone().to_inexact()
        }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = self.schema();
        let batch_rows = context.session_config().batch_size();
        let passing = Passing {
            found: self.found(&context),
            spans: self.spans.clone(),
            trace: self.trace,
            partition,
            context,
            reading: None,
            out: BatchCoalescer::new(schema.clone(), batch_rows).with_biggest_coalesce_batch_size(Some(batch_rows / 2)),
            schema: schema.clone(),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let rows = stream::try_unfold(passing, |mut passing| async move {
            Ok(passing.next().await?.map(|batch| (batch, passing)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }
}

/// One partition at work.
struct Passing {
    found: Found,
    spans: Arc<dyn ExecutionPlan>,
    trace: usize,
    partition: usize,
    context: Arc<TaskContext>,
    reading: Option<Reading>,
    /// Puts small batches together.
    out: BatchCoalescer,
    schema: SchemaRef,
    metrics: BaselineMetrics,
}

struct Reading {
    ids: Arc<TraceIds>,
    rows: SendableRecordBatchStream,
    has_ended: bool,
}

impl Passing {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => {
                // Until it is known which traces are wanted, spans are not looked at.
                let ids = self.found.clone().await.map_err(DataFusionError::Shared)?;
                let rows = self.spans.execute(self.partition, self.context.clone())?;
                Reading { ids, rows, has_ended: false }
            }
        };
        let batch = self.read(&mut reading).await?;
        self.reading = Some(reading);
        Ok(batch.inspect(|batch| self.metrics.record_output(batch.num_rows())))
    }

    async fn read(&mut self, reading: &mut Reading) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.out.next_completed_batch() {
                return Ok(Some(batch));
            }
            if reading.has_ended {
                return Ok(None);
            }
            // A long time may pass without a span that is wanted: others must get their turn all the same.
            tokio::task::consume_budget().await;
            let batch = reading.rows.next().await.transpose()?;
            let _timer = self.metrics.elapsed_compute().timer();
            match batch.map(|batch| reading.passing(batch, self.trace)).transpose()? {
                None => {
                    reading.has_ended = true;
                    self.out.finish_buffered_batch()?;
                }
                Some(None) => {}
                Some(Some(batch)) if batch.schema_ref() == &self.schema => self.out.push_batch(batch)?,
                // Texts as places in a dictionary: whoever asked for them takes them as they come.
                Some(Some(batch)) => return Ok(Some(batch)),
            }
        }
    }
}

impl Reading {
    /// The rows that are wanted, if there are any.
    fn passing(&self, batch: RecordBatch, trace: usize) -> Result<Option<RecordBatch>> {
        let wanted = BooleanArray::from(self.ids.among(batch.column(trace).as_ref())?);
        Ok(match wanted.true_count() {
            0 => None,
            all if all == batch.num_rows() => Some(batch),
            _ => Some(filter_record_batch(&batch, &wanted)?),
        })
    }
}
