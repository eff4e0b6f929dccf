//! Reading the log: at opening, where damage must be told from a torn tail, and beside a running writer, record by record as they come.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::record::{HEAD_BYTES, Lsn, Record};
use super::segment::{ClosedSegment, SEGMENT_HEAD_BYTES, SegmentHead, list_segments, segment_path};
use crate::error::{Error, Kind, Result};
use crate::store::disk::Disk;

/// Where reading stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogEnd {
    /// The LSN that the next record will have.
    pub next_lsn: Lsn,
    /// All segments, in order.
    pub segments: Vec<ClosedSegment>,
    /// Bytes at the end of the last segment that are no whole record.
    pub torn: Option<TornTail>,
}

/// An unfinished write at the end of the log; nobody was promised what it held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TornTail {
    pub path: PathBuf,
    /// Where the last whole record ends; 0 when not even the segment's head is whole.
    pub offset: u64,
    pub bytes: u64,
}

/// Where replay begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReplayStart {
    /// The table's low-water mark: records up to it are in the table, and later ones must all be in the log.
    pub mark: Lsn,
}

/// Reads the log of a directory that no process writes, from the segment on that holds the first record above the mark, and cuts its torn tail.
/// `visit` also gets the records of that segment that lie at or below the mark.
///
/// # Errors
/// [`Kind::Corrupt`], naming file and offset, when anything but the tail is damaged or records above the mark are missing; and
/// whatever `visit` gives.
pub(crate) fn replay(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    start: ReplayStart,
    visit: impl FnMut(Record) -> Result<()>,
) -> Result<LogEnd> {
    let mut reader = LogReader::new(disk.clone(), dir, start.mark.next());
    let end = reader.read(visit).map_err(|error| match error.kind {
        Kind::NotFound => error.with_kind(Kind::Corrupt),
        _ => error,
    })?;
    if let Some(torn) = &end.torn {
        cut(disk.as_ref(), dir, torn).map_err(|error| Error::io(torn.path.display(), error))?;
    }
    // A segment without records would stand in the way of the next one, which will begin with the same LSN.
    let (empty, segments) =
        end.segments.into_iter().partition::<Vec<_>, _>(|segment| segment.bytes <= SEGMENT_HEAD_BYTES as u64);
    for segment in empty {
        disk.remove_file(&segment.path).map_err(|error| Error::io(segment.path.display(), error))?;
    }
    Ok(LogEnd { segments, ..end })
}

fn cut(disk: &dyn Disk, dir: &Path, torn: &TornTail) -> std::io::Result<()> {
    if torn.offset <= SEGMENT_HEAD_BYTES as u64 {
        disk.remove_file(&torn.path)?;
    } else {
        let mut file = disk.open_write(&torn.path)?;
        file.set_len(torn.offset)?;
        file.sync_data()?;
    }
    disk.sync_dir(dir)
}

/// Reads records in order, and on later calls only what was added since.
#[derive(Debug)]
pub(crate) struct LogReader {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    next_lsn: Lsn,
    /// Behind the last whole record that was read.
    position: Option<Position>,
}

#[derive(Debug, Clone, Copy)]
struct Position {
    head: SegmentHead,
    offset: u64,
    next_lsn: Lsn,
}

