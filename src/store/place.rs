//! The table's place as a process uses it: a directory, or an object store that a URL names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::object_store::ObjectStore;
use tokio::runtime::Handle;

use super::TableUrl;
use super::cache::{Blocks, CachedStore};
use super::disk::Disk;
use super::table::{DeltaLog, Home, LocalStore, Uploader, connect, with_needs};
use crate::error::{Error, Result};

/// Where the table lies in a data directory, unless it lies elsewhere.
const TABLE_DIR: &str = "table";
/// Where data files wait in a data directory until they are uploaded.
const STAGING_DIR: &str = "staging";

/// Where parts of the table are kept in a data directory when it lies on an object store.
const CACHE_DIR: &str = "cache";

/// What a process does with the cache of a data directory.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CacheUse {
    /// Fills it up to so many bytes.
    Keep { bytes: u64 },
    /// Reads what another process keeps there.
    Look,
}

/// The table's place.
#[derive(Debug, Clone)]
pub(crate) struct TablePlace {
    url: Option<TableUrl>,
    pub home: Home,
    /// Its root is that of the table; nothing of it is kept.
    pub store: Arc<dyn ObjectStore>,
    /// The same, for statements.
    pub reads: Arc<dyn ObjectStore>,
    /// The same, for those who read files that are to be replaced.
    pub rewrites: Arc<dyn ObjectStore>,
    pub cache: Option<Arc<Blocks>>,
}

impl TablePlace {
    /// The place of the table of the data directory `dir`: at `url`, or in the directory. `remote` is used in the place of the object store
    /// that a URL names. Nothing is sent.
    pub(crate) fn open(
        dir: &Path,
        url: Option<TableUrl>,
        disk: &Arc<dyn Disk>,
        runtime: &Handle,
        remote: Option<Arc<dyn ObjectStore>>,
        cache: CacheUse,
    ) -> Result<Self> {
        match (root_of(dir, url.as_ref()), &url) {
            (Some(root), _) => {
                let store: Arc<dyn ObjectStore> = Arc::new(LocalStore::new(root.clone(), disk.clone())?);
                let (reads, rewrites) = (store.clone(), store.clone());
                Ok(Self { url, home: Home::Directory(root), store, reads, rewrites, cache: None })
            }
            (None, Some(table_url)) => {
                let store = remote.map_or_else(|| connect(table_url, runtime), Ok)?;
                let cache = open_cache(dir, disk, cache)?;
                let reads = CachedStore::new(table_url.to_string().as_str(), store.clone(), cache.clone());
                let rewrites = Arc::new(reads.without_filling());
                let uploader = Uploader::new(store.clone(), cache.clone(), runtime.clone());
                let home = Home::ObjectStore { staging: dir.join(STAGING_DIR), uploader };
                Ok(Self { url, home, store, reads: Arc::new(reads), rewrites, cache })
            }
            (None, None) => Err(Error::internal("a table without a place")),
        }
    }

    /// Creates the directory of a table that has one.
    pub(crate) fn create(dir: &Path, url: Option<&TableUrl>, disk: &dyn Disk) -> Result<()> {
        match root_of(dir, url) {
            Some(root) => disk.create_dir_all(&root).map_err(|error| Error::io(root.display(), error)),
            None => Ok(()),
        }
    }

    /// Whether a URL names the place, which others may know too.
    pub(crate) fn is_shared(&self) -> bool {
        self.url.is_some()
    }

    /// Reads the table's log as the node `node`, whose mark it then has.
    pub(crate) async fn load(&self, node: &str) -> Result<DeltaLog> {
        let loaded = DeltaLog::load(&self.to_string(), self.store.clone(), node).await;
        loaded.map_err(|error| with_needs(self.url.as_ref(), error))
    }
}

fn open_cache(dir: &Path, disk: &Arc<dyn Disk>, cache: CacheUse) -> Result<Option<Arc<Blocks>>> {
    let dir = dir.join(CACHE_DIR);
    let blocks = match cache {
        CacheUse::Keep { bytes: 0 } => return Ok(None),
        CacheUse::Keep { bytes } => {
            Blocks::open(dir.clone(), disk.clone(), bytes).map_err(|error| Error::io(dir.display(), error))?
        }
        CacheUse::Look => Blocks::look_at(dir, disk.clone()),
    };
    Ok(Some(Arc::new(blocks)))
}

/// The directory of the table; `None` when it lies on an object store.
fn root_of(dir: &Path, url: Option<&TableUrl>) -> Option<PathBuf> {
    match url {
        Some(url) => url.directory(),
        None => Some(dir.join(TABLE_DIR)),
    }
}

impl fmt::Display for TablePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.url, &self.home) {
            (Some(url), _) => url.fmt(f),
            (None, Home::Directory(root)) => root.display().fmt(f),
            (None, Home::ObjectStore { staging, .. }) => staging.display().fmt(f),
        }
    }
}
