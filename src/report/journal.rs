//! A journal: lines of JSON that are only added, each durable before it counts.
//!
//! ```text
//! {"event":"run","id":"health@2026-03-29T05:00:00Z",…}⏎
//! {"event":"ended","id":"health@2026-03-29T05:00:00Z",…}⏎
//! {"event":"ru                                              ◄ torn: a writer died here
//! ```
//!
//! A line is written, with its end, and synced; a new file's name is synced into its folder. Readers take no lock and leave out a last line without its
//! end; the next writer cuts it off. Whole lines are never changed in place: those that are kept no longer go when the file is written anew beside
//! itself and renamed. Writers of several processes take turns by a lock on a file beside it.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Kind, Result};
use crate::store::{Disk, OsDisk, write_whole};

/// The file whose lock a writer holds.
const LOCK_FILE: &str = "journal.lock";

/// A journal that this process writes; clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Journal(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    name: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Up to here the file was whole when we last wrote.
    whole_bytes: u64,
    /// Why nothing more is written: what a failed sync has left on the disk, nobody knows.
    refuses: Option<String>,
}

impl Journal {
    /// The journal at `path`; nothing is opened before it is read or written.
    pub(super) fn new(path: &Path) -> Self {
        Self::on(Arc::new(OsDisk), path)
    }

    fn on(disk: Arc<dyn Disk>, path: &Path) -> Self {
        let dir = path.parent().map(Path::to_owned).unwrap_or_default();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Self(Arc::new(Shared { disk, dir, name, state: Mutex::default() }))
    }

    /// All whole lines, with their numbers from 1.
    pub(super) fn read(&self) -> Result<Vec<(usize, String)>> {
        let bytes = match self.0.disk.read_from(&self.0.path(), 0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read.map_err(|error| self.0.failed("read", error))?,
        };
        let whole = &bytes[..end_of_lines(&bytes)];
        let lines = whole.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty());
        lines.map(|(at, line)| Ok((at + 1, self.text(at + 1, line)?.to_owned()))).collect()
    }

    fn text<'a>(&self, number: usize, line: &'a [u8]) -> Result<&'a str> {
        std::str::from_utf8(line).map_err(|_| self.damaged(number, "it is no text"))
    }

    /// The error of a line that cannot be understood.
    pub(super) fn damaged(&self, number: usize, why: impl std::fmt::Display) -> Error {
        let message = format!("line {number} of {} is damaged: {why}", self.0.path().display());
        Error::corrupt(message).with_hint("take the line out of the file; what it told is not known any more")
    }

    /// Adds lines, all of them or none, and returns once they are durable. Waits for the disk.
    ///
    /// # Errors
    /// [`Kind::Io`] when nothing was added, [`Kind::Closed`] after a failure that leaves unknown what is on the disk.
    pub(super) fn append(&self, lines: &[String]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let mut state = self.0.state();
        let _turn = self.0.turn(&state)?;
        self.0.append(&mut state, lines)
    }

    /// The same from where nobody may wait for a disk.
    pub(super) async fn append_soon(&self, lines: Vec<String>) -> Result<()> {
        let journal = self.clone();
        let appended = tokio::task::spawn_blocking(move || journal.append(&lines)).await;
        appended.map_err(|error| Error::internal(format!("writing a journal failed: {error}")))?
    }

    /// Adds the lines that `lines` makes of those that are there, while no other process can add one.
    pub(super) fn append_after_reading(
        &self,
        lines: impl FnOnce(Vec<(usize, String)>) -> Result<Vec<String>>,
    ) -> Result<()> {
        let mut state = self.0.state();
        let _turn = self.0.turn(&state)?;
        let lines = lines(self.read()?)?;
        if lines.is_empty() { Ok(()) } else { self.0.append(&mut state, &lines) }
    }

    /// Takes out the lines that `keep` does not want; the file stays as it was, or is the new one, whenever the process ends.
    ///
    /// Returns how many went.
    pub(super) fn retain(&self, mut keep: impl FnMut(&str) -> bool) -> Result<usize> {
        let mut state = self.0.state();
        let _turn = self.0.turn(&state)?;
        let lines = self.read()?;
        let kept: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).filter(|line| keep(line)).collect();
        if kept.len() == lines.len() {
            return Ok(0);
        }
        let text: String = kept.iter().flat_map(|line| [*line, "\n"]).collect();
        write_whole(self.0.disk.as_ref(), &self.0.dir, &self.0.name, &text)
            .map_err(|error| self.0.failed("rewrite", error))?;
        state.whole_bytes = text.len() as u64;
        Ok(lines.len() - kept.len())
    }
}

impl Shared {
    fn path(&self) -> PathBuf {
        self.dir.join(&self.name)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, what: &str, error: io::Error) -> Error {
        Error::io(format!("cannot {what} {}", self.path().display()), error)
    }

