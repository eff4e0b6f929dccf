//! Where one output of a merge ends and the next begins.

use crate::store::order::SortKey;

/// Cuts the rows of a merge into files of about the same size.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub goal_rows: u64,
}

impl Cut {
    /// Whether a file of `rows`, the last of which is `last`, ends before `next`: at a bucket's border if there is one, else between
    /// traces, and in the middle of a trace only when that is as large as a file.
    pub(super) fn is_here(self, rows: u64, last: &SortKey, next: &SortKey) -> bool {
        let bucket_ends = last.bucket != next.bucket;
        let trace_ends = bucket_ends || last.trace_id != next.trace_id;
        (rows >= self.goal_rows && bucket_ends)
            || (rows >= self.goal_rows.saturating_add(self.goal_rows / 4) && trace_ends)
            || rows >= self.goal_rows.saturating_mul(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_end_at_buckets_then_at_traces_then_anywhere() {
        let key = |bucket, trace_id| SortKey { bucket, trace_id, start_ns: 0 };
        let cut = Cut { goal_rows: 100 };
        let (same, trace, bucket) = (key(1, 1), key(1, 2), key(2, 1));
        for (rows, at_same, at_trace, at_bucket) in [
            (99, false, false, false),
            (100, false, false, true),
            (124, false, false, true),
            (125, false, true, true),
            (199, false, true, true),
            (200, true, true, true),
        ] {
            assert_eq!(cut.is_here(rows, &key(1, 1), &same), at_same, "{rows}");
            assert_eq!(cut.is_here(rows, &key(1, 1), &trace), at_trace, "{rows}");
            assert_eq!(cut.is_here(rows, &key(1, 1), &bucket), at_bucket, "{rows}");
        }
    }
}
