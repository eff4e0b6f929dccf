//! The sealed table: a Delta Lake log over Parquet files, on an object store that syncs what it writes.
//!
//! Knows Delta, Parquet and the disk. Knows nothing of the write-ahead log but its sequence numbers.

mod data_file;
mod delta;
mod leftovers;
mod local_store;

pub(crate) use data_file::{FileName, WrittenContent, WrittenFile, date_dir, write_data_file};
pub(crate) use delta::DeltaLog;
pub(crate) use leftovers::{Leftovers, remove_leftovers};
pub(crate) use local_store::LocalStore;
