//! The sealed table: a Delta Lake log over Parquet files, on an object store that syncs what it writes.
//!
//! Knows Delta, Parquet and the disk. Knows nothing of the write-ahead log but its sequence numbers.

mod data_file;
mod delta;
mod leftovers;
mod local_store;
mod new_file;
mod table_dir;

pub(crate) use data_file::ROW_GROUP_ROWS;
#[cfg(test)]
pub(crate) use data_file::write_data_file;
pub(crate) use delta::{DeltaLog, Replacement, TableState, Tombstone};
pub(crate) use leftovers::{Leftovers, remove_leftovers};
pub(crate) use local_store::LocalStore;
pub(crate) use new_file::{NewFile, WrittenFile, write_new_file};
pub(crate) use table_dir::{FileName, TableDir};
