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

mod follower;
mod ledger;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt::Display;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) use ledger::{Ledger, Told};

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

    /// All whole lines as what they tell.
    ///
    /// # Errors
    /// [`Kind::Corrupt`], naming the line, when one cannot be understood.
    pub(super) fn read_as<T, E: Display>(&self, parse: impl Fn(&str) -> Result<T, E>) -> Result<Vec<T>> {
        let lines = self.read()?.into_iter();
        lines.map(|(number, line)| parse(&line).map_err(|error| self.damaged(number, error))).collect()
    }

    fn text<'a>(&self, number: usize, line: &'a [u8]) -> Result<&'a str> {
        std::str::from_utf8(line).map_err(|_| self.damaged(number, "it is no text"))
    }

    /// The error of a line that cannot be understood.
    fn damaged(&self, number: usize, why: impl Display) -> Error {
        let message = format!("line {number} of {} is damaged: {why}", self.0.path().display());
        Error::corrupt(message).with_hint("take the line out of the file; what it told is not known any more")
    }

    /// Adds lines that follow from nothing.
    #[cfg(test)]
    pub(super) fn append(&self, lines: &[String]) -> Result<()> {
        self.append_made(|| Ok(lines.to_vec()))
    }

    /// Adds the lines that `make` gives, all of them or none, and returns once they are durable; no other process can add one meanwhile. Waits for
    /// the disk.
    ///
    /// # Errors
    /// [`Kind::Io`] when nothing was added, [`Kind::Closed`] after a failure that leaves unknown what is on the disk.
    fn append_made(&self, make: impl FnOnce() -> Result<Vec<String>>) -> Result<()> {
        let mut state = self.0.state();
        let _turn = self.0.turn(&state)?;
        let lines = make()?;
        if lines.is_empty() { Ok(()) } else { self.0.append(&mut state, &lines) }
    }

    /// Puts for each line what `line` makes of it, or leaves it out; the file stays as it was, or is the new one, whenever the process ends.
    ///
    /// Returns how many lines went or are others now.
    pub(super) fn rewrite(&self, mut line: impl for<'a> FnMut(&'a str) -> Option<Cow<'a, str>>) -> Result<usize> {
        let mut state = self.0.state();
        let _turn = self.0.turn(&state)?;
        let (mut text, mut changed) = (String::new(), 0);
        for (_, before) in self.read()? {
            let after = line(&before);
            changed += usize::from(after.as_deref() != Some(before.as_str()));
            text.extend(after.iter().flat_map(|after| [after.as_ref(), "\n"]));
        }
        if changed > 0 {
            write_whole(self.0.disk.as_ref(), &self.0.dir, &self.0.name, &text)
                .map_err(|error| self.0.failed("rewrite", error))?;
            state.whole_bytes = text.len() as u64;
        }
        Ok(changed)
    }

    /// How long the file is now; 0 when there is none.
    pub(super) fn len_bytes(&self) -> u64 {
        std::fs::metadata(self.0.path()).map_or(0, |metadata| metadata.len())
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
