//! Where spans live: the write-ahead log, the fresh spans, the sealed Delta table, and the snapshot that joins them.
//!
//! Knows files, object stores and Arrow. Knows nothing of listeners or SQL.

mod cache;
mod check;
mod clock;
mod compact;
mod disk;
mod failpoint;
#[cfg(test)]
mod fault_tests;
#[cfg(test)]
pub(crate) mod faulty_store;
mod fence;
mod follow;
mod fresh;
mod gather;
mod health;
mod keeper;
mod lock;
mod missing;
#[cfg(test)]
pub(crate) mod model_tests;
mod open;
mod order;
mod owners;
mod place;
mod priority;
mod publish;
mod quarantine;
mod reader;
mod redact;
mod refusing;
#[cfg(test)]
mod remote_tests;
mod replace;
mod retention;
mod retries;
mod seal;
mod sealer;
mod settings;
mod shared;
#[cfg(test)]
mod shared_tests;
mod snapshot;
mod state;
mod status;
#[expect(clippy::module_inception, reason = "the store is what this folder is about")]
mod store;
mod table;
mod table_url;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod trace_index;
mod vacuum;
mod wal;

pub use cache::CacheFigures;
pub use check::{CheckReport, Finding, LogFigures, Loss, Part, Repair, TableFigures, check, repair};
pub use compact::Backlog;
pub(crate) use disk::{Disk, OsDisk, write_whole};
pub(crate) use failpoint::pass as failpoint;
pub use health::DiskRoom;
pub use keeper::{CompactReport, Redaction};
pub use lock::holder;
pub use missing::{MissingFile, missing_file};
pub use priority::Priority;
pub use reader::StoreReader;
pub use redact::{FoundSpans, RedactReport, RedactedFile, SpanFilter, TraceFilter, find_spans};
pub(crate) use refusing::RefusalWatch;
pub use retention::announced as announced_retention;
pub use retention::{Expiry, MOST_RULES, Retention, RetentionRule};
pub use settings::StoreSettings;
pub use snapshot::{DataFile, Snapshot, SnapshotSource};
pub use status::{SealReport, StoreStatus};
pub use store::Store;
pub(crate) use table::connect as connect_object_store;
pub use table_url::TableUrl;
pub use trace_index::{FileIndex, FileRun, IndexFigures, TraceSet};
#[doc(hidden)]
pub use wal::fuzzing;
