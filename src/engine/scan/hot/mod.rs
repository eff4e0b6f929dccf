//! Columns of files, decoded and kept in memory: what was read before is neither fetched nor unpacked again.
//!
//! A wrapper around the Parquet source. It keeps whole columns of row groups, within a budget; where that does not pay (a few rows of
//! a row group, maps and lists, more than the budget holds) the Parquet source reads as it would alone. For statements that want each value
//! once, it reads dictionaries instead of columns.

mod cache;
mod codes;
mod constants;
mod distinct;
mod file;
mod keys;
mod morsels;
mod source;
mod stream;
mod told;

pub(in crate::engine) use cache::ColumnCache;
pub(super) use source::HotSource;
pub(in crate::engine) use source::Once;
