//! A disk whose calls fail when they are told to.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::store::disk::{Disk, DiskFile, Entry, OsDisk};

/// The real disk, on which from one call on, or at one call only, everything fails that changes something. Nothing is synced: no power is lost here.
#[derive(Debug, Clone, Default)]
pub(super) struct FailingDisk(Arc<Failing>);

#[derive(Debug, Default)]
struct Failing {
    calls: AtomicUsize,
    /// The call that fails, from 1; 0 for none.
    at: AtomicUsize,
    /// How many calls fail from there.
    for_calls: AtomicUsize,
    failed: AtomicU64,
}

impl FailingDisk {
    pub fn fail(&self, at: usize, for_calls: usize) {
        self.0.calls.store(0, Ordering::SeqCst);
        self.0.for_calls.store(for_calls, Ordering::SeqCst);
        self.0.at.store(at, Ordering::SeqCst);
    }

    pub fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    fn pass(&self) -> io::Result<()> {
        let call = self.0.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let at = self.0.at.load(Ordering::SeqCst);
        if at > 0 && call >= at && call - at < self.0.for_calls.load(Ordering::SeqCst) {
            self.0.failed.fetch_add(1, Ordering::SeqCst);
            return Err(io::Error::other("the disk fails in this test"));
        }
        Ok(())
    }
}

impl Disk for FailingDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.pass().and_then(|()| OsDisk.create_dir_all(dir))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.pass()?;
        Ok(Box::new(FailingFile { disk: self.clone(), inner: OsDisk.create_new(path)? }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.pass()?;
        Ok(Box::new(FailingFile { disk: self.clone(), inner: OsDisk.open_write(path)? }))
    }

    fn read_from(&self, path: &Path, offset: u64) -> io::Result<Vec<u8>> {
        OsDisk.read_from(path, offset)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        OsDisk.list(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.pass().and_then(|()| OsDisk.remove_file(path))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass().and_then(|()| OsDisk.remove_dir(dir))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass().and_then(|()| OsDisk.hard_link(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass().and_then(|()| OsDisk.rename(from, to))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let _ = dir;
        self.pass()
    }
}

#[derive(Debug)]
struct FailingFile {
    disk: FailingDisk,
    inner: Box<dyn DiskFile>,
}

impl io::Write for FailingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.disk.pass() {
            // A failing write may have written some.
            self.inner.write_all(&bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl DiskFile for FailingFile {
    fn sync_data(&mut self) -> io::Result<()> {
        self.disk.pass()
    }

    fn set_len(&mut self, len_bytes: u64) -> io::Result<()> {
        self.disk.pass().and_then(|()| self.inner.set_len(len_bytes))
    }
}
