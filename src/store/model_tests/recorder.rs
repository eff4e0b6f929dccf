//! A disk that keeps what a crash and what a power cut would leave at each call that changes something.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use datafusion::object_store::memory::InMemory;

use crate::store::disk::{Disk, DiskFile, Entry, OsDisk};
use crate::store::faulty_store::FaultyStore;

/// The real disk below one directory, in memory as well: all of it, and what of it is synced.
#[derive(Debug, Clone)]
pub(super) struct Recorder(Arc<Recording>);

#[derive(Debug)]
struct Recording {
    root: PathBuf,
    bucket: Option<FaultyStore>,
    step: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    live: Files,
    /// Names that their directory holds for good, and what of the files has been synced.
    durable: Files,
    next_file: usize,
    moments: Vec<Moment>,
}

/// Files by name; a file may have two names, or none any more.
#[derive(Debug, Default, Clone)]
struct Files {
    names: BTreeMap<PathBuf, usize>,
    contents: BTreeMap<usize, Arc<Vec<u8>>>,
}

impl Files {
    /// Gives the file `from` the name `to` as well.
    fn link(&mut self, from: &Path, to: &Path) {
        let file = self.names[from];
        self.names.insert(to.to_owned(), file);
    }
}

/// What there was when a call was about to be made, or was half done, and never returned.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    /// What was being done, as [`Recorder::step`] was told.
    pub step: usize,
    pub call: String,
    live: Files,
    durable: Files,
    /// All objects, where there is an object store.
    pub bucket: Option<Arc<InMemory>>,
}

/// What is left of a [`Moment`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Left {
    /// The process is gone, and the operating system lives.
    ByACrash,
    /// What was not synced is gone, names and bytes.
    ByAPowerCut,
    /// Names are there, as they are on a disk that writes them first, and bytes that were not synced are not.
    Torn,
}

impl Recorder {
    /// Records what happens in `root`, whose files are there for good, and in an object store beside it.
    pub fn new(root: &Path, bucket: Option<FaultyStore>) -> Self {
        let mut state = State::default();
        state.find(root);
        state.durable = state.live.clone();
        let recorder = Self(Arc::new(Recording {
            root: root.to_owned(),
            bucket: bucket.clone(),
            step: AtomicUsize::new(0),
            state: Mutex::new(state),
        }));
        if let Some(bucket) = bucket {
            let told = recorder.clone();
            bucket.watch(move |call| told.state().keep(&told.0, call));
        }
        recorder
    }

    /// From now on, calls belong to this step.
    pub fn step(&self, step: usize) {
        self.0.step.store(step, Ordering::SeqCst);
    }

    /// The moments up to now, which are forgotten here.
    pub fn moments(&self) -> Vec<Moment> {
        let mut state = self.state();
        state.keep(&self.0, "nothing more");
        std::mem::take(&mut state.moments)
    }

    /// The names of all files, as far as calls tell, below the root.
    pub fn names(&self) -> Vec<PathBuf> {
        self.state().live.names.keys().map(|path| path.strip_prefix(&self.0.root).expect("below").to_owned()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect("the recording")
    }

    /// Keeps the moment before a call, makes it, and lets the recording follow.
    fn call<T>(
        &self,
        call: &str,
        path: &Path,
        work: impl FnOnce() -> io::Result<T>,
        follow: impl FnOnce(&mut State),
    ) -> io::Result<T> {
        let mut state = self.state();
        state.keep(&self.0, &format!("{call} {}", path.strip_prefix(&self.0.root).unwrap_or(path).display()));
        let done = work()?;
        follow(&mut state);
        Ok(done)
    }
}

impl State {
    fn keep(&mut self, recording: &Recording, call: &str) {
        self.moments.push(Moment {
            step: recording.step.load(Ordering::SeqCst),
            call: call.to_owned(),
            live: self.live.clone(),
            durable: self.durable.clone(),
            bucket: recording.bucket.as_ref().map(|bucket| Arc::new(bucket.inner.fork())),
        });
    }