impl LogReader {
    /// A reader of `dir` whose first record is `first_wanted`.
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, first_wanted: Lsn) -> Self {
        Self { disk, dir: dir.to_owned(), next_lsn: first_wanted, position: None }
    }

    /// Goes on at `lsn` when it lies ahead: the records before it are not wanted any more, and may be gone.
    pub(crate) fn skip_to(&mut self, lsn: Lsn) {
        if lsn > self.next_lsn {
            self.next_lsn = lsn;
            self.position = None;
        }
    }

    /// Gives every record that is new since the last call to `visit`; the first call also gives those that lie before the first wanted one in
    /// the same segment.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when the wanted records were cut meanwhile, [`Kind::Corrupt`] when the log is damaged before its tail.
    pub(crate) fn read(&mut self, mut visit: impl FnMut(Record) -> Result<()>) -> Result<LogEnd> {
        let segments = list_segments(self.disk.as_ref(), &self.dir)?;
        let mut end = LogEnd { next_lsn: self.next_lsn, segments: Vec::new(), torn: None };
        if segments.is_empty() {
            return Ok(end);
        }
        let Some(start) = segments.iter().rposition(|(first, _)| *first <= self.next_lsn) else {
            return Err(missing_records(&self.dir, self.next_lsn, segments[0].0).with_kind(Kind::NotFound));
        };
        let known = self.position.filter(|known| known.head.first_lsn == segments[start].0);
        if known.is_some_and(|known| known.offset > segments[start].1) {
            return Err(Error::new(Kind::NotFound, format!("the log {} was taken back", self.dir.display())));
        }
        for (segment, next) in segments.iter().zip(&segments[1..]).take(start) {
            let path = segment_path(&self.dir, segment.0);
            end.segments.push(ClosedSegment { path, last_lsn: Lsn(next.0.0 - 1), bytes: segment.1 });
        }
        for (index, (first, _)) in segments.iter().enumerate().skip(start) {
            if *first > self.next_lsn {
                return Err(missing_records(&self.dir, self.next_lsn, *first));
            }
            if index > start && *first < self.next_lsn {
                return Err(repeated_records(&self.dir, *first, self.next_lsn));
            }
            let path = segment_path(&self.dir, *first);
            let is_last = index + 1 == segments.len();
            end.torn = self.read_segment(&path, *first, is_last, &mut visit)?;
            let bytes = self.position.map_or(0, |position| position.offset);
            let last_lsn = Lsn(self.position.map_or(first.0, |position| position.next_lsn.0) - 1);
            if end.torn.as_ref().is_none_or(|torn| torn.offset > SEGMENT_HEAD_BYTES as u64) {
                end.segments.push(ClosedSegment { path, last_lsn, bytes });
            }
        }
        end.next_lsn = self.next_lsn;
        Ok(end)
    }

    fn read_segment(
        &mut self,
        path: &Path,
        first: Lsn,
        is_last: bool,
        visit: &mut impl FnMut(Record) -> Result<()>,
    ) -> Result<Option<TornTail>> {
        let known = self.position.filter(|known| known.head.first_lsn == first);
        let start = known.map_or(0, |known| known.offset);
        let bytes = match self.disk.read_from(path, start) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::new(Kind::NotFound, format!("log segment {} was cut meanwhile", path.display())));
            }
            other => Bytes::from(other.map_err(|error| Error::io(path.display(), error))?),
        };
        let torn = |offset: u64, bytes: usize| Some(TornTail { path: path.to_owned(), offset, bytes: bytes as u64 });
        let (head, mut at) = match known {
            Some(known) => (known.head, 0),
            None => match SegmentHead::decode(path, &bytes)? {
                Some(head) if head.first_lsn == first => (head, SEGMENT_HEAD_BYTES),
                None if is_last && bytes.len() <= SEGMENT_HEAD_BYTES => return Ok(torn(0, bytes.len())),
                _ => return Err(damaged(path, 0)),
            },
        };
        let mut lsn = known.map_or(first, |known| known.next_lsn);
        while at < bytes.len() {
            let rest = bytes.slice(at..);
            let Some(record) = Record::decode(head.segment_id, &rest).filter(|record| record.lsn == lsn) else {
                if is_last && !holds_later_group(head.segment_id, &rest, lsn) {
                    self.position = Some(Position { head, offset: start + at as u64, next_lsn: lsn });
                    return Ok(torn(start + at as u64, rest.len()));
                }
                return Err(damaged(path, start + at as u64));
            };
            at += record.encoded_len();
            lsn = lsn.next();
            self.next_lsn = self.next_lsn.max(lsn);
            visit(record)?;
        }
        self.position = Some(Position { head, offset: start + at as u64, next_lsn: lsn });
        Ok(None)
    }
}

/// Whether a whole record of a group after the one of `bad` lies in `rest`: then the group of `bad` had been synced, and what is bad
/// is damage, not an unfinished write.
pub(super) fn holds_later_group(segment_id: u64, rest: &Bytes, bad: Lsn) -> bool {
    let most = bad.0 + (rest.len() / HEAD_BYTES) as u64;
    (1..rest.len()).any(|at| {
        Record::claimed(&rest[at..]).is_some_and(|(lsn, group)| {
            let plausible = group > bad && lsn >= group && lsn.0 <= most;
            plausible && Record::decode(segment_id, &rest.slice(at..)).is_some()
        })
    })
}

fn damaged(path: &Path, offset: u64) -> Error {
    let text = format!("log segment {} is damaged at byte {offset}", path.display());
    let hint = "requests that were acknowledged may be lost: restore the file from a copy; or go on without those that cannot be read by \
                `spanhouse check --repair`, which moves the segment aside";
    Error::corrupt(text).with_hint(hint)
}

fn repeated_records(dir: &Path, first: Lsn, next: Lsn) -> Error {
    let text = format!("the log {} has the records {} to {} in two segments", dir.display(), first.0, next.0 - 1);
    Error::corrupt(text)
        .with_hint("a log segment does not belong here: put back the segments as they were, or go on without by `spanhouse check --repair`")
}

fn missing_records(dir: &Path, from: Lsn, to: Lsn) -> Error {
    let text = format!("the log {} lacks records between {} and {}", dir.display(), from.0, to.0);
    Error::corrupt(text)
        .with_hint("a log segment was removed or does not belong here: put back the segments as they were, or go on without by `spanhouse check --repair`")
}
