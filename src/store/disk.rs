//! The one seam through which the store writes and syncs files, so that tests can make any of it fail.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// A name in a directory and the file's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub name: String,
    pub len_bytes: u64,
}

/// The file operations that durability rests on.
pub(crate) trait Disk: Send + Sync + Debug {
    /// Creates a directory and its missing parents, for their owner alone, each synced into its own parent.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// Creates a file that must not exist yet, for appending.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens an existing file for changing its length.
    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Reads a file from `offset` to its end.
    fn read_from(&self, path: &Path, offset: u64) -> io::Result<Vec<u8>>;
    /// Lists the plain files of a directory, sorted by name; a missing directory is empty.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory that is empty.
    fn remove_dir(&self, dir: &Path) -> io::Result<()>;
    /// Gives a file a second name that must not exist yet.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// A file open for writing.
pub(crate) trait DiskFile: Write + Send + Debug {
    /// Makes content and length durable.
    fn sync_data(&mut self) -> io::Result<()>;
    /// Cuts the file to `len_bytes` and continues writing there.
    fn set_len(&mut self, len_bytes: u64) -> io::Result<()>;
}

/// Writes a small file, whole and durable, in the place of the one that may be there.
pub(crate) fn write_whole(disk: &dyn Disk, dir: &Path, name: &str, content: impl AsRef<[u8]>) -> io::Result<()> {
    let temporary = dir.join(format!(".{name}.tmp"));
    // What an earlier crash left there is no longer of use.
    let _ = disk.remove_file(&temporary);
    let mut file = disk.create_new(&temporary)?;
    file.write_all(content.as_ref())?;
    file.sync_data()?;
    disk.rename(&temporary, &dir.join(name))?;
    disk.sync_dir(dir)
}

/// The operating system's files.
#[derive(Debug)]
pub(crate) struct OsDisk;

impl Disk for OsDisk {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent {
            self.create_dir_all(parent)?;
        }
        match fs::DirBuilder::new().mode(0o700).create(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        parent.map_or(Ok(()), |parent| self.sync_dir(parent))
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).create_new(true).open(path)?))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(OpenOptions::new().write(true).open(path)?))
    }

    fn read_from(&self, path: &Path, offset: u64) -> io::Result<Vec<u8>> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry?;
            let meta = match entry.metadata() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            if let (true, Ok(name)) = (meta.is_file(), entry.file_name().into_string()) {
                files.push(Entry { name, len_bytes: meta.len() });
            }
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(files)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, dir: &Path) -> io::Result<()> {
        fs::remove_dir(dir)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

impl DiskFile for File {
    fn sync_data(&mut self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn set_len(&mut self, len_bytes: u64) -> io::Result<()> {
        File::set_len(self, len_bytes)?;
        self.seek(SeekFrom::Start(len_bytes)).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_made_is_its_owners_and_what_was_there_stays_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |dir: &Path| fs::metadata(dir).expect("a folder").permissions().mode() & 0o777;
        let shared = folder.path().join("shared");
        fs::create_dir(&shared).expect("made");
        fs::set_permissions(&shared, fs::Permissions::from_mode(0o750)).expect("changed");
        let log = shared.join("data/log");
        OsDisk.create_dir_all(&log).expect("made");
        OsDisk.create_dir_all(&log).expect("there already");
        assert_eq!([mode(&shared), mode(&shared.join("data")), mode(&log)], [0o750, 0o700, 0o700]);
    }
}