    fn find(&mut self, dir: &Path) {
        for entry in std::fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry")) {
            match entry.path().is_dir() {
                true => self.find(&entry.path()),
                false => {
                    let content = std::fs::read(entry.path()).expect("a file");
                    let file = self.create(&entry.path());
                    self.live.contents.insert(file, Arc::new(content));
                }
            }
        }
    }

    fn create(&mut self, path: &Path) -> usize {
        self.next_file += 1;
        self.live.names.insert(path.to_owned(), self.next_file);
        self.live.contents.insert(self.next_file, Arc::default());
        self.next_file
    }

    fn content(&mut self, file: usize) -> &mut Vec<u8> {
        Arc::make_mut(self.live.contents.entry(file).or_default())
    }

    fn sync_dir(&mut self, dir: &Path) {
        self.durable.names.retain(|path, _| path.parent() != Some(dir));
        let names = self.live.names.iter().filter(|(path, _)| path.parent() == Some(dir));
        self.durable.names.extend(names.map(|(path, file)| (path.clone(), *file)));
    }
}

impl Moment {
    /// The files that are left, by their path below the root.
    pub fn files(&self, left: Left, recorder: &Recorder) -> BTreeMap<PathBuf, Arc<Vec<u8>>> {
        let (names, contents) = match left {
            Left::ByACrash => (&self.live.names, &self.live.contents),
            Left::ByAPowerCut => (&self.durable.names, &self.durable.contents),
            Left::Torn => (&self.live.names, &self.durable.contents),
        };
        let below = |path: &Path| path.strip_prefix(&recorder.0.root).expect("below the root").to_owned();
        let files = names.iter().map(|(path, file)| (below(path), contents.get(file).cloned().unwrap_or_default()));
        files.collect()
    }
}

impl Disk for Recorder {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        // A new directory is synced into its parent, and one without files means nothing.
        OsDisk.create_dir_all(dir)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut file = 0;
        let inner = self.call("create", path, || OsDisk.create_new(path), |state| file = state.create(path))?;
        Ok(Box::new(RecordedFile { disk: self.clone(), file, path: path.to_owned(), inner }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let inner = OsDisk.open_write(path)?;
        let file = *self.state().live.names.get(path).expect("a file that calls have made");
        Ok(Box::new(RecordedFile { disk: self.clone(), file, path: path.to_owned(), inner }))
    }

    fn read_from(&self, path: &Path, offset: u64) -> io::Result<Vec<u8>> {
        OsDisk.read_from(path, offset)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        OsDisk.list(dir)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call("remove", path, || OsDisk.remove_file(path), |state| _ = state.live.names.remove(path))
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        OsDisk.remove_dir(dir)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("link", to, || OsDisk.hard_link(from, to), |state| state.live.link(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(
            "rename",
            to,
            || OsDisk.rename(from, to),
            |state| {
                state.live.link(from, to);
                state.live.names.remove(from);
            },
        )
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.call("sync", dir, || Ok(()), |state| state.sync_dir(dir))
    }
}

#[derive(Debug)]
struct RecordedFile {
    disk: Recorder,
    file: usize,
    path: PathBuf,
    inner: Box<dyn DiskFile>,
}

impl io::Write for RecordedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        let (file, inner) = (self.file, &mut self.inner);
        self.disk.call(
            "write",
            &self.path,
            || inner.write_all(half),
            |state| state.content(file).extend_from_slice(half),
        )?;
        self.disk.call(
            "write the rest of",
            &self.path,
            || inner.write_all(rest),
            |state| state.content(file).extend_from_slice(rest),
        )?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl DiskFile for RecordedFile {
    fn sync_data(&mut self) -> io::Result<()> {
        let file = self.file;
        self.disk.call(
            "sync",
            &self.path,
            || Ok(()),
            |state| {
                let content = state.live.contents[&file].clone();
                state.durable.contents.insert(file, content);
            },
        )
    }

    fn set_len(&mut self, len_bytes: u64) -> io::Result<()> {
        let (file, inner) = (self.file, &mut self.inner);
        self.disk.call(
            "cut",
            &self.path,
            || inner.set_len(len_bytes),
            |state| state.content(file).resize(len_bytes as usize, 0),
        )
    }
}