    /// Waits until no other process writes.
    fn turn(&self, state: &State) -> Result<File> {
        if let Some(why) = &state.refuses {
            let message = format!("nothing more is written to {}: {why}", self.path().display());
            return Err(Error::new(Kind::Closed, message).with_hint("see to the disk and start again"));
        }
        self.disk.create_dir_all(&self.dir).map_err(|error| self.failed("make the folder of", error))?;
        let path = self.dir.join(LOCK_FILE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let locked = file.and_then(|file| file.lock().map(|()| file));
        locked.map_err(|error| Error::io(format!("cannot lock {}", path.display()), error))
    }

    fn append(&self, state: &mut State, lines: &[String]) -> Result<()> {
        let path = self.path();
        let end = self.whole_end(state.whole_bytes).map_err(|error| self.failed("read", error))?;
        let opened = match end {
            None => self.disk.create_new(&path),
            // What is behind the last whole line is cut off.
            Some(end) => self.disk.open_write(&path).and_then(|mut file| file.set_len(end).map(|()| file)),
        };
        let mut file = opened.map_err(|error| self.failed("open", error))?;
        let end = end.unwrap_or(0);
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        if let Err(error) = file.write_all(text.as_bytes()) {
            // A part of a line would be taken for a whole one when something is added to it.
            if let Err(error) = file.set_len(end) {
                state.refuses = Some(format!("what was half written cannot be cut off: {error}"));
            }
            return Err(self.failed("write", error));
        }
        if let Err(error) = file.sync_data().and_then(|()| self.disk.sync_dir(&self.dir)) {
            state.refuses = Some(format!("it could not be synced: {error}"));
            return Err(self.failed("sync", error));
        }
        state.whole_bytes = end + text.len() as u64;
        Ok(())
    }

    /// Where the last whole line ends, looking only behind what is known to be whole; `None` when there is no file.
    fn whole_end(&self, whole_bytes: u64) -> io::Result<Option<u64>> {
        let entries = self.disk.list(&self.dir)?;
        let Some(entry) = entries.into_iter().find(|entry| entry.name == self.name) else { return Ok(None) };
        let from = if whole_bytes <= entry.len_bytes { whole_bytes } else { 0 };
        let tail = self.disk.read_from(&self.path(), from)?;
        match end_of_lines(&tail) {
            // Another process may have written the file anew, and where a line of ours ended is nowhere now.
            0 if !tail.is_empty() && from > 0 => {
                self.disk.read_from(&self.path(), 0).map(|bytes| Some(end_of_lines(&bytes) as u64))
            }
            end => Ok(Some(from + end as u64)),
        }
    }
}

/// The length of the whole lines.
fn end_of_lines(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::store::{DiskEntry, DiskFile};

    /// The real disk, of which one operation fails: the one that comes after so many others.
    #[derive(Debug, Clone)]
    struct FailsAt {
        left: Arc<AtomicUsize>,
    }

    impl FailsAt {
        fn pass(&self) -> io::Result<()> {
            match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
                Ok(1) => Err(io::Error::from(io::ErrorKind::StorageFull)),
                _ => Ok(()),
            }
        }

        fn has_failed(&self) -> bool {
            self.left.load(Ordering::SeqCst) == 0
        }
    }

    impl Disk for FailsAt {
        fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
            self.pass()?;
            OsDisk.create_dir_all(dir)
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

        fn list(&self, dir: &Path) -> io::Result<Vec<DiskEntry>> {
            OsDisk.list(dir)
        }

        fn remove_file(&self, path: &Path) -> io::Result<()> {
            OsDisk.remove_file(path)
        }

        fn remove_dir(&self, dir: &Path) -> io::Result<()> {
            OsDisk.remove_dir(dir)
        }

        fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
            OsDisk.hard_link(from, to)
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.pass()?;
            OsDisk.rename(from, to)
        }

