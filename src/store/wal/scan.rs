//! Reading all of the log that is whole, also behind what is damaged: for those who look for damage. Changes nothing.

use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::reader::holds_later_group;
use super::record::{Lsn, Record, u64_at};
use super::segment::{SEGMENT_HEAD_BYTES, SegmentHead, list_segments, segment_path};
use crate::error::{Error, Result};
use crate::store::disk::Disk;

/// What lies in the log, in order.
#[derive(Debug)]
pub(crate) enum Piece {
    Record(Record),
    /// A segment's head is not as it was written.
    BadHead,
    /// Bytes that are no record as it was written.
    Damaged {
        offset: u64,
        bytes: Bytes,
        /// The records that lay there; those that a later segment tells of, too.
        lost: Range<Lsn>,
    },
    /// Records that no segment has.
    Missing(Range<Lsn>),
    /// Records that segments before this one have; they are given once.
    Repeated(Range<Lsn>),
    /// Bytes of an unfinished write at the end, of which nobody was promised anything.
    Torn(u64),
}

/// A segment that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scanned {
    pub path: PathBuf,
    pub bytes: u64,
}

/// Gives all pieces of the log to `visit`, with the path of the segment that they are about. Segments that are cut meanwhile are left out.
///
/// # Errors
/// When a segment cannot be read at all or is of a newer format, and whatever `visit` gives.
pub(crate) fn scan(
    disk: &dyn Disk,
    dir: &Path,
    mut visit: impl FnMut(&Path, Piece) -> Result<()>,
) -> Result<Vec<Scanned>> {
    let segments = list_segments(disk, dir)?;
    let mut scanned = Vec::new();
    let mut next: Option<Lsn> = None;
    for (place, (first, _)) in segments.iter().enumerate() {
        let path = segment_path(dir, *first);
        let bytes = match disk.read_from(&path, 0) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            read => Bytes::from(read.map_err(|error| Error::io(path.display(), error))?),
        };
        if let Some(lacks) = next.filter(|next| next < first) {
            visit(&path, Piece::Missing(lacks..*first))?;
        }
        let known = next.unwrap_or_default();
        if known > *first {
            visit(&path, Piece::Repeated(*first..known))?;
        }
        scanned.push(Scanned { path: path.clone(), bytes: bytes.len() as u64 });
        let behind = segments.get(place + 1).map(|(first, _)| *first);
        let end = scan_segment(&path, &bytes, *first, behind, &mut |path, piece| match piece {
            Piece::Record(record) if record.lsn < known => Ok(()),
            piece => visit(path, piece),
        })?;
        next = Some(end.max(known));
    }
    Ok(scanned)
}

/// Reads one segment; `behind` is the first record of the next one. Gives the record that is to follow.
fn scan_segment(
    path: &Path,
    bytes: &Bytes,
    first: Lsn,
    behind: Option<Lsn>,
    visit: &mut impl FnMut(&Path, Piece) -> Result<()>,
) -> Result<Lsn> {
    let head = SegmentHead::decode(path, bytes)?.filter(|head| head.first_lsn == first);
    if head.is_none() && behind.is_none() && bytes.len() <= SEGMENT_HEAD_BYTES {
        visit(path, Piece::Torn(bytes.len() as u64))?;
        return Ok(first);
    }
    let segment_id = match head {
        Some(head) => head.segment_id,
        // Whatever else of the head is damaged: with its id, the records can be told.
        None => {
            visit(path, Piece::BadHead)?;
            if bytes.len() < SEGMENT_HEAD_BYTES { 0 } else { u64_at(bytes, 16) }
        }
    };
    let (mut at, mut lsn) = (SEGMENT_HEAD_BYTES.min(bytes.len()), first);
    while at < bytes.len() {
        let rest = bytes.slice(at..);
        if let Some(record) = Record::decode(segment_id, &rest).filter(|record| record.lsn == lsn) {
            at += record.encoded_len();
            lsn = lsn.next();
            visit(path, Piece::Record(record))?;
            continue;
        }
        if head.is_some() && behind.is_none() && !holds_later_group(segment_id, &rest, lsn) {
            visit(path, Piece::Torn(rest.len() as u64))?;
            return Ok(lsn);
        }
        let (skipped, found) =
            next_record(segment_id, &rest, lsn).unwrap_or((rest.len(), behind.unwrap_or(lsn.next())));
        let lost = lsn..found.max(lsn);
        visit(path, Piece::Damaged { offset: at as u64, bytes: rest.slice(..skipped), lost })?;
        at += skipped;
        lsn = found.max(lsn);
    }
    Ok(lsn)
}

/// Where behind its beginning `rest` has a whole record, and which: one that follows `bad`.
fn next_record(segment_id: u64, rest: &Bytes, bad: Lsn) -> Option<(usize, Lsn)> {
    // As many records as there is room for heads may lie in between.
    let most = bad.0 + (rest.len() / super::record::HEAD_BYTES) as u64;
    (1..rest.len()).find_map(|at| {
        let (lsn, _) = Record::claimed(&rest[at..])?;
        let is_plausible = lsn >= bad && lsn.0 <= most;
        let is_whole = || Record::decode(segment_id, &rest.slice(at..)).is_some();
        (is_plausible && is_whole()).then_some((at, lsn))
    })
}
