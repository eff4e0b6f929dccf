//! Where spans live: the write-ahead log, the fresh spans, the sealed Delta table, and the snapshot that joins them.
//!
//! Knows files, object stores and Arrow. Knows nothing of listeners or SQL.

mod snapshot;
mod store;

pub use snapshot::{DataFile, Snapshot, SnapshotSource};
pub use store::{SealReport, Store, StoreSettings};
