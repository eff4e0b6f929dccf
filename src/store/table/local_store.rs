//! The local file system as an object store whose writes are durable when they return.
//!
//! `object_store`'s own local store never syncs. Reading, listing and deleting are its; every write here goes to a temporary name, is synced, gets
//! its name, and then the directory is synced.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult, UploadPart,
};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryFutureExt, TryStreamExt};

use crate::error::{Error, Kind, Result};
use crate::store::disk::Disk;
use crate::store::failpoint;

/// A directory as an object store.
#[derive(Debug, Clone)]
pub(crate) struct LocalStore {
    inner: Arc<LocalFileSystem>,
    root: PathBuf,
    disk: Arc<dyn Disk>,
}

impl LocalStore {
    /// The store of `root`, which must exist.
    pub(crate) fn new(root: PathBuf, disk: Arc<dyn Disk>) -> Result<Self> {
        let inner = LocalFileSystem::new_with_prefix(&root)
            .map_err(|error| Error::new(Kind::Io, format!("{}: {error}", root.display())).with_source(error))?;
        Ok(Self { inner: Arc::new(inner), root, disk })
    }

    fn put_synced(&self, location: &Path, bytes: &[Bytes], mode: &PutMode) -> StoreResult<PutResult> {
        let path = self.inner.path_to_filesystem(location)?;
        let generic = |source: std::io::Error| StoreError::Generic { store: "LocalStore", source: Box::new(source) };
        let dir = path.parent().unwrap_or(&self.root);
        self.disk.create_dir_all(dir).map_err(generic)?;
        let temporary = dir.join(temporary_name());
        let written = self.disk.create_new(&temporary).and_then(|mut file| {
            bytes.iter().try_for_each(|bytes| file.write_all(bytes))?;
            file.sync_data()
        });
        let named = written.and_then(|()| match mode {
            PutMode::Create => self.disk.hard_link(&temporary, &path).map(|()| {
                // The file has its name: the other one is a leftover, which the next start removes.
                let _ = self.disk.remove_file(&temporary);
            }),
            _ => self.disk.rename(&temporary, &path),
        });
        if let Err(error) = named {
            // The temporary file may not even exist; what matters is the first error.
            let _ = self.disk.remove_file(&temporary);
            return Err(match error.kind() {
                std::io::ErrorKind::AlreadyExists => {
                    StoreError::AlreadyExists { path: location.to_string(), source: Box::new(error) }
                }
                _ => generic(error),
            });
        }
        failpoint::pass("before_table_sync");
        self.disk.sync_dir(dir).map_err(generic)?;
        Ok(PutResult { e_tag: None, version: None })
    }
}

/// An error that names the file: a range that lies behind the end of one does not.
fn named(location: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Generic { store, source } => {
            StoreError::Generic { store, source: format!("{location}: {source}").into() }
        }
        error => error,
    }
}

/// A new name for a file until it is whole.
fn temporary_name() -> String {
    format!(".{}.tmp", uuid::Uuid::new_v4().hyphenated())
}

/// Whether [`temporary_name`] may have given this name.
pub(super) fn is_temporary_name(name: &str) -> bool {
    let unique = name.strip_prefix('.').and_then(|name| name.strip_suffix(".tmp"));
    unique.is_some_and(|unique| unique.len() == uuid::fmt::Hyphenated::LENGTH && uuid::Uuid::try_parse(unique).is_ok())
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStore({})", self.root.display())
    }
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> StoreResult<PutResult> {
        if matches!(options.mode, PutMode::Update(_)) {
            return Err(StoreError::NotSupported { source: "a conditional update of a local file".into() });
        }
        let (store, location) = (self.clone(), location.clone());
        let bytes: Vec<Bytes> = payload.into_iter().collect();
        tokio::task::spawn_blocking(move || store.put_synced(&location, &bytes, &options.mode)).await?
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        Ok(Box::new(WholeUpload { store: self.clone(), location: location.clone(), parts: Vec::new() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> StoreResult<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await.map_err(|error| named(location, error))
    }

    fn delete_stream(&self, locations: BoxStream<'static, StoreResult<Path>>) -> BoxStream<'static, StoreResult<Path>> {
        self.inner.delete_stream(locations)
    }

    // The table's library relies on object stores listing in the order of names; a file system does not.
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        let listed = self.inner.list(prefix).try_collect::<Vec<_>>().map_ok(|mut listed| {
            listed.sort_unstable_by(|a, b| a.location.cmp(&b.location));
            stream::iter(listed).map(Ok)
        });
        listed.try_flatten_stream().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// An upload in parts, kept in memory and written as one synced file at its end: only the table's checkpoints come this way, some
/// hundred bytes for each file of the table.
#[derive(Debug)]
struct WholeUpload {
    store: LocalStore,
    location: Path,
    parts: Vec<PutPayload>,
}

#[async_trait]
impl MultipartUpload for WholeUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.parts.push(data);
        Box::pin(std::future::ready(Ok(())))
    }

    async fn complete(&mut self) -> StoreResult<PutResult> {
        let (store, location) = (self.store.clone(), self.location.clone());
        let bytes: Vec<Bytes> = std::mem::take(&mut self.parts).into_iter().flatten().collect();
        tokio::task::spawn_blocking(move || store.put_synced(&location, &bytes, &PutMode::Overwrite)).await?
    }

    async fn abort(&mut self) -> StoreResult<()> {
        self.parts.clear();
        Ok(())
    }
}
