//! `WholeTraces`: spans such that the rows of a trace are neighbours, and no two partitions share a trace.
//!
//! In a file, a trace is one run of rows, unless its spans started in two time buckets; a trace that was sealed in parts lies in several
//! files. A pass over the trace ids alone tells which traces are in more than one run ([`super::splits`]); it is remembered for each
//! file. Then the rows stream by: a trace in one run passes as it lies, and the rows of all others are gathered, ordered by trace, and come
//! last. Nothing is assumed of the order in files: rows in any order give the same traces, only later.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{BooleanArray, BooleanBufferBuilder, RecordBatch};
use datafusion::arrow::compute::{filter_record_batch, not};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::ConfigOptions;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Statistics, internal_datafusion_err, internal_err};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::filter_pushdown::{ChildPushdownResult, FilterPushdownPhase, FilterPushdownPropagation};
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, Metric, MetricBuilder, MetricsSet,
};
use datafusion::physical_plan::projection::{ProjectionExec, ProjectionExpr};
use datafusion::physical_plan::statistics::{StatisticsArgs, StatisticsContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
    ReplaceChildrenOptions,
};
use futures::StreamExt;
use tokio::sync::OnceCell;

use super::gather::{Gather, merge};
use super::runs::{run_starts, trace_ids};
use super::splits::{KnownRuns, SplitTraces, find_splits};
use crate::engine::scan::Pieces;
use crate::model::schema::TRACE_ID;

/// The operator.
#[derive(Debug)]
pub(in crate::engine) struct WholeTracesExec {
    pieces: Pieces,
    /// The column of the trace id.
    trace: usize,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
    shared: Arc<Shared>,
}

/// What the partitions of one execution share.
#[derive(Default)]
struct Shared {
    splits: OnceCell<Arc<SplitTraces>>,
    /// The next piece that nobody reads yet.
    next: AtomicUsize,
    /// How many partitions have read all that they will read.
    done: AtomicUsize,
    /// What each of them has gathered.
    sorted: Mutex<Vec<SendableRecordBatchStream>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl WholeTracesExec {
    /// The traces of `pieces`, in so many partitions.
    pub fn try_new(pieces: Pieces, partitions: usize) -> Result<Self> {
        let Some(source) = pieces.files.as_ref().or(pieces.fresh.as_ref()) else {
            return internal_err!("whole traces of nothing");
        };
        let schema = source.rows.schema();
        let trace = schema.index_of(TRACE_ID)?;
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions.max(1)),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let properties = Arc::new(properties.with_scheduling_type(SchedulingType::Cooperative));
        Ok(Self { pieces, trace, properties, metrics: ExecutionPlanMetricsSet::new(), shared: Arc::default() })
    }

    /// The same traces with other columns, among them the trace id, made of those that there are; `None` where the scan of files does not read them
    /// itself.
    pub fn projected(&self, columns: Vec<ProjectionExpr>) -> Result<Option<Self>> {
        let mut pieces = self.pieces.clone();
        if let Some(files) = &mut pieces.files {
            let projection = ProjectionExec::try_new(columns.clone(), files.rows.clone())?;
            let Some(rows) = files.rows.try_swapping_with_projection(&projection)? else { return Ok(None) };
            files.rows = rows;
        }
        if let Some(fresh) = &mut pieces.fresh {
            fresh.rows = Arc::new(ProjectionExec::try_new(columns, fresh.rows.clone())?);
        }
        Self::try_new(pieces, self.properties.output_partitioning().partition_count()).map(Some)
    }

    /// The column of the trace id.
    pub fn trace_column(&self) -> usize {
        self.trace
    }
}

impl DisplayAs for WholeTracesExec {
    fn fmt_as(&self, _type: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fresh = self.pieces.fresh.as_ref().map_or(0, |fresh| fresh.rows.output_partitioning().partition_count());
        let schema = self.schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(
            f,
            "WholeTracesExec: file_pieces={}, fresh_pieces={fresh}, columns=[{}]",
            self.pieces.keys.len(),
            columns.join(", ")
        )
    }
}

