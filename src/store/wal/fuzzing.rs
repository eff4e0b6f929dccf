//! What a hostile log must not do to its readers: a body for fuzzers and tests.
//!
//! The bytes are segments behind one another, each from its magic on, and take their names from their heads. They are read as they are, and
//! once more with every checksum made right: else nothing behind a checksum would ever be reached.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::reader::{LogEnd, ReplayStart, replay};
use super::record::{HEAD_BYTES, Lsn, Record, sum_record, u32_at, u64_at};
use super::scan::{Piece, scan};
use super::segment::{SEGMENT_HEAD_BYTES, segment_path, sum_head};
use crate::error::{Kind, Result};
use crate::store::disk::{Disk, DiskFile, Entry};

const FOLDER: &str = "wal";
const MAGIC: &[u8] = b"spanwal\n";

/// Replay gives whole records one after another, and the same ones when it is repeated; what it refuses, a scan tells of, and what it takes, a scan
/// finds whole. Gives what became of the log.
///
/// # Errors
/// When one of these does not hold.
pub fn log(bytes: &[u8]) -> Result<String, String> {
    let raw = read_log(&cut_into_segments(bytes))?;
    let mut segments = cut_into_segments(bytes);
    segments.iter_mut().for_each(|segment| seal(segment));
    Ok(format!("{raw}; {}", read_log(&segments)?))
}

fn read_log(segments: &[Vec<u8>]) -> Result<String, String> {
    let disk = Arc::new(MemoryDisk::holding(segments));
    let Some(first) = disk.first_lsn() else { return Ok("no log".to_owned()) };
    let scanned = scan_all(disk.as_ref())?;
    let before = disk.files().clone();
    let mark = Lsn(first.0.saturating_sub(1));
    match read(&disk, mark) {
        Ok((records, end)) => {
            check_records(&records, &before)?;
            let Scanned::Sound(found) = scanned else {
                return Err(format!("a log is taken in which a scan finds {scanned:?}"));
            };
            if found != records {
                return Err(format!("replay has {} records, and a scan {}", records.len(), found.len()));
            }
            let (again, end_again) = read(&disk, mark).map_err(|error| format!("it is taken once only: {error}"))?;
            if again != records || end_again.torn.is_some() || end_again.next_lsn != end.next_lsn {
                return Err(format!("the second replay has {} of {} records", again.len(), records.len()));
            }
            Ok(format!("{} records, torn: {}", records.len().min(4), end.torn.is_some()))
        }
        Err(error) if *disk.files() != before => Err(format!("a log that is refused was changed: {error}")),
        Err(error) if error.kind == Kind::BadInput => Ok("of a newer format".to_owned()),
        Err(error) if error.kind == Kind::Corrupt => match scanned {
            Scanned::Sound(_) => Err(format!("a scan finds nothing, and replay does: {error}")),
            Scanned::Damaged(what) => Ok(format!("damaged: {what}")),
            // Replay ends at the first thing that is wrong, a scan where it can go no further.
            Scanned::Newer => Ok("damaged, and of a newer format behind that".to_owned()),
        },
        Err(error) => Err(format!("a log is to blame for {:?}: {error}", error.kind)),
    }
}

fn read(disk: &Arc<MemoryDisk>, mark: Lsn) -> Result<(Vec<Record>, LogEnd)> {
    let disk: Arc<dyn Disk> = disk.clone();
    let mut records = Vec::new();
    let end = replay(&disk, Path::new(FOLDER), ReplayStart { mark }, |record| {
        records.push(record);
        Ok(())
    })?;
    Ok((records, end))
}

/// Each record follows the one before it, and lies in a segment as it would be written.
fn check_records(records: &[Record], segments: &BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    if let Some(gap) = records.windows(2).find(|pair| Some(pair[1].lsn.0) != pair[0].lsn.0.checked_add(1)) {
        return Err(format!("the record {} follows {}", gap[1].lsn.0, gap[0].lsn.0));
    }
    for record in records {
        let lies_in = |segment: &Vec<u8>| {
            let mut written = Vec::new();
            record.encode(if segment.len() < 24 { 0 } else { u64_at(segment, 16) }, &mut written);
            segment.windows(written.len()).any(|bytes| bytes == written)
        };
        if !segments.values().any(lies_in) {
            return Err(format!("the record {} is in no segment", record.lsn.0));
        }
    }
    Ok(())
}

