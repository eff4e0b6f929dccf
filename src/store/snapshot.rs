//! What one statement sees: a table version and the fresh spans that it does not hold yet.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::object_store::{ObjectStore, path::Path};
use url::Url;

use crate::error::{Error, Result};

/// A sealed Parquet file of the table.
#[derive(Debug, Clone)]
pub struct DataFile {
    /// The path below the object store's root.
    pub location: Path,
    pub size_bytes: u64,
    pub rows: u64,
    /// The partition: `YYYY-MM-DD` of the spans' start, UTC.
    pub date: String,
    pub min_start_ns: i64,
    pub max_start_ns: i64,
}

/// An immutable view of all spans at one moment. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The Delta table's version; `None` before its first commit.
    pub table_version: Option<u64>,
    pub files: Arc<[DataFile]>,
    /// Batches in [`crate::model::schema::physical_schema`], none of whose rows is in `files`.
    pub fresh: Arc<[RecordBatch]>,
    pub object_store: Arc<dyn ObjectStore>,
    /// The URL under which the engine registers `object_store`.
    pub object_store_url: Url,
}

/// The URL under which snapshots name their object store.
const OBJECT_STORE_URL: &str = "spanhouse://table/";

impl Snapshot {
    pub(super) fn new(
        table_version: Option<u64>,
        files: Arc<[DataFile]>,
        fresh: Arc<[RecordBatch]>,
        object_store: Arc<dyn ObjectStore>,
    ) -> Result<Self> {
        let object_store_url = Url::parse(OBJECT_STORE_URL).map_err(|error| Error::internal(error.to_string()))?;
        Ok(Self { table_version, files, fresh, object_store, object_store_url })
    }
}

/// Whoever can pin a snapshot: a running [`super::Store`], or a reader of another process's data directory.
#[async_trait]
pub trait SnapshotSource: Send + Sync + std::fmt::Debug {
    /// Pins everything acknowledged until now.
    async fn snapshot(&self) -> Result<Snapshot>;
}
