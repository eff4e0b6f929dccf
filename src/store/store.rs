//! The store of one process: owns the data directory and moves spans from log to table.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::object_store::memory::InMemory;
use url::Url;

use super::{Snapshot, SnapshotSource};
use crate::error::{Error, Result};

/// What a user may set about storage.
#[derive(Debug, Clone, Default)]
pub struct StoreSettings {}

/// What one sealing did.
#[derive(Debug, Clone, Copy, Default)]
pub struct SealReport {
    pub rows: u64,
    pub files: usize,
    pub bytes: u64,
}

/// The store of one process.
#[derive(Debug)]
pub struct Store {
    fresh: Mutex<Vec<RecordBatch>>,
}

impl Store {
    /// Opens the data directory, replays its log, and starts the sealer.
    pub async fn open(_dir: &Path, _settings: StoreSettings) -> Result<Arc<Self>> {
        Ok(Arc::new(Self { fresh: Mutex::default() }))
    }

    /// Keeps one export: returns when `payload` (a protobuf `ExportTraceServiceRequest`) is on disk and `batch`, decoded
    /// from it, is visible to every new snapshot.
    pub async fn append(&self, _payload: Bytes, batch: RecordBatch) -> Result<()> {
        self.fresh.lock().unwrap_or_else(PoisonError::into_inner).push(batch);
        Ok(())
    }

    /// Moves all spans that are fresh now into the table.
    pub async fn seal(&self) -> Result<SealReport> {
        Ok(SealReport::default())
    }

    /// Refuses further appends, seals, and lets go of the directory.
    pub async fn close(&self) -> Result<()> {
        self.seal().await.map(|_| ())
    }
}

#[async_trait]
impl SnapshotSource for Store {
    async fn snapshot(&self) -> Result<Snapshot> {
        let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Snapshot {
            table_version: None,
            files: Arc::from([]),
            fresh: fresh.into(),
            object_store: Arc::new(InMemory::new()),
            object_store_url: Url::parse("memory:///").map_err(|e| Error::internal(e.to_string()))?,
        })
    }
}