        fn sync_dir(&self, dir: &Path) -> io::Result<()> {
            self.pass()?;
            OsDisk.sync_dir(dir)
        }
    }

    #[derive(Debug)]
    struct FailingFile {
        disk: FailsAt,
        inner: Box<dyn DiskFile>,
    }

    impl Write for FailingFile {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Err(error) = self.disk.pass() {
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
            self.disk.pass()?;
            self.inner.sync_data()
        }

        fn set_len(&mut self, len_bytes: u64) -> io::Result<()> {
            self.disk.pass()?;
            self.inner.set_len(len_bytes)
        }
    }

    fn lines(journal: &Journal) -> Vec<String> {
        journal.read().expect("a whole journal").into_iter().map(|(_, line)| line).collect()
    }

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn lines_are_there_for_everybody_and_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("reports").join("runs.ndjson");
        let journal = Journal::new(&path);
        assert!(lines(&journal).is_empty(), "nothing is made by reading");
        assert!(!path.exists());
        journal.append(&texts(&["a", "b"])).expect("added");
        journal.append(&[]).expect("nothing to add");
        let other = Journal::new(&path);
        other.append(&texts(&["c"])).expect("added by another");
        journal.append(&texts(&["d"])).expect("added after another");
        assert_eq!(lines(&other), ["a", "b", "c", "d"]);
        assert_eq!(std::fs::read_to_string(&path).expect("the file"), "a\nb\nc\nd\n");
    }

    #[test]
    fn a_torn_last_line_is_not_read_and_the_next_writer_cuts_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("runs.ndjson");
        for (file, expected) in
            [("one\ntw", &["one", "new"][..]), ("tw", &["new"]), ("", &["new"]), ("one\n\u{0}\u{0}", &["one", "new"])]
        {
            std::fs::write(&path, file).expect("written");
            let journal = Journal::new(&path);
            assert_eq!(lines(&journal), expected[..expected.len() - 1], "{file:?}");
            assert_eq!(std::fs::read_to_string(&path).expect("the file"), file, "a reader changes nothing");
            journal.append(&texts(&["new"])).expect("added");
            assert_eq!(lines(&journal), expected, "{file:?}");
        }
        // Also behind what this writer wrote itself.
        let journal = Journal::new(&path);
        journal.append(&texts(&["more"])).expect("added");
        let mut file = OpenOptions::new().append(true).open(&path).expect("the file");
        file.write_all(b"half a li").expect("torn");
        journal.append(&texts(&["last"])).expect("added");
        assert_eq!(lines(&journal), ["one", "new", "more", "last"]);
    }

    #[test]
    fn a_damaged_line_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("runs.ndjson");
        std::fs::write(&path, b"one\n\xff\xfe\nthree\n").expect("written");
        let error = Journal::new(&path).read().expect_err("no text");
        assert_eq!(error.kind, Kind::Corrupt);
        assert!(error.message.starts_with("line 2 of ") && error.message.contains("runs.ndjson"), "{}", error.message);
    }

    #[test]
    fn what_is_kept_no_longer_goes_and_writers_go_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("runs.ndjson");
        let (journal, other) = (Journal::new(&path), Journal::new(&path));
        journal.append(&texts(&["a-long-line", "b", "c-long-line"])).expect("added");
        other.append(&texts(&["d"])).expect("added");
        assert_eq!(journal.retain(|_| true).expect("nothing to do"), 0);
        assert_eq!(journal.retain(|line| line.len() == 1).expect("rewritten"), 2);
        assert_eq!(lines(&other), ["b", "d"]);
        other.append(&texts(&["e"])).expect("added by one that knows another length");
        journal.append(&texts(&["f"])).expect("added");
        assert_eq!(lines(&journal), ["b", "d", "e", "f"]);
        journal.append_after_reading(|lines| Ok(vec![lines.len().to_string()])).expect("added");
        assert_eq!(lines(&journal).last().map(String::as_str), Some("4"));
    }

    /// What a caller was told is what a reader finds, at whatever operation the disk fails.
    #[test]
    fn at_each_failure_of_the_disk_lines_are_there_or_not_and_whole() {
        let mut failures = 0;
        for operation in 1.. {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("reports").join("runs.ndjson");
            let disk = FailsAt { left: Arc::new(AtomicUsize::new(operation)) };
            let journal = Journal::on(Arc::new(disk.clone()), &path);
            let mut told = Vec::new();
            let mut unsure = Vec::new();
            for step in 0..4 {
                let added = [format!("{step}-first"), format!("{step}-second")];
                match journal.append(&added) {
                    Ok(()) => told.extend(added),
                    Err(error) => {
                        failures += 1;
                        assert!(matches!(error.kind, Kind::Io | Kind::Closed), "{error}");
                        unsure.extend(added);
                    }
                }
                if step == 2 {
                    match journal.retain(|line| !line.starts_with('0')) {
                        Ok(_) => told.retain(|line| !line.starts_with('0')),
                        // The new file may be in its place already.
                        Err(_) => unsure.extend(told.extract_if(.., |line| line.starts_with('0'))),
                    }
                }
            }
            let found = lines(&Journal::new(&path));
            let surely: Vec<&String> = found.iter().filter(|line| told.contains(line)).collect();
            assert_eq!(surely, told.iter().collect::<Vec<_>>(), "operation {operation}");
            assert!(
                found.iter().all(|line| told.contains(line) || unsure.contains(line)),
                "operation {operation}: {found:?}"
            );
            let reopened = Journal::new(&path);
            reopened.append(&texts(&["after"])).expect("a healed disk");
            assert_eq!(lines(&reopened).last().map(String::as_str), Some("after"));
            if !disk.has_failed() {
                break;
            }
        }
        assert!(failures > 10, "{failures} failures were seen");
    }

    #[test]
    fn after_a_failed_sync_nothing_is_written_until_it_is_opened_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("runs.ndjson");
        std::fs::write(&path, "one\n").expect("written");
        // The folder, the file, its length, the line, and then the sync.
        let disk = FailsAt { left: Arc::new(AtomicUsize::new(5)) };
        let journal = Journal::on(Arc::new(disk), &path);
        assert_eq!(journal.append(&texts(&["two"])).expect_err("a failed sync").kind, Kind::Io);
        assert_eq!(journal.append(&texts(&["three"])).expect_err("refused").kind, Kind::Closed);
        let reopened = Journal::new(&path);
        reopened.append(&texts(&["four"])).expect("added");
        assert_eq!(lines(&reopened).last().map(String::as_str), Some("four"));
    }
}
