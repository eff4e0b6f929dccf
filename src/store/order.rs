//! The order of rows in a data file: by time bucket, then trace by trace, then by start.

use datafusion::arrow::array::{AsArray, FixedSizeBinaryArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::Int64Type;

use crate::error::{Error, Result};
use crate::model::schema::{START_NS, TRACE_ID};

/// The width of the time buckets within which rows lie trace by trace: most traces fit into one, and a query over minutes
/// reads few. Days are whole numbers of buckets.
pub(crate) const BUCKET_NS: i64 = 300 * 1_000_000_000;
pub(crate) const DAY_NS: i64 = 86_400 * 1_000_000_000;

/// What rows are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SortKey {
    /// The start's [`bucket_of`].
    pub bucket: i64,
    pub trace_id: u128,
    pub start_ns: i64,
}

/// The number of the time bucket that holds a start.
pub(crate) fn bucket_of(start_ns: i64) -> i64 {
    start_ns.div_euclid(BUCKET_NS)
}

/// The columns of a batch that its rows are ordered by.
#[derive(Debug)]
pub(crate) struct KeyColumns<'a> {
    starts: &'a Int64Array,
    traces: &'a FixedSizeBinaryArray,
}

impl<'a> KeyColumns<'a> {
    pub(crate) fn new(starts: &'a Int64Array, traces: &'a FixedSizeBinaryArray) -> Self {
        Self { starts, traces }
    }

    /// # Errors
    /// An internal error when the batch has another schema.
    pub(crate) fn of(batch: &'a RecordBatch) -> Result<Self> {
        let starts = batch.column_by_name(START_NS).and_then(|column| column.as_primitive_opt::<Int64Type>());
        let traces = batch.column_by_name(TRACE_ID).and_then(|column| column.as_fixed_size_binary_opt());
        match (starts, traces) {
            (Some(starts), Some(traces)) => Ok(Self { starts, traces }),
            _ => Err(Error::internal("a batch of spans lacks its start times or trace ids")),
        }
    }

    pub(crate) fn key(&self, row: usize) -> SortKey {
        let start_ns = self.starts.value(row);
        let trace_id = self.traces.value(row).try_into().map(u128::from_be_bytes).unwrap_or_default();
        SortKey { bucket: bucket_of(start_ns), trace_id, start_ns }
    }
}
