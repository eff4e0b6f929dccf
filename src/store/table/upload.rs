//! Data files on their way to an object store, and away from it again, for threads that may block.

use std::io;
use std::path::Path as FsPath;
use std::sync::Arc;
use std::sync::mpsc;

use bytes::BytesMut;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    Error as StoreError, MultipartUpload, ObjectStore, ObjectStoreExt, Result as StoreResult,
};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::runtime::Handle;

use crate::error::{Error, Kind, Result};
use crate::store::cache::Blocks;

/// The size of a part: services take 10,000 parts of a file at most, none but the last smaller than 5 MiB.
const PART_BYTES: usize = 8 << 20;
/// Parts under way: what an upload holds in memory.
const PARTS_AT_ONCE: usize = 4;

/// Moves data files to an object store.
#[derive(Debug, Clone)]
pub(crate) struct Uploader {
    store: Arc<dyn ObjectStore>,
    cache: Option<Arc<Blocks>>,
    runtime: Handle,
}

impl Uploader {
    /// One whose requests run on `runtime`, and which keeps the cache in step.
    pub(crate) fn new(store: Arc<dyn ObjectStore>, cache: Option<Arc<Blocks>>, runtime: Handle) -> Self {
        Self { store, cache, runtime }
    }

    /// Stores a local file of `size_bytes` as `location`, and keeps it in the cache: what is new is asked for first. Blocks.
    pub(crate) fn upload(&self, path: &FsPath, size_bytes: u64, location: &Path, now_unix_ms: i64) -> Result<()> {
        let (store, from, to) = (self.store.clone(), path.to_owned(), location.clone());
        let uploaded = self.wait(async move { send_file(store.as_ref(), &from, size_bytes, &to).await })?;
        uploaded
            .map_err(|error| Error::new(Kind::Io, format!("cannot store {location}: {error}")).with_source(error))?;
        if let Some(cache) = &self.cache {
            cache.admit(location, path, size_bytes, now_unix_ms);
        }
        Ok(())
    }

    /// Deletes an object, and what the cache has of it; tells whether it was there, as far as the store says. Blocks.
    pub(crate) fn delete(&self, location: &Path) -> Result<bool> {
        if let Some(cache) = &self.cache {
            cache.forget(location);
        }
        let (store, gone) = (self.store.clone(), location.clone());
        match self.wait(async move { store.delete(&gone).await })? {
            Ok(()) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(error) => Err(Error::new(Kind::Io, format!("cannot delete {location}: {error}")).with_source(error)),
        }
    }

    /// Runs a future on the store's runtime and blocks until it is done; the caller may be on any thread but those of that runtime.
    fn wait<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let (done, result) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            // Nobody stops waiting before the result is there.
            let _ = done.send(work.await);
        });
        result.recv().map_err(|_| Error::new(Kind::Closed, "the store is closing"))
    }
}

async fn send_file(store: &dyn ObjectStore, path: &FsPath, size_bytes: u64, location: &Path) -> StoreResult<()> {
    let mut file = File::open(path).await.map_err(unreadable)?;
    if size_bytes <= PART_BYTES as u64 {
        let bytes = next_part(&mut file).await?;
        expect_size(bytes.len() as u64, size_bytes)?;
        return store.put(location, bytes.freeze().into()).await.map(|_| ());
    }
    let mut upload = store.put_multipart(location).await?;
    let sent = match send_parts(&mut file, upload.as_mut(), size_bytes).await {
        Ok(()) => upload.complete().await.map(|_| ()),
        Err(error) => Err(error),
    };
    if sent.is_err() {
        // Parts that stay are not visible, and are the bucket's rules to remove.
        let _ = upload.abort().await;
    }
    sent
}

async fn send_parts(file: &mut File, upload: &mut dyn MultipartUpload, size_bytes: u64) -> StoreResult<()> {
    let (mut parts, mut read_bytes) = (FuturesUnordered::new(), 0);
    loop {
        let part = next_part(file).await?;
        if part.is_empty() {
            break;
        }
        read_bytes += part.len() as u64;
        parts.push(upload.put_part(part.freeze().into()));
        if parts.len() >= PARTS_AT_ONCE
            && let Some(sent) = parts.next().await
        {
            sent?;
        }
    }
    while let Some(sent) = parts.next().await {
        sent?;
    }
    expect_size(read_bytes, size_bytes)
}

/// The file's next part; empty at its end.
async fn next_part(file: &mut File) -> StoreResult<BytesMut> {
    let mut part = BytesMut::with_capacity(PART_BYTES);
    while part.len() < PART_BYTES {
        let wanted = PART_BYTES - part.len();
        if (&mut *file).take(wanted as u64).read_buf(&mut part).await.map_err(unreadable)? == 0 {
            break;
        }
    }
    Ok(part)
}

fn expect_size(read_bytes: u64, size_bytes: u64) -> StoreResult<()> {
    match read_bytes == size_bytes {
        true => Ok(()),
        false => Err(unreadable(io::Error::other(format!("{read_bytes} bytes instead of {size_bytes}")))),
    }
}

fn unreadable(error: io::Error) -> StoreError {
    StoreError::Generic { store: "staged file", source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::faulty_store::{Call, Fault, FaultyStore};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_arrives_whole_or_not_at_all() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("file");
        let location = Path::from("date=2026-01-01/file");
        for size_bytes in [0, 1, PART_BYTES, PART_BYTES + 1, 6 * PART_BYTES] {
            let content: Vec<u8> = (0..size_bytes).map(|n| (n / 1000) as u8).collect();
            std::fs::write(&path, &content).expect("written");
            let bucket = FaultyStore::default();
            let uploader = Uploader::new(Arc::new(bucket.clone()), None, Handle::current());
            let upload = |size: usize| {
                let (uploader, path, location) = (uploader.clone(), path.clone(), location.clone());
                tokio::task::spawn_blocking(move || uploader.upload(&path, size as u64, &location, 0))
            };
            // Each part, and the end of the upload, fails once; with one part, the upload does.
            for nth in 0..size_bytes.div_ceil(PART_BYTES) + 1 {
                let call = if size_bytes > PART_BYTES { Call::Part } else { Call::Put };
                bucket.fail_some(call, "", Fault::Fail, nth, 1);
                let uploaded = upload(size_bytes).await.expect("it ends");
                assert_eq!(uploaded.is_ok(), !bucket.names().await.is_empty(), "{size_bytes} bytes, call {nth}");
                bucket.heal();
            }
            upload(size_bytes + 1).await.expect("it ends").expect_err("the file is shorter than it should be");
            upload(size_bytes).await.expect("it ends").expect("stored");
            let stored = bucket.inner.get(&location).await.expect("there").bytes().await.expect("bytes");
            assert!(stored == content, "{size_bytes} bytes");
        }
    }
}
