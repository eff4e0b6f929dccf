//! Disk for what statements spill: a statement's is below its limit, all of them together below theirs, and some of the disk stays free for what
//! ingest writes.
//!
//! The files have no names: the system takes them back when the process ends, however it ends.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use datafusion::common::internal_datafusion_err;
use datafusion::error::Result as DataFusionResult;
use datafusion::execution::disk_manager::{DiskManager, DiskManagerBuilder};
use datafusion::execution::spill_file::{SpillFile, SpillWriter, TempFileFactory};
use futures::Stream;

use crate::error::{Error, Kind};

/// So much is written to a file between two looks at how much of the disk is free.
const LOOK_EACH_BYTES: u64 = 1 << 20;

/// What is read of a file at a time: few calls, little memory for each of the hundreds of runs of a merge.
const READ_BYTES: usize = 128 << 10;

/// How much statements may spill, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpillLimits {
    pub of_all: u64,
    pub of_statement: u64,
    /// What stays free of the disk.
    pub kept_free: u64,
}

/// Why a statement may not spill more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Statement { limit: u64 },
    All { limit: u64 },
    Disk { free: u64, kept: u64 },
}

impl SpillLimits {
    /// Why what a statement and all together would have spilled is too much.
    fn refusal(self, of_statement: u64, of_all: u64) -> Option<Refusal> {
        match () {
            () if of_statement > self.of_statement => Some(Refusal::Statement { limit: self.of_statement }),
            () if of_all > self.of_all => Some(Refusal::All { limit: self.of_all }),
            () => None,
        }
    }