/// A leaf: its scans are its own, because a rule that divided them anew would cut runs.
impl ExecutionPlan for WholeTracesExec {
    fn name(&self) -> &str {
        "WholeTracesExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    /// Those of its scans: a join fills in what it learns only where somebody below reads it.
    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for scan in [&self.pieces.files, &self.pieces.fresh].into_iter().flatten() {
            if scan.rows.apply_expressions(f)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
        _options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // Whoever runs it again begins anew.
        let partitions = self.properties.output_partitioning().partition_count();
        Ok(Arc::new(Self::try_new(self.pieces.clone(), partitions)?))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let reader = Reader {
            pieces: self.pieces.clone(),
            trace: self.trace,
            schema: self.schema(),
            partitions: self.properties.output_partitioning().partition_count(),
            shared: self.shared.clone(),
            context,
            splits: None,
            state: State::Reading { current: None, gathered: None },
            metrics: BaselineMetrics::new(&self.metrics, partition),
            gathered_rows: MetricBuilder::new(&self.metrics).counter("gathered_rows", partition),
        };
        let rows = futures::stream::try_unfold(reader, |mut reader| async move {
            Ok(reader.next().await?.map(|batch| (batch, reader)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }

    /// Its scans leave out what the filters that reach it do not want, as far as files and their trace indexes can tell. Filters that reach it are on
    /// the trace id alone.
    fn handle_child_pushdown_result(
        &self,
        phase: FilterPushdownPhase,
        pushed: ChildPushdownResult,
        config: &ConfigOptions,
    ) -> Result<FilterPushdownPropagation<Arc<dyn ExecutionPlan>>> {
        let mut pieces = self.pieces.clone();
        let mut is_narrower = false;
        for scan in [&mut pieces.files, &mut pieces.fresh].into_iter().flatten() {
            if let Some(narrower) = scan.rows.handle_child_pushdown_result(phase, pushed.clone(), config)?.updated_node
            {
                scan.rows = narrower;
                is_narrower = true;
            }
        }
        let result = FilterPushdownPropagation::all_unsupported(pushed);
        if !is_narrower {
            return Ok(result);
        }
        let partitions = self.properties.output_partitioning().partition_count();
        Ok(result.with_updated_node(Arc::new(Self::try_new(pieces, partitions)?)))
    }

    /// As many rows as its scans have.
    fn statistics_from_inputs(
        &self,
        _of_inputs: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        statistics.num_rows = Precision::Inexact(0);
        for scan in [&self.pieces.files, &self.pieces.fresh].into_iter().flatten() {
            let of_scan = StatisticsContext::new().compute(scan.rows.as_ref(), &StatisticsArgs::new())?;
            statistics.num_rows = statistics.num_rows.add(&of_scan.num_rows);
        }
        Ok(Arc::new(statistics))
    }

    /// Its own and those of its scans.
    fn metrics(&self) -> Option<MetricsSet> {
        let mut all = self.metrics.clone_inner();
        for source in [&self.pieces.files, &self.pieces.fresh].into_iter().flatten() {
            let of_scan = source.rows.metrics().unwrap_or_default();
            // Rows and time are told by both, and would be added up.
            let adds = |metric: &&Arc<Metric>| !matches!(metric.value().name(), "output_rows" | "elapsed_compute");
            of_scan.iter().filter(adds).for_each(|metric| all.push(metric.clone()));
        }
        Some(all)
    }
}

/// One partition at work.
struct Reader {
    pieces: Pieces,
    trace: usize,
    schema: SchemaRef,
    partitions: usize,
    shared: Arc<Shared>,
    context: Arc<TaskContext>,
    splits: Option<Arc<SplitTraces>>,
    state: State,
    metrics: BaselineMetrics,
    gathered_rows: Count,
}

enum State {
    Reading {
        current: Option<Piece>,
        gathered: Option<Gather>,
    },
    /// The last partition that reads gives the rows that all have gathered: waiting for one another, they could wait for ever.
    Giving(SendableRecordBatchStream),
    Done,
}

/// A piece that is being read.
struct Piece {
    rows: SendableRecordBatchStream,
    is_fresh: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        let splits = self.splits().await?;
        loop {
            // Batches may be kept back one after the other: others must get their turn all the same.
            tokio::task::consume_budget().await;
            match &mut self.state {
                State::Done => return Ok(None),
                State::Giving(rows) => {
                    let batch = rows.next().await.transpose()?;
                    return Ok(batch.inspect(|batch| self.metrics.record_output(batch.num_rows())));
                }
                State::Reading { current: Some(piece), .. } => match piece.rows.next().await.transpose()? {
                    Some(batch) if batch.num_rows() == 0 => {}
                    Some(batch) => {
                        let is_fresh = piece.is_fresh;
                        if let Some(batch) = self.let_pass(batch, is_fresh, &splits).await? {
                            self.metrics.record_output(batch.num_rows());
                            return Ok(Some(batch));
                        }
                    }
                    None => self.open_next().await?,
                },
                State::Reading { current: None, .. } => self.open_next().await?,
            }
        }
    }

    async fn splits(&mut self) -> Result<Arc<SplitTraces>> {
        if let Some(splits) = &self.splits {
            return Ok(splits.clone());
        }
        let (shared, pieces, context, cores) =
            (self.shared.clone(), self.pieces.clone(), self.context.clone(), self.partitions);
        let known = context.session_config().get_extension::<KnownRuns>();
        let splits = shared.splits.get_or_try_init(|| find_splits(&pieces, known.as_deref(), cores, &context)).await?;
        Ok(self.splits.insert(splits.clone()).clone())
    }

    /// Goes on to a piece that nobody reads, or ends the reading.
    async fn open_next(&mut self) -> Result<()> {
        let at = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let files = self.pieces.files.as_ref().map_or(0, |_| self.pieces.keys.len());
        let piece = match (&self.pieces.files, &self.pieces.fresh) {
            (Some(files), _) if at < self.pieces.keys.len() => {
                Some(Piece { rows: files.rows.execute(at, self.context.clone())?, is_fresh: false })
            }
            (_, Some(fresh)) if at - files < fresh.rows.output_partitioning().partition_count() => {
                Some(Piece { rows: fresh.rows.execute(at - files, self.context.clone())?, is_fresh: true })
            }
            _ => None,
        };
        match &mut self.state {
            State::Reading { current, .. } if piece.is_some() => *current = piece,
            _ => self.end_reading().await?,
        }
        Ok(())
    }

    async fn end_reading(&mut self) -> Result<()> {
        if let State::Reading { gathered: Some(gathered), .. } = std::mem::replace(&mut self.state, State::Done) {
            let sorted = gathered.finish().await?;
            self.shared.sorted.lock().unwrap_or_else(PoisonError::into_inner).push(sorted);
        }
        if self.shared.done.fetch_add(1, Ordering::AcqRel) + 1 == self.partitions {
            let sorted = std::mem::take(&mut *self.shared.sorted.lock().unwrap_or_else(PoisonError::into_inner));
            if let Some(rows) = merge(sorted, &self.schema, self.trace, &self.context)? {
                self.state = State::Giving(rows);
            }
        }
        Ok(())
    }

    /// Keeps back the rows of split traces; gives the others.
    async fn let_pass(
        &mut self,
        batch: RecordBatch,
        is_fresh: bool,
        splits: &SplitTraces,
    ) -> Result<Option<RecordBatch>> {
        let mask = {
            let _timer = self.metrics.elapsed_compute().timer();
            match is_fresh {
                true => Mask::All,
                false => mask(&batch, self.trace, splits)?,
            }
        };
        let (passing, kept) = match &mask {
            Mask::None => return Ok(Some(batch)),
            Mask::All => (None, None),
            Mask::Some(mask) => (Some(filter_record_batch(&batch, &not(mask)?)?), Some(mask)),
        };
        let State::Reading { gathered, .. } = &mut self.state else { return internal_err!("rows after the last") };
        if gathered.is_none() {
            *gathered = Some(Gather::start(&self.schema, self.trace, &self.context)?);
        }
        let gathered = gathered.as_mut().ok_or_else(|| internal_datafusion_err!("nothing gathers"))?;
        self.gathered_rows.add(batch.num_rows() - passing.as_ref().map_or(0, RecordBatch::num_rows));
        gathered.push(batch, kept).await?;
        Ok(passing)
    }
}

/// Which rows of a batch belong to split traces.
enum Mask {
    None,
    All,
    Some(BooleanArray),
}

fn mask(batch: &RecordBatch, trace: usize, splits: &SplitTraces) -> Result<Mask> {
    if splits.is_empty() {
        return Ok(Mask::None);
    }
    let ids = trace_ids(batch, trace)?;
    let mut starts = run_starts(ids);
    starts.push(batch.num_rows() as u32);
    let mut rows = BooleanBufferBuilder::new(batch.num_rows());
    let (mut split, mut whole) = (0, 0);
    for run in starts.windows(2) {
        let is_split = splits.contains(ids.value(run[0] as usize));
        let length = (run[1] - run[0]) as usize;
        rows.append_n(length, is_split);
        match is_split {
            true => split += length,
            false => whole += length,
        }
    }
    Ok(match (split, whole) {
        (0, _) => Mask::None,
        (_, 0) => Mask::All,
        _ => Mask::Some(BooleanArray::from(rows.finish())),
    })
}
