//! The sealed table: a Delta Lake log over Parquet files, in a directory or on an object store.
//!
//! Knows Delta, Parquet and the disk. Knows nothing of the write-ahead log but its sequence numbers.

mod actions;
mod connect;
mod data_file;
mod delta;
mod encoding;
mod leftovers;
mod local_store;
mod new_file;
mod planes;
mod row_groups;
mod table_dir;
mod upload;

pub(crate) use connect::{connect, with_needs};
#[cfg(test)]
pub(crate) use data_file::write_data_file;
pub(crate) use delta::{DeltaLog, LOG_DIR, Replacement, TableState, Tombstone};
pub(crate) use encoding::{Effort, ROW_GROUP_ROWS};
pub(crate) use leftovers::{Leftovers, YOUNG_MS, remove_leftovers};
pub(crate) use local_store::LocalStore;
pub(crate) use new_file::{NewFile, WrittenFile, write_new_file};
pub(crate) use table_dir::{FileName, Home, Origin, TableDir};
pub(crate) use upload::Uploader;
