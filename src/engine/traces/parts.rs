//! What is done with whole traces needs some columns of all rows of a trace at once; the others pass it by, batch by batch.

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::error::Result;
use datafusion::execution::SendableRecordBatchStream;
use futures::StreamExt;

use super::local::{Local, Spans};

/// Which columns are needed of all rows of a trace, and which pass by.
pub(super) trait Parts: Send + Sync {
    /// What is done with single spans before.
    fn spans(&self) -> &Local;

    /// What is needed of these rows.
    fn needed(&self, rows: &RecordBatch) -> Result<RecordBatch>;

    /// What of these rows is given again as it came.
    fn passing(&self, rows: &RecordBatch) -> Result<RecordBatch>;

    /// The columns that pass by.
    fn passing_schema(&self) -> SchemaRef;
}

/// Rows of whole traces.
pub(super) struct Chunk {
    pub needed: Spans,
    pub passing: Passing,
}

/// The columns that pass by, in the order of the rows.
pub(super) struct Passing {
    batch: RecordBatch,
    /// The first row of `batch` that has not been taken.
    next: usize,
    /// What follows, of a trace that is too large for memory.
    more: Option<SendableRecordBatchStream>,
}

impl Passing {
    /// All of them.
    pub fn held(batch: RecordBatch) -> Self {
        Self { batch, next: 0, more: None }
    }

    /// Those that a stream gives, of a trace whose rows have the columns `schema`.
    pub fn streamed(schema: SchemaRef, rows: SendableRecordBatchStream) -> Self {
        Self { batch: RecordBatch::new_empty(schema), next: 0, more: Some(rows) }
    }

    /// How many rows can be taken at once; none after the last.
    pub async fn at_hand(&mut self) -> Result<usize> {
        while self.next == self.batch.num_rows() {
            let Some(more) = &mut self.more else { return Ok(0) };
            let Some(batch) = more.next().await.transpose()? else { return Ok(0) };
            (self.batch, self.next) = (batch, 0);
        }
        Ok(self.batch.num_rows() - self.next)
    }

    /// The next rows, no more of them than are at hand.
    pub fn take(&mut self, rows: usize) -> RecordBatch {
        let from = self.next;
        self.next += rows;
        self.batch.slice(from, rows)
    }
}
