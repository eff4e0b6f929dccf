//! What one statement sees: a table version and the fresh spans that it does not hold yet.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::object_store::{ObjectStore, path::Path};
use url::Url;

use super::StoreStatus;
use super::clock::{Clock, OsClock};
use super::compact::{Backlog, backlog};
use super::missing::MissingFile;
use super::retention::Expiry;
use super::state::State;
use super::trace_index::{FileIndex, FileRun, TraceSet};
use crate::error::{Error, Result};
use crate::model::SpanBatch;
use crate::model::promoted::Promoted;

/// A sealed Parquet file of the table.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// The path below the object store's root.
    pub location: Path,
    pub size_bytes: u64,
    /// CRC32C of all its bytes; `None` for a file of another program, or of a version that did not note it.
    pub crc: Option<u32>,
    pub rows: u64,
    /// The partition: `YYYY-MM-DD` of the spans' start, UTC.
    pub date: String,
    pub min_start_ns: i64,
    pub max_start_ns: i64,
    pub written_unix_ms: i64,
    pub index: FileIndex,
}

impl DataFile {
    /// Whether the file may have spans of `traces`, as far as can be told without reading.
    pub fn may_have(&self, traces: &TraceSet) -> bool {
        self.index.may_have(traces)
    }

    /// The rows in which the file may have spans of `traces`, in order and without overlap; `None` when it has no index that can tell.
    pub async fn rows_of(&self, store: &Arc<dyn ObjectStore>, traces: &TraceSet) -> Option<Vec<Range<u32>>> {
        self.index.find(store, &self.location, self.size_bytes, traces).await
    }

    /// Reads the part of the index that stays in memory, unless it is there.
    pub async fn warm_index(&self, store: &Arc<dyn ObjectStore>) {
        self.index.warm(store, &self.location, self.size_bytes).await;
    }

    /// All runs of neighbouring rows of one trace, in order of their rows; `None` when the file has no index that can tell.
    pub async fn runs(&self, store: &Arc<dyn ObjectStore>) -> Option<Vec<FileRun>> {
        self.index.runs(store, &self.location, self.size_bytes).await
    }
}

/// An immutable view of all spans at one moment. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The Delta table's version; `None` before its first commit.
    pub table_version: Option<u64>,
    pub files: Arc<[DataFile]>,
    /// The columns of promoted attributes that files may have.
    pub promoted: Arc<Promoted>,
    /// Batches none of whose spans is in `files`.
    pub fresh: Arc<[SpanBatch]>,
    /// Which spans have expired: no statement may see them. `None` when there is no such span.
    pub expiry: Option<Arc<Expiry>>,
    pub object_store: Arc<dyn ObjectStore>,
    /// Files that lie in quarantine, because they could not be stored or were damaged.
    pub quarantined_files: u64,
    /// The store's numbers, when the store itself was asked and not a reader.
    pub status: Option<Arc<StoreStatus>>,
    /// The URL under which the engine registers `object_store`.
    pub object_store_url: Url,
}

/// The URL under which snapshots name their object store.
const OBJECT_STORE_URL: &str = "spanhouse://table/";

impl Snapshot {
    pub(super) fn new(
        state: &State,
        expiry: Option<Arc<Expiry>>,
        object_store: Arc<dyn ObjectStore>,
        quarantined_files: u64,
        status: Option<StoreStatus>,
    ) -> Result<Self> {
        let object_store_url = Url::parse(OBJECT_STORE_URL).map_err(|error| Error::internal(error.to_string()))?;
        Ok(Self {
            table_version: state.table_version,
            files: state.files.clone(),
            promoted: state.promoted.clone(),
            fresh: state.batches(),
            expiry,
            object_store,
            quarantined_files,
            status: status.map(Arc::new),
            object_store_url,
        })
    }

    /// Whether the file that was looked for is one of this snapshot.
    pub fn has(&self, missing: &MissingFile<'_>) -> bool {
        self.files.iter().any(|file| missing.is(file))
    }

    /// What compaction has to do in the files of this snapshot.
    pub fn backlog(&self) -> Backlog {
        backlog(&self.files, OsClock.unix_ms())
    }
}

/// Whoever can pin a snapshot: a running [`super::Store`], or a reader of another process's data directory.
#[async_trait]
pub trait SnapshotSource: Send + Sync + std::fmt::Debug {
    /// Pins everything acknowledged until now; what other processes committed to the table in the last seconds may be missing.
    async fn snapshot(&self) -> Result<Snapshot>;

    /// The same, with all that anybody has committed until now.
    async fn newest(&self) -> Result<Snapshot>;
}
