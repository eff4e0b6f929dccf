//! `internal.spans`: the fresh batches and sealed files of the statement's snapshot as one table.
//!
//! Knows files by what the store says of them, and reads them with DataFusion's Parquet source. Does not know SQL.

#[cfg(test)]
mod attribute_tests;
mod attributes;
mod by_footer;
mod files;
mod fresh;
mod hot;
mod indexed;
mod lookup;
mod pieces;
mod prune;
mod source;
mod spans_scan;
mod statistics;
mod table;
mod visible;
mod wanted;
mod whole_numbers;

pub(super) use by_footer::rows_wanted_of;
pub(super) use files::{file_scan, scan_coded, scan_once, scan_parts};
pub(super) use hot::{ColumnCache, Once};
pub(super) use pieces::Piece;
pub(super) use prune::files_that_may_match;
pub(super) use spans_scan::{Pieces, Rows, SpansScan};
pub(super) use table::{PinnedSnapshot, SpansTable, physical_predicate};
pub(super) use wanted::MAX_TRACES;
