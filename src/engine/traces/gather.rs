//! Rows of split traces: gathered, and ordered by trace within the statement's memory, on disk beyond it.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use datafusion::arrow::compute::{SortOptions, concat_batches, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
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
    rows: Few,
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
            rows: Few::new(schema.clone(), context.session_config().batch_size()),
            to_sort,
            // Rows are taken in as long as the first sorted one is asked for.
            sorted: SpawnedTask::spawn(async move { (sorted.next().await, sorted) }),
        })
    }

    /// Takes the rows that `wanted` chooses.
    pub async fn push(&mut self, batch: RecordBatch, wanted: Option<&BooleanArray>) -> Result<()> {
        let rows = match wanted {
            Some(wanted) => filter_record_batch(&batch, wanted)?,
            None => batch,
        };
        if let Some(full) = self.rows.push(&rows)? {
            self.send(full).await;
        }
        Ok(())
    }

    async fn send(&mut self, batch: RecordBatch) {
        // A sort that has gone tells its error when it is asked for its rows.
        let _ = self.to_sort.send(Ok(batch)).await;
    }

    /// All rows, ordered by trace.
    pub async fn finish(mut self) -> Result<SendableRecordBatchStream> {
        if let Some(rest) = self.rows.take()? {
            self.send(rest).await;
        }
        let Self { to_sort, sorted, .. } = self;
        drop(to_sort);
        let (first, rest) = sorted.join().await.map_err(|e| internal_datafusion_err!("a sort ended early: {e}"))?;
        let schema = rest.schema();
        let all = futures::stream::iter(first).chain(rest);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, all)))
    }
}

/// Few rows of each of many batches, made into batches of the usual size. Arrow's coalescer reserves blocks that double each time when some batches'
/// texts are worth copying and others' are not: tens of megabytes for thousands of rows.
struct Few {
    schema: SchemaRef,
    held: Vec<RecordBatch>,
    rows: usize,
    most_rows: usize,
}

impl Few {
    fn new(schema: SchemaRef, most_rows: usize) -> Self {
        Self { schema, held: Vec::new(), rows: 0, most_rows }
    }

    /// Takes a batch of the usual size at most; gives those before it when they and it are more.
    fn push(&mut self, batch: &RecordBatch) -> Result<Option<RecordBatch>> {
        let full = if self.rows + batch.num_rows() > self.most_rows { self.take()? } else { None };
        self.rows += batch.num_rows();
        let columns = batch.columns().iter().map(without_unused_texts).collect();
        self.held.push(RecordBatch::try_new(batch.schema(), columns)?);
        Ok(full)
    }

    fn take(&mut self) -> Result<Option<RecordBatch>> {
        self.rows = 0;
        let mut held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return Ok(None);
        }
        // One alone would be given as it is: a slice, which holds all of its columns.
        held.push(RecordBatch::new_empty(self.schema.clone()));
        Ok(Some(concat_batches(&self.schema, &held)?))
    }
}

/// A column whose buffers have at most twice the bytes that its views show.
fn without_unused_texts(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => {
            let texts = column.as_string_view();
            let held: usize = texts.data_buffers().iter().map(|buffer| buffer.capacity()).sum();
            if texts.total_buffer_bytes_used() * 2 < held { Arc::new(texts.gc()) } else { column.clone() }
        }
        _ => column.clone(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::arrow::array::{FixedSizeBinaryArray, StringViewArray};
    use datafusion::arrow::datatypes::{Field, Schema};
    use datafusion::common::utils::memory::get_record_batch_memory_size;

    const ROWS: usize = 8192;

    fn schema() -> SchemaRef {
        let fields =
            vec![Field::new("id", DataType::FixedSizeBinary(16), false), Field::new("text", DataType::Utf8View, false)];
        Arc::new(Schema::new(fields))
    }

    /// Rows of one text, which its buffer has many more of when `is_wasteful`.
    fn batch(rows: usize, is_wasteful: bool) -> RecordBatch {
        let texts = if is_wasteful { 1000 } else { rows };
        let text: StringViewArray = (0..texts).map(|text| Some(format!("a text that is not short {text}"))).collect();
        let ids = FixedSizeBinaryArray::try_from_iter((0..rows).map(|row| (row as u128).to_be_bytes())).expect("ids");
        RecordBatch::try_new(schema(), vec![Arc::new(ids), Arc::new(text.slice(0, rows))]).expect("a batch")
    }

    #[test]
    fn few_rows_of_each_of_many_batches_take_the_memory_of_those_rows() {
        let mut few = Few::new(schema(), ROWS);
        let mut given = Vec::new();
        for number in 0..2_000 {
            given.extend(few.push(&batch(11, number % 2 == 0)).expect("taken"));
        }
        given.extend(few.take().expect("the rest"));
        assert_eq!(given.iter().map(RecordBatch::num_rows).sum::<usize>(), 22_000);
        for batch in &given {
            assert!(batch.num_rows() <= ROWS);
            // 16 bytes of id, 16 of view, some 28 of text.
            assert!(get_record_batch_memory_size(batch) < ROWS * 100, "{}", get_record_batch_memory_size(batch));
        }
        let texts = given[0].column(1).as_string_view();
        assert_eq!([texts.value(0), texts.value(10)], ["a text that is not short 0", "a text that is not short 10"]);
    }

    #[test]
    fn a_slice_alone_gives_its_rows_only() {
        let mut few = Few::new(schema(), ROWS);
        let whole = batch(100_000, false);
        assert!(few.push(&whole.slice(500, 10)).expect("taken").is_none());
        let rows = few.take().expect("rows").expect("some");
        assert_eq!(rows, whole.slice(500, 10));
        assert!(get_record_batch_memory_size(&rows) < 10_000, "{}", get_record_batch_memory_size(&rows));
        assert!(few.take().expect("nothing").is_none());
    }
}
