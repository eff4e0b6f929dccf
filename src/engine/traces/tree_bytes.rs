//! What the columns of a tree take in memory.

use std::num::NonZeroU64;

use super::tree_columns::TreeColumn;
use crate::analysis::{Call, Section, Tree};

/// The ids of a span and of its parent as numbers.
const IDS_BYTES_PER_SPAN: usize = size_of::<u64>() + size_of::<Option<NonZeroU64>>();

/// The critical path comes to a span and back to it.
const SECTIONS_BYTES_PER_SPAN: usize = 2 * size_of::<Section>();

/// While it is walked, all spans of a chain are open.
const WALK_BYTES_PER_SPAN: usize = SECTIONS_BYTES_PER_SPAN + 64;

/// For each span the one above it, the one that its path ends with, and how many names that has.
const PATHS_BYTES_PER_SPAN: usize = size_of::<Option<u32>>() + 2 * size_of::<u32>();

/// A span's place among calls, and what is known of those above and below it while it is found.
const CALLS_BYTES_PER_SPAN: usize = size_of::<Call>() + 8;

/// The outermost span around each, and how many calls are below it.
const WRAPPED_BYTES_PER_SPAN: usize = size_of::<u32>() + 2;

/// What the columns `wanted` take for each span once they are made.
pub(super) fn bytes_per_span(wanted: &[TreeColumn]) -> usize {
    let has_paths = wanted.iter().any(|column| column.along_path().is_some());
    wanted.iter().map(|column| column.bytes()).sum::<usize>() + if has_paths { PATHS_BYTES_PER_SPAN } else { 0 }
}

/// The most that they take for each span while they are made, the spans' own columns aside.
pub(super) fn most_bytes_per_span(wanted: &[TreeColumn]) -> usize {
    let of = |bytes: usize, is_of: fn(TreeColumn) -> bool| match wanted.iter().any(|column| is_of(*column)) {
        true => bytes,
        false => 0,
    };
    let walk = of(WALK_BYTES_PER_SPAN, TreeColumn::is_of_critical_path);
    let known = of(SECTIONS_BYTES_PER_SPAN, TreeColumn::is_of_critical_path)
        + of(CALLS_BYTES_PER_SPAN, TreeColumn::is_of_calls)
        + of(WRAPPED_BYTES_PER_SPAN, TreeColumn::is_of_wrapped);
    // The column that is being made is there twice for a while.
    let columns = size_of::<Option<i64>>() + bytes_per_span(wanted);
    // The walk is over before columns are made of it.
    Tree::BYTES_PER_SPAN + IDS_BYTES_PER_SPAN + walk.max(known + columns)
}