/// What a scan finds.
#[derive(Debug)]
enum Scanned {
    Sound(Vec<Record>),
    Damaged(&'static str),
    Newer,
}

fn scan_all(disk: &MemoryDisk) -> Result<Scanned, String> {
    let (mut records, mut damage) = (Vec::new(), None);
    let done = scan(disk, Path::new(FOLDER), |_, piece| {
        match piece {
            Piece::Record(record) => records.push(record),
            Piece::BadHead => damage = Some("head"),
            Piece::Damaged { .. } => damage = Some("record"),
            Piece::Missing(_) => damage = Some("gap"),
            Piece::Repeated(_) => damage = Some("records twice"),
            Piece::Torn(_) => {}
        }
        Ok(())
    });
    match (done, damage) {
        (Ok(_), None) => Ok(Scanned::Sound(records)),
        (Ok(_), Some(what)) => Ok(Scanned::Damaged(what)),
        (Err(error), _) if error.kind == Kind::BadInput => Ok(Scanned::Newer),
        (Err(error), _) => Err(format!("a scan ends: {error}")),
    }
}

/// Cuts before each magic; what stands before the first one is a segment, too.
fn cut_into_segments(bytes: &[u8]) -> Vec<Vec<u8>> {
    let begins = (1..bytes.len()).filter(|at| bytes[*at..].starts_with(MAGIC));
    let mut from = 0;
    let mut segments = Vec::new();
    for at in begins.chain([bytes.len()]) {
        segments.push(bytes[from..at].to_vec());
        from = at;
    }
    segments
}

/// Makes the checksums right, as far as heads say where records end.
fn seal(segment: &mut [u8]) {
    let Some((head, mut rest)) = segment.split_first_chunk_mut::<SEGMENT_HEAD_BYTES>() else { return };
    sum_head(head);
    let segment_id = u64_at(head, 16);
    while let Some((head, behind)) = rest.split_first_chunk_mut::<HEAD_BYTES>() {
        let Some((payload, behind)) = behind.split_at_mut_checked(u32_at(head, 0) as usize) else { return };
        sum_record(segment_id, head, payload);
        rest = behind;
    }
}

/// The files of the log in memory; of the seam's operations those that reading takes.
#[derive(Debug)]
struct MemoryDisk {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
}

impl MemoryDisk {
    fn holding(segments: &[Vec<u8>]) -> Self {
        let lsn = |segment: &[u8]| Lsn(if segment.len() < 32 { 1 } else { u64_at(segment, 24).max(1) });
        let named = segments.iter().map(|segment| {
            let path = segment_path(Path::new(FOLDER), lsn(segment));
            (name(&path).unwrap_or_default(), segment.clone())
        });
        Self { files: Arc::new(Mutex::new(named.collect())) }
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn first_lsn(&self) -> Option<Lsn> {
        super::segment::list_segments(self, Path::new(FOLDER)).ok()?.first().map(|(first, _)| *first)
    }
}

fn name(path: &Path) -> io::Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| ErrorKind::InvalidFilename.into())
}

fn unsupported<T>() -> io::Result<T> {
    Err(ErrorKind::Unsupported.into())
}

impl Disk for MemoryDisk {
    fn read_from(&self, path: &Path, offset: u64) -> io::Result<Vec<u8>> {
        let files = self.files();
        let bytes = files.get(&name(path)?).ok_or(ErrorKind::NotFound)?;
        Ok(bytes.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default().to_vec())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<Entry>> {
        let entry = |(name, bytes): (&String, &Vec<u8>)| Entry { name: name.clone(), len_bytes: bytes.len() as u64 };
        Ok(self.files().iter().map(entry).collect())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.files().remove(&name(path)?).map(drop).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(MemoryFile { files: self.files.clone(), name: name(path)? }))
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_dir_all(&self, _: &Path) -> io::Result<()> {
        unsupported()
    }

    fn create_new(&self, _: &Path) -> io::Result<Box<dyn DiskFile>> {
        unsupported()
    }

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        unsupported()
    }

    fn hard_link(&self, _: &Path, _: &Path) -> io::Result<()> {
        unsupported()
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        unsupported()
    }
}

/// A file that may be cut.
#[derive(Debug)]
struct MemoryFile {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    name: String,
}

impl io::Write for MemoryFile {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        unsupported()
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn sync_data(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_len(&mut self, len_bytes: u64) -> io::Result<()> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = files.get_mut(&self.name).ok_or(ErrorKind::NotFound)?;
        bytes.resize(usize::try_from(len_bytes).unwrap_or(usize::MAX), 0);
        Ok(())
    }
}
