//! Columns of files, decoded and kept in memory: what was read before is neither fetched nor unpacked again.
//!
//! Stands between the source and the Parquet source's own opening of files. It keeps whole columns of row groups, within a budget; where
//! that does not pay (a few rows of a row group, maps and lists, more than the budget holds) the Parquet source reads as it would alone. Of
//! rows that the trace index names it keeps the pages, unpacked. For statements that want each value once, it reads dictionaries instead of
//! columns.

mod cache;
mod chosen;
mod codes;
mod constants;
mod distinct;
mod few;
mod file;
mod footer;
mod keys;
mod morsels;
mod numbers;
mod pages;
mod plain;
mod room;
mod runs;
mod stream;
mod told;
mod tuples;
mod wide;

pub(in crate::engine) use cache::ColumnCache;
pub(in crate::engine) use file::Once;
pub(super) use file::Scan;
pub(super) use footer::rows_that_may_match;
pub(super) use morsels::with_memory;
pub(super) use room::row_bytes;
pub(super) use wide::BySize;
