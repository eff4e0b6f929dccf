//! A plan runs: on the query runtime, its rows through a bounded channel to whoever takes them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::config::ConfigNonZeroUsize;
use datafusion::common::tree_node::TreeNode;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::{SendableRecordBatchStream, SessionState, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::{Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Sleep, sleep_until};

use super::bounds::{StatementBounds, batch_rows};
use super::errors::from_datafusion;
use super::grouping;
use super::held;
use super::long_texts;
use super::memory::statement_env;
use super::merges;
use super::plans::Lasting;
use super::run_anew::with_sides_anew;
use super::runtime::{QueryRuntime, Task};
use super::spill::SpillDisk;
use super::stop::{Stop, WhenDropped, stoppable};
use super::width::Width;
use super::windows::{self, Made};
use crate::error::{Error, Kind, Result};

/// Batches that wait for a client: enough to keep both sides busy, few enough that a slow client holds little memory.
const BATCHES_AHEAD: usize = 2;

/// Rows as they are made. Dropping the stream stops the statement.
pub type RowStream = Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>;

/// When a statement has to end, and how long it was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    at: Instant,
    timeout: Duration,
}

impl Deadline {
    pub fn after(timeout: Duration) -> Self {
        Self { at: Instant::now() + timeout, timeout }
    }
}

/// A statement's plan, and what is kept of it where it may be kept.
#[derive(Clone)]
pub(super) struct ToRun {
    pub plan: LogicalPlan,
    pub lasting: Option<Arc<Lasting>>,
}

/// Plans and starts a statement; returns when its first row can be asked for.
pub(super) async fn start(
    runtime: &QueryRuntime,
    state: SessionState,
    plan: ToRun,
    memory_bytes: usize,
    deadline: Option<Deadline>,
) -> Result<(SchemaRef, RowStream)> {
    let (rows, batches) = mpsc::channel(BATCHES_AHEAD);
    let (started, ready) = oneshot::channel();
    let stop = Stop::default();
    let task = Running {
        _stop: stop.when_dropped(),
        _task: runtime.spawn(run(state, plan, memory_bytes, stop, started, rows))?,
    };
    let schema = match deadline {
        Some(Deadline { at, timeout }) => tokio::time::timeout_at(at, ready).await.map_err(|_| timed_out(timeout))?,
        None => ready.await,
    };
    let schema = schema.map_err(|_| Error::internal("the statement made its thread panic while it was planned"))??;
    let stream = Rows {
        batches,
        deadline: deadline.map(|Deadline { at, timeout }| (Box::pin(sleep_until(at)), timeout)),
        task: Some(task),
    };
    Ok((schema, Box::pin(stream)))
}

async fn run(
    mut state: SessionState,
    plan: ToRun,
    memory_bytes: usize,
    stop: Stop,
    started: oneshot::Sender<Result<SchemaRef>>,
    rows: mpsc::Sender<Result<Option<RecordBatch>>>,
) {
    let usual_rows = state.config().batch_size();
    let mut width = Width::of(&plan.plan, usual_rows);
    let mut stream = match open(&mut state, &plan, usual_rows, memory_bytes, &stop, &width).await {
        Ok(stream) => stream,
        Err(e) => {
            // The receiver is gone only when the client is, and then nobody wants the error.
            let _ = started.send(Err(from_datafusion(e)));
            return;
        }
    };
    if started.send(Ok(stream.schema())).is_err() {
        return;
    }
    let mut first = stream.next().await;
    while let Some(Err(error)) = &first {
        match width.narrower() {
            Some(narrower) => width = narrower,
            None if sorts_joins_instead(&mut state, &plan.plan, error) => {}
            None => break,
        }
        // What ran holds memory until it is gone.
        drop(stream);
        stream = match open(&mut state, &plan, usual_rows, memory_bytes, &stop, &width).await {
            Ok(stream) => stream,
            Err(e) => {
                let _ = rows.send(Err(from_datafusion(e))).await;
                return;
            }
        };
        first = stream.next().await;
    }
    let mut stream = futures::stream::iter(first).chain(stream);
    while let Some(batch) = stream.next().await {
        let failed = batch.is_err();
        if rows.send(batch.map(Some).map_err(from_datafusion)).await.is_err() || failed {
            return;
        }
    }
    let _ = rows.send(Ok(None)).await;
}

/// Chooses joins that sort both sides, which spills, in place of those that hold one, where that may be what took too much memory.
fn sorts_joins_instead(state: &mut SessionState, plan: &LogicalPlan, error: &DataFusionError) -> bool {
    let out_of_memory = matches!(error.find_root(), DataFusionError::ResourcesExhausted(_));
    let has_joins = || plan.exists(|node| Ok(matches!(node, LogicalPlan::Join(_)))).unwrap_or(false);
    let options = &mut state.config_mut().options_mut().optimizer;
    let chosen = out_of_memory && options.prefer_hash_join && has_joins();
    options.prefer_hash_join &= !chosen;
    chosen
}

