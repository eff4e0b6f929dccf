//! Runs: neighbouring rows of one trace.

use datafusion::arrow::array::{Array, AsArray, FixedSizeBinaryArray, RecordBatch};
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result;

pub(super) use crate::engine::trace_runs::run_starts;
use crate::model::TraceId;

/// The trace ids in column `at` of a batch.
pub(super) fn trace_ids(batch: &RecordBatch, at: usize) -> Result<&FixedSizeBinaryArray> {
    batch
        .columns()
        .get(at)
        .and_then(|column| column.as_fixed_size_binary_opt())
        .filter(|ids| ids.value_length() == TraceId::LEN as i32 && ids.null_count() == 0)
        .ok_or_else(|| internal_datafusion_err!("a batch of spans lacks its trace ids"))
}

/// A hash that is the same in every process, so that it may be kept. Ids need not be random: many systems leave their upper half zero.
pub(super) fn hash(id: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(id)
}
