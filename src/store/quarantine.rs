//! What stands in the way of everything else: moved aside, byte for byte, so that it stops nothing and is not lost.
//!
//! Knows files. Does not know what is wrong with them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, write_whole};
use super::wal::Lsn;
use crate::error::{Error, Result};

/// Where a data directory has it.
const DIR: &str = "quarantine";
/// How the file beside one ends that says why it is there.
const WHY: &str = ".why.txt";

/// The directory for what was moved aside.
#[derive(Debug, Clone)]
pub(crate) struct Quarantine {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl Quarantine {
    /// That of a data directory; it is made when something is moved there.
    pub(crate) fn of(disk: Arc<dyn Disk>, data_dir: &Path) -> Self {
        Self { disk, dir: data_dir.join(DIR) }
    }

    /// Keeps a request whose spans cannot be stored, as the protobuf that it was sent as: `spanhouse import` reads it.
    pub(crate) fn keep_request(&self, lsn: Lsn, payload: &[u8], why: &str) -> Result<PathBuf> {
        self.keep(&format!("request-{:020}.pb", lsn.0), payload, why)
    }

    /// Keeps bytes under a name. What was kept under it before is taken for the same.
    pub(crate) fn keep(&self, name: &str, bytes: &[u8], why: &str) -> Result<PathBuf> {
        let path = self.dir.join(name);
        let written = self.disk.create_dir_all(&self.dir).and_then(|()| {
            write_whole(self.disk.as_ref(), &self.dir, &format!("{name}{WHY}"), format!("{why}\n"))?;
            write_whole(self.disk.as_ref(), &self.dir, name, bytes)
        });
        written.map(|()| path.clone()).map_err(|error| Error::io(path.display(), error))
    }

    /// Gives a file of the same disk a name here as well.
    pub(crate) fn link(&self, file: &Path, why: &str) -> io::Result<PathBuf> {
        self.disk.create_dir_all(&self.dir)?;
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut taken = 0;
        let path = loop {
            let path = self.dir.join(if taken == 0 { name.clone() } else { format!("{name}.{taken}") });
            match self.disk.hard_link(file, &path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => taken += 1,
                linked => break linked.map(|()| path)?,
            }
        };
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        write_whole(self.disk.as_ref(), &self.dir, &format!("{name}{WHY}"), format!("{why}\n"))?;
        self.disk.sync_dir(&self.dir)?;
        Ok(path)
    }

    /// Moves a file of the same disk here.
    pub(crate) fn take(&self, file: &Path, why: &str) -> Result<PathBuf> {
        let moved = self.link(file, why).and_then(|path| {
            self.disk.remove_file(file)?;
            file.parent().map_or(Ok(()), |from| self.disk.sync_dir(from))?;
            Ok(path)
        });
        moved.map_err(|error| Error::io(file.display(), error))
    }

    /// How many files lie here, without what is said about them.
    pub(crate) fn files(&self) -> Result<u64> {
        let listed = self.disk.list(&self.dir).map_err(|error| Error::io(self.dir.display(), error))?;
        Ok(listed.iter().filter(|file| !file.name.starts_with('.') && !file.name.ends_with(WHY)).count() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::OsDisk;

    #[test]
    fn what_is_moved_aside_is_there_whole_with_its_reason_and_is_counted() {
        let dir = tempfile::tempdir().expect("a folder");
        let quarantine = Quarantine::of(Arc::new(OsDisk), dir.path());
        assert_eq!(quarantine.files().expect("none"), 0);
        for _ in 0..2 {
            let kept = quarantine.keep_request(Lsn(7), b"bytes", "it has no end").expect("kept");
            assert_eq!(std::fs::read(&kept).expect("there"), b"bytes");
        }
        let file = dir.path().join("a.wal");
        for (name, content) in [("a.wal", "log"), ("a.wal.1", "another")] {
            std::fs::write(&file, content).expect("written");
            let moved = quarantine.take(&file, "it is damaged").expect("moved");
            assert!(!file.exists());
            assert_eq!(moved, dir.path().join("quarantine").join(name));
            assert_eq!(std::fs::read_to_string(&moved).expect("there"), content);
            let why = std::fs::read_to_string(format!("{}.why.txt", moved.display())).expect("why");
            assert_eq!(why, "it is damaged\n");
        }
        assert_eq!(quarantine.files().expect("three"), 3);
    }
}
