//! The trace index: where in a data file the spans of each trace lie, kept in the file itself.
//!
//! A data file holds the rows of a trace in few *runs* of neighbours. The writer notes them and puts them between the last row group and the
//! footer, where other Parquet readers do not look; a footer entry says where. The small head of each file's index stays in memory,
//! so that a trace is found by asking the heads and reading a block of the few files that may have it.
//!
//! Knows bytes, hashes and the object store. Knows nothing of Delta, the log, or statements.

mod bits;
mod blocks;
mod builder;
mod layout;
mod place;
mod resident;
#[cfg(test)]
mod tests;

pub(crate) use builder::IndexBuilder;
pub(crate) use layout::{Head, TraceHash};
pub(crate) use place::{KEY, Place};
pub(crate) use resident::IndexMemory;
pub use resident::{FileIndex, FileRun, IndexFigures, TraceSet};