    /// Why nothing more may go to a disk of which so much is free.
    fn refusal_of_disk(self, free: u64) -> Option<Refusal> {
        (free < self.kept_free).then_some(Refusal::Disk { free, kept: self.kept_free })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: &u64| bytes >> 20;
        match self {
            Self::Statement { limit } => {
                write!(f, "the statement needs more temporary disk space than it may use: {} MiB", mib(limit))
            }
            Self::All { limit } => {
                write!(
                    f,
                    "all statements together need more temporary disk space than they may use: {} MiB",
                    mib(limit)
                )
            }
            Self::Disk { free, kept } => {
                let (free, kept) = (mib(free), mib(kept));
                write!(
                    f,
                    "{free} MiB are free on the disk for temporary files, and {kept} MiB of it are kept for ingest"
                )
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// What the statement's user is told.
    pub fn to_error(self) -> Error {
        let hint = match self {
            Self::Statement { .. } => {
                "narrow it by time, select fewer columns, or allow more with spill_size in the settings"
            }
            Self::All { .. } => "try again when others have ended, or allow more with spill_size in the settings",
            Self::Disk { .. } => {
                "make room on the disk, set TMPDIR to a larger one, or keep less with spill_free in the settings"
            }
        };
        Error::new(Kind::OutOfResources, self.to_string()).with_sqlstate("53100").with_hint(hint)
    }
}

/// Why a statement may not spill more, where that is what an error says.
pub(super) fn refusal(error: &io::Error) -> Option<Refusal> {
    error.get_ref()?.downcast_ref().copied()
}

/// The disk of all statements.
#[derive(Debug)]
pub(super) struct SpillDisk {
    folder: PathBuf,
    limits: SpillLimits,
    used_bytes: AtomicU64,
}

impl SpillDisk {
    /// Files in `folder`, which is made when the first is, or in the system's temporary folder.
    pub fn new(folder: Option<PathBuf>, limits: SpillLimits) -> Arc<Self> {
        let folder = folder.unwrap_or_else(std::env::temp_dir);
        Arc::new(Self { folder, limits, used_bytes: AtomicU64::new(0) })
    }

    /// The part of one more statement.
    pub fn for_statement(self: &Arc<Self>) -> DataFusionResult<Arc<DiskManager>> {
        let files = Files(Arc::new(Account { disk: self.clone(), used_bytes: AtomicU64::new(0) }));
        Ok(Arc::new(DiskManagerBuilder::default().with_temp_file_factory(Arc::new(files)).build()?))
    }

    /// What all statements have spilled and not let go of.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let disk = rustix::fs::statvfs(&self.folder)?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
    }
}

/// What one statement spills.
#[derive(Debug)]
struct Account {
    disk: Arc<SpillDisk>,
    used_bytes: AtomicU64,
}

impl Account {
    fn take(&self, bytes: u64) -> Result<(), Refusal> {
        let of_all = self.disk.used_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        let of_statement = self.used_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        match self.disk.limits.refusal(of_statement, of_all) {
            None => Ok(()),
            Some(refusal) => {
                self.give_back(bytes);
                Err(refusal)
            }
        }
    }

    fn give_back(&self, bytes: u64) {
        self.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.disk.used_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn look_at_disk(&self) -> io::Result<()> {
        match self.disk.limits.refusal_of_disk(self.disk.free_bytes()?) {
            None => Ok(()),
            Some(refusal) => Err(io::Error::other(refusal)),
        }
    }
}

/// Makes the files of one statement.
struct Files(Arc<Account>);

impl TempFileFactory for Files {
    fn create_temp_file(&self, _description: &str) -> DataFusionResult<Arc<dyn SpillFile>> {
        let disk = &self.0.disk;
        std::fs::create_dir_all(&disk.folder)?;
        self.0.look_at_disk()?;
        let file = tempfile::tempfile_in(&disk.folder)?;
        Ok(Arc::new(Spilled(Arc::new(Content { file, account: self.0.clone(), bytes: AtomicU64::new(0) }))))
    }
}

/// A file and what it holds, for as long as somebody writes or reads it.
struct Content {
    file: File,
    account: Arc<Account>,
    bytes: AtomicU64,
}

impl Drop for Content {
    fn drop(&mut self) {
        self.account.give_back(self.bytes.load(Ordering::Relaxed));
    }
}

struct Spilled(Arc<Content>);

impl SpillFile for Spilled {
    fn size(&self) -> Option<u64> {
        Some(self.0.bytes.load(Ordering::Relaxed))
    }

    fn read_stream(&self) -> DataFusionResult<Pin<Box<dyn Stream<Item = DataFusionResult<Bytes>> + Send>>> {
        let from_start = (self.0.clone(), 0);
        Ok(Box::pin(futures::stream::try_unfold(from_start, |(content, offset)| async move {
            let reading = content.clone();
            let read = tokio::task::spawn_blocking(move || read_at(&reading.file, offset)).await;
            let bytes =
                read.map_err(|e| internal_datafusion_err!("the reading of a temporary file ended early: {e}"))??;
            let end = offset + bytes.len() as u64;
            Ok((!bytes.is_empty()).then_some((bytes, (content, end))))
        })))
    }

    fn open_writer(&self) -> DataFusionResult<Box<dyn SpillWriter>> {
        Ok(Box::new(Writer { content: self.0.clone(), since_look_bytes: 0 }))
    }
}

/// The next bytes of a file; none at its end.
fn read_at(file: &File, offset: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; READ_BYTES];
    let read = loop {
        match file.read_at(&mut bytes, offset) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    bytes.truncate(read);
    Ok(bytes.into())
}

/// Adds to a file.
struct Writer {
    content: Arc<Content>,
    since_look_bytes: u64,
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len() as u64;
        if self.since_look_bytes + length >= LOOK_EACH_BYTES {
            self.content.account.look_at_disk()?;
            self.since_look_bytes = 0;
        }
        self.content.account.take(length).map_err(io::Error::other)?;
        // What is counted is given back with the file, also when not all of it was written.
        self.content.bytes.fetch_add(length, Ordering::Relaxed);
        (&self.content.file).write_all(bytes)?;
        self.since_look_bytes += length;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SpillWriter for Writer {
    fn finish(&mut self) -> DataFusionResult<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::error::DataFusionError;
    use futures::TryStreamExt;

    const PLENTY: SpillLimits = SpillLimits { of_all: 1 << 30, of_statement: 1 << 30, kept_free: 0 };

    fn disk(folder: &tempfile::TempDir, limits: SpillLimits) -> Arc<SpillDisk> {
        SpillDisk::new(Some(folder.path().join("spilled")), limits)
    }

    fn write(file: &Arc<dyn SpillFile>, bytes: usize) -> Result<(), Refusal> {
        let written = file.open_writer().expect("a writer").write_all(&vec![7; bytes]);
        written.map_err(|error| refusal(&error).expect("a refusal"))
    }

    #[test]
    fn limits_are_those_of_a_statement_of_all_and_of_the_disk() {
        let limits = SpillLimits { of_all: 100, of_statement: 60, kept_free: 10 };
        assert_eq!(limits.refusal(60, 100), None);
        assert_eq!(limits.refusal(61, 61), Some(Refusal::Statement { limit: 60 }));
        assert_eq!(limits.refusal(20, 101), Some(Refusal::All { limit: 100 }));
        assert_eq!(limits.refusal_of_disk(10), None);
        assert_eq!(limits.refusal_of_disk(9), Some(Refusal::Disk { free: 9, kept: 10 }));
        for refusal in [Refusal::Statement { limit: 1 }, Refusal::All { limit: 1 }, Refusal::Disk { free: 1, kept: 2 }]
        {
            assert_eq!(refusal.to_error().sqlstate(), "53100");
        }
    }

    #[tokio::test]
    async fn what_is_spilled_is_read_again_and_counted_until_the_last_reader_is_gone() {
        let folder = tempfile::tempdir().expect("folder");
        let disk = disk(&folder, PLENTY);
        let file = disk.for_statement().expect("a part").create_tmp_file("test").expect("a file");
        let bytes: Vec<u8> = (0..3 * READ_BYTES + 5).map(|n| (n % 251) as u8).collect();
        let mut writer = file.open_writer().expect("a writer");
        bytes.chunks(1_000).for_each(|chunk| writer.write_all(chunk).expect("written"));
        drop(writer);
        assert_eq!((file.size(), disk.used_bytes()), (Some(bytes.len() as u64), bytes.len() as u64));
        let read = file.read_stream().expect("a reader");
        drop(file);
        let read: Vec<Bytes> = read.try_collect().await.expect("read");
        assert_eq!(read.concat(), bytes);
        assert_eq!(disk.used_bytes(), 0);
        assert_eq!(
            std::fs::read_dir(folder.path().join("spilled")).expect("the folder").count(),
            0,
            "files have no names"
        );
    }

    #[test]
    fn a_statement_is_refused_more_than_its_part_and_more_than_others_leave() {
        let folder = tempfile::tempdir().expect("folder");
        let disk = disk(&folder, SpillLimits { of_all: 100, of_statement: 60, ..PLENTY });
        let file = || disk.for_statement().expect("a part").create_tmp_file("test").expect("a file");
        let (a, b) = (file(), file());
        write(&a, 60).expect("all of its part");
        assert_eq!(write(&a, 1), Err(Refusal::Statement { limit: 60 }));
        assert_eq!(write(&b, 41), Err(Refusal::All { limit: 100 }));
        write(&b, 40).expect("what is left");
        drop(a);
        assert_eq!(disk.used_bytes(), 40);
        write(&b, 20).expect("given back by the other");
    }

    #[test]
    fn nothing_goes_to_a_disk_that_is_nearly_full() {
        let folder = tempfile::tempdir().expect("folder");
        let disk = disk(&folder, SpillLimits { kept_free: u64::MAX, ..PLENTY });
        let error = disk.for_statement().expect("a part").create_tmp_file("test").err().expect("refused");
        assert!(
            matches!(error, DataFusionError::IoError(error) if matches!(refusal(&error), Some(Refusal::Disk { .. })))
        );
        assert_eq!(disk.used_bytes(), 0);
    }
}
