//! What was imported before: a line of hex a record, so that an import that is run again takes only what is new.
//!
//! A record is known by the hash of its bytes as they stand in the file, wherever the file lies and whatever it is called. A line is written when the
//! record was acknowledged. Killed in between, an import does not know what the log knows: sent again within its window, that is stored once.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use crate::error::{Error, Result};

/// The file in a data directory.
pub(super) const FILE_NAME: &str = "imports";

/// What tells a record from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RecordHash(u128);

impl RecordHash {
    pub(super) fn of(payload: &[u8]) -> Self {
        Self(xxh3_128(payload))
    }
}

/// The records that were imported, and the file that names them.
#[derive(Debug)]
pub(super) struct Imported {
    known: HashSet<RecordHash>,
    path: PathBuf,
    file: File,
    /// Whether what is known is taken all the same.
    again: bool,
}

impl Imported {
    /// Opens the list, which begins empty; with `again` all records count as new.
    pub(super) fn open(path: &Path, again: bool) -> Result<Self> {
        let failed = |error| Error::io(format!("cannot read {}", path.display()), error);
        let file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(failed)?;
        let mut known = HashSet::new();
        for line in BufReader::new(&file).split(b'\n') {
            // A line that a crash tore is no hash, and its record is taken again.
            let line = line.map_err(failed)?;
            let hash = std::str::from_utf8(&line).ok().filter(|line| line.len() == 32);
            known.extend(hash.and_then(|hash| u128::from_str_radix(hash, 16).ok()).map(RecordHash));
        }
        let mut imported = Self { known, path: path.to_owned(), file, again };
        // What was torn ends here.
        if imported.file.metadata().map_err(failed)?.len() % LINE_BYTES != 0 {
            imported.write(b"\n").map_err(failed)?;
        }
        Ok(imported)
    }

    /// Whether to leave a record out.
    pub(super) fn has(&self, hash: RecordHash) -> bool {
        !self.again && self.known.contains(&hash)
    }

    pub(super) fn note(&mut self, hash: RecordHash) -> Result<()> {
        if !self.known.insert(hash) {
            return Ok(());
        }
        let line = format!("{:032x}\n", hash.0);
        self.write(line.as_bytes()).map_err(|error| Error::io(format!("cannot write {}", self.path.display()), error))
    }

    /// Brings what was noted to the disk.
    pub(super) fn finish(&self) -> Result<()> {
        self.file.sync_data().map_err(|error| Error::io(format!("cannot write {}", self.path.display()), error))
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }
}

const LINE_BYTES: u64 = 33;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_known_again_and_a_torn_line_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE_NAME);
        let [a, b, c] = ["a", "b", "c"].map(|text| RecordHash::of(text.as_bytes()));
        let mut imported = Imported::open(&path, false).expect("opened");
        imported.note(a).expect("noted");
        imported.note(b).expect("noted");
        imported.finish().expect("synced");
        let whole = std::fs::read(&path).expect("read");
        std::fs::write(&path, &whole[..40]).expect("torn");
        let mut again = Imported::open(&path, false).expect("opened");
        assert!(again.has(a) && !again.has(b));
        again.note(c).expect("noted");
        let last = Imported::open(&path, false).expect("opened");
        assert!(last.has(a) && last.has(c) && !last.has(b));
        assert!(!Imported::open(&path, true).expect("opened").has(a));
    }
}
