//! A disk whose calls fail, or stop, when they are told to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::store::disk::{Disk, DiskFile, Entry, OsDisk};

/// The real disk, on which from one call on, or at one call only, everything fails that changes something, or one call stops. Nothing is
/// synced: no power is lost here.
#[derive(Debug, Clone, Default)]
pub(crate) struct FailingDisk(Arc<Failing>);

#[derive(Debug, Default)]
struct Failing {
    calls: AtomicUsize,
    /// The call that fails, from 1; 0 for none.
    at: AtomicUsize,
    /// How many calls fail from there.
    for_calls: AtomicUsize,
    stop: Mutex<Stop>,
    goes_on: Condvar,
}

#[derive(Debug, Default)]
struct Stop {
    /// The calls that go by before one stops; `None` for ever.
    after: Option<usize>,
    /// Whether calls of the log count.
    in_log: bool,
    /// The path of the call that has stopped.
    stopped: Option<PathBuf>,
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

    /// Lets the n-th call from now, of those that are not the log's or of all, wait until [`Self::go_on`].
    pub fn stop(&self, at: usize, in_log: bool) {
        let mut stop = self.0.stop.lock().expect("the stop");
        (stop.after, stop.in_log) = (Some(at - 1), in_log);
    }

    /// The path of the call that has stopped.
    pub fn stopped(&self) -> Option<PathBuf> {
        self.0.stop.lock().expect("the stop").stopped.clone()
    }

    /// Lets the call that has stopped be made; none stops any more.
    pub fn go_on(&self) {
        *self.0.stop.lock().expect("the stop") = Stop::default();
        self.0.goes_on.notify_all();
    }

    fn pass(&self, path: &Path) -> io::Result<()> {
        self.wait(path);
        let call = self.0.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let at = self.0.at.load(Ordering::SeqCst);
        if at > 0 && call >= at && call - at < self.0.for_calls.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk fails in this test"));
        }
        Ok(())
    }

    fn wait(&self, path: &Path) {
        let mut stop = self.0.stop.lock().expect("the stop");
        let counts = stop.in_log || !is_log(path);
        match stop.after {
            Some(0) if counts => (stop.after, stop.stopped) = (None, Some(path.to_owned())),
            Some(calls) if counts => {
                stop.after = Some(calls - 1);
                return;
            }
            _ => return,
        }
        let _waited = self.0.goes_on.wait_while(stop, |stop| stop.stopped.is_some()).expect("the stop");
    }
}

/// Whether a path is the write-ahead log's, or its folder.
pub(super) fn is_log(path: &Path) -> bool {
    path.iter().any(|part| part == "wal")
}

impl Disk for FailingDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.pass(dir).and_then(|()| OsDisk.create_dir_all(dir))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.pass(path)?;
        Ok(Box::new(FailingFile { disk: self.clone(), path: path.to_owned(), inner: OsDisk.create_new(path)? }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.pass(path)?;
        Ok(Box::new(FailingFile { disk: self.clone(), path: path.to_owned(), inner: OsDisk.open_write(path)? }))
    }

    fn read_from(&self, path: &Path, offset: u64) -> io::Result<Vec<u8>> {
        OsDisk.read_from(path, offset)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        OsDisk.list(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.pass(path).and_then(|()| OsDisk.remove_file(path))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass(dir).and_then(|()| OsDisk.remove_dir(dir))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(to).and_then(|()| OsDisk.hard_link(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.pass(to).and_then(|()| OsDisk.rename(from, to))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.pass(dir)
    }
}

#[derive(Debug)]
struct FailingFile {
    disk: FailingDisk,
    path: PathBuf,
    inner: Box<dyn DiskFile>,
}

impl io::Write for FailingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Err(error) = self.disk.pass(&self.path) {
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
        self.disk.pass(&self.path)
    }

    fn set_len(&mut self, len_bytes: u64) -> io::Result<()> {
        self.disk.pass(&self.path).and_then(|()| self.inner.set_len(len_bytes))
    }
}
