//! The columns of a trace.

use std::cmp::Reverse;
use std::num::NonZeroU64;

/// The spans of one trace, column by column, fewer than 2³¹ of them. All columns have the same length.
#[derive(Debug, Clone, Copy)]
pub struct Spans<'a> {
    /// Nanoseconds since 1970.
    pub start_ns: &'a [i64],
    /// Never negative.
    pub duration_ns: &'a [i64],
    pub ids: &'a [u64],
    /// The ids of the parents; `None` for a root.
    pub parents: &'a [Option<NonZeroU64>],
}

impl Spans<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// When a span ended.
    pub fn end_ns(&self, row: usize) -> i64 {
        self.start_ns[row].saturating_add(self.duration_ns[row])
    }

    /// What siblings are ordered by: their start, then their id.
    pub(super) fn rank(&self, row: u32) -> impl Ord + use<> {
        let at = row as usize;
        (self.start_ns[at], self.ids[at], Reverse(self.duration_ns[at]), row)
    }
}
