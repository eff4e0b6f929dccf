//! What accumulators of many groups share.

use datafusion::arrow::array::{Array, BooleanArray};

/// Whether an aggregate's FILTER lets this row in.
pub(super) fn wanted(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}
