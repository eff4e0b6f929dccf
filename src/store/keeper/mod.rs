//! The keeper: makes small files into large ones and deletes what left the table, behind ingest and queries, on a thread of its own.
//!
//! Decides nothing of what is merged, expires or is meant by a redaction: it has that decided, carried out, committed and made visible, one piece of
//! work after the other.

mod compaction;
mod expiry;
mod handle;
mod redaction;
mod removal;
mod work;

pub use compaction::CompactReport;
pub(crate) use handle::Keeper;
pub use handle::Redaction;