/// Everything that it sets is set anew each time.
async fn open(
    state: &mut SessionState,
    ToRun { plan, lasting }: &ToRun,
    usual_rows: usize,
    memory_bytes: usize,
    stop: &Stop,
    width: &Width,
) -> DataFusionResult<SendableRecordBatchStream> {
    let bounds = StatementBounds::of(plan)?;
    set_bounds(state, bounds);
    state.config_mut().options_mut().extensions.insert(stop.clone());
    state.mark_start_execution();
    set_bounds(state, StatementBounds { folding: true, ..bounds });
    let made = Made::new(stop);
    let optimized = match lasting {
        Some(lasting) => lasting.optimized(|| state.optimize(plan))?,
        None => state.optimize(plan)?,
    };
    let plan = windows::guarded(optimized, &made)?;
    set_bounds(state, bounds);
    let rows = batch_rows(&plan, usual_rows)?;
    set_batch_rows(state, rows.min(width.batch_rows()))?;
    let mut physical = state.query_planner().create_physical_plan(&plan, state).await?;
    if let Some(rows) = held::fewer_rows(physical.as_ref(), state.config().batch_size()) {
        set_batch_rows(state, rows)?;
        physical = state.query_planner().create_physical_plan(&plan, state).await?;
    }
    let physical = stoppable(width.watch(with_sides_anew(physical)?, rows)?, stop)?;
    let physical = grouping::in_pieces(windows::watched(physical, &made)?, stop)?;
    let physical = long_texts::measured(physical, width)?;
    state.config_mut().options_mut().execution.sort_spill_reservation_bytes =
        merges::kept_bytes(physical.as_ref(), memory_bytes);
    let config = state.config();
    let disk = match config.get_extension::<SpillDisk>() {
        Some(disk) => disk.for_statement()?,
        None => state.runtime_env().disk_manager.clone(),
    };
    let env = statement_env(state.runtime_env(), memory_bytes, disk);
    let context = task_context(state, &physical, env)?;
    execute_stream(physical, Arc::new(context))
}

/// What operators find while they run. Functions are in their expressions by then; only relations that are computed may list them.
fn task_context(
    state: &SessionState,
    plan: &Arc<dyn ExecutionPlan>,
    env: Arc<RuntimeEnv>,
) -> DataFusionResult<TaskContext> {
    if plan.exists(|node| Ok(node.is::<StreamingTableExec>()))? {
        return Ok(TaskContext::from(state).with_runtime(env));
    }
    let (session_id, config) = (state.session_id().to_string(), state.config().clone());
    let none = (HashMap::new(), HashMap::new(), HashMap::new(), HashMap::new());
    Ok(TaskContext::new(None, session_id, config, none.0, none.1, none.2, none.3, env))
}

fn set_batch_rows(state: &mut SessionState, rows: usize) -> DataFusionResult<()> {
    state.config_mut().options_mut().execution.batch_size = ConfigNonZeroUsize::try_new(rows)?;
    Ok(())
}

fn set_bounds(state: &mut SessionState, bounds: StatementBounds) {
    state.config_mut().options_mut().extensions.insert(bounds);
}

/// A statement's task, which ends when this is dropped, wherever it is.
struct Running {
    _stop: WhenDropped,
    _task: Task<()>,
}

struct Rows {
    /// `Ok(None)` ends the rows; a channel that closes without it lost its sender.
    batches: mpsc::Receiver<Result<Option<RecordBatch>>>,
    deadline: Option<(Pin<Box<Sleep>>, Duration)>,
    task: Option<Running>,
}

impl Rows {
    fn stop(&mut self) {
        self.task = None;
        self.batches.close();
    }
}

impl Stream for Rows {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.task.is_none() {
            return Poll::Ready(None);
        }
        if let Some((sleep, timeout)) = &mut self.deadline
            && sleep.as_mut().poll(cx).is_ready()
        {
            let error = timed_out(*timeout);
            self.stop();
            return Poll::Ready(Some(Err(error)));
        }
        let item = match std::task::ready!(self.batches.poll_recv(cx)) {
            Some(Ok(Some(batch))) => return Poll::Ready(Some(Ok(batch))),
            Some(Ok(None)) => None,
            Some(Err(e)) => Some(Err(e)),
            None => Some(Err(Error::internal("the statement made its thread panic"))),
        };
        self.stop();
        Poll::Ready(item)
    }
}

/// The same rows with their columns named as `shown` has them.
pub(super) fn renamed(schema: SchemaRef, rows: RowStream, shown: &SchemaRef) -> (SchemaRef, RowStream) {
    let same = schema.fields().iter().map(|field| field.name()).eq(shown.fields().iter().map(|field| field.name()));
    if same || schema.fields().len() != shown.fields().len() {
        return (schema, rows);
    }
    let named =
        schema.fields().iter().zip(shown.fields()).map(|(field, shown)| field.as_ref().clone().with_name(shown.name()));
    let named = Arc::new(Schema::new(named.collect::<Vec<_>>()));
    let out = named.clone();
    let rows = rows.map(move |batch| {
        let batch = batch?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(named.clone(), batch.columns().to_vec(), &options)
            .map_err(|e| Error::internal(e.to_string()))
    });
    (out, Box::pin(rows))
}

/// Rows that are already there.
pub(super) fn rows_of(batch: RecordBatch) -> (SchemaRef, RowStream) {
    let schema: Arc<_> = batch.schema();
    (schema, Box::pin(futures::stream::iter([Ok(batch)])))
}

/// The error of a statement whose time is over.
pub(super) fn timed_out(timeout: Duration) -> Error {
    Error::new(Kind::Cancelled, format!("canceling statement due to statement timeout of {} ms", timeout.as_millis()))
}
