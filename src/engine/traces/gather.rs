//! Rows of split traces: gathered, and ordered by trace within the statement's memory, on disk beyond it.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{BooleanArray, RecordBatch};
use datafusion::arrow::compute::{BatchCoalescer, SortOptions};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::internal_datafusion_err;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::streaming_merge::StreamingMergeBuilder;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Batches on their way to the sort, which takes them as fast as they come.
const BATCHES_AHEAD: usize = 2;

/// Takes rows in any order and gives them ordered by trace.
pub(super) struct Gather {
    rows: BatchCoalescer,
    to_sort: mpsc::Sender<Result<RecordBatch>>,
    sorted: SpawnedTask<(Option<Result<RecordBatch>>, SendableRecordBatchStream)>,
}

impl Gather {
    /// Starts gathering rows whose trace ids are in column `trace`.
    pub fn start(schema: &SchemaRef, trace: usize, context: &Arc<TaskContext>) -> Result<Self> {
        let (to_sort, rows) = mpsc::channel(BATCHES_AHEAD);
        let input = Arc::new(Fed { schema: schema.clone(), rows: Mutex::new(Some(rows)) });
        let input = StreamingTableExec::try_new(schema.clone(), vec![input], None, [], false, None)?;
        let sort = SortExec::new(by_trace(schema, trace)?, Arc::new(input));
        let mut sorted = sort.execute(0, context.clone())?;
        Ok(Self {
            rows: BatchCoalescer::new(schema.clone(), context.session_config().batch_size()),
            to_sort,
            // Rows are taken in as long as the first sorted one is asked for.
            sorted: SpawnedTask::spawn(async move { (sorted.next().await, sorted) }),
        })
    }

    /// Takes the rows that `wanted` chooses.
    pub async fn push(&mut self, batch: RecordBatch, wanted: Option<&BooleanArray>) -> Result<()> {
        match wanted {
            Some(wanted) => self.rows.push_batch_with_filter(batch, wanted)?,
            None => self.rows.push_batch(batch)?,
        }
        self.send().await;
        Ok(())
    }

    async fn send(&mut self) {
        while let Some(batch) = self.rows.next_completed_batch() {
            // A sort that has gone tells its error when it is asked for its rows.
            let _ = self.to_sort.send(Ok(batch)).await;
        }
    }

    /// All rows, ordered by trace.
    pub async fn finish(mut self) -> Result<SendableRecordBatchStream> {
        self.rows.finish_buffered_batch()?;
        self.send().await;
        let Self { to_sort, sorted, .. } = self;
        drop(to_sort);
        let (first, rest) = sorted.join().await.map_err(|e| internal_datafusion_err!("a sort ended early: {e}"))?;
        let schema = rest.schema();
        let all = futures::stream::iter(first).chain(rest);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, all)))
    }
}

/// One stream ordered by trace out of several.
pub(super) fn merge(
    mut sorted: Vec<SendableRecordBatchStream>,
    schema: &SchemaRef,
    trace: usize,
    context: &Arc<TaskContext>,
) -> Result<Option<SendableRecordBatchStream>> {
    if sorted.len() <= 1 {
        return Ok(sorted.pop());
    }
    let merged = StreamingMergeBuilder::new()
        .with_streams(sorted)
        .with_schema(schema.clone())
        .with_expressions(&by_trace(schema, trace)?)
        .with_metrics(BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0))
        .with_batch_size(context.session_config().batch_size())
        .with_reservation(MemoryConsumer::new("WholeTraces merge").register(context.memory_pool()))
        .build()?;
    Ok(Some(merged))
}

fn by_trace(schema: &SchemaRef, trace: usize) -> Result<LexOrdering> {
    let column = Arc::new(Column::new(schema.field(trace).name(), trace));
    LexOrdering::new([PhysicalSortExpr::new(column, SortOptions::default())])
        .ok_or_else(|| internal_datafusion_err!("an order without a column"))
}

/// Rows from a channel as a plan's input.
#[derive(Debug)]
struct Fed {
    schema: SchemaRef,
    rows: Mutex<Option<mpsc::Receiver<Result<RecordBatch>>>>,
}

impl PartitionStream for Fed {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        let rows = futures::stream::iter(rows).flat_map(ReceiverStream::new);
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), rows))
    }
}
