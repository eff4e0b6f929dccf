//! Checking the write-ahead log: length, version and checksum of each record, and that none is missing.

use std::ops::Range;
use std::path::Path;

use bytes::Bytes;

use super::report::{Finding, LogFigures, Loss, Part};
use crate::error::Result;
use crate::store::disk::Disk;
use crate::store::open::Decode;
use crate::store::wal::{Lsn, Piece, RECORD_HEAD_BYTES, scan};

/// What the log holds. What of it counts depends on the table, which is to be read later: what it has by then, the log may have lost.
#[derive(Debug, Default)]
pub(super) struct LogContent {
    segments: u64,
    bytes: u64,
    unfinished_bytes: u64,
    /// Each whole request, with its spans; `None` when they cannot be read.
    requests: Vec<(Lsn, Option<u64>)>,
    /// What is wrong, with the requests that it costs.
    wrong: Vec<(Finding, Range<Lsn>)>,
}

/// Reads the log in `log_dir`.
pub(super) fn read_log(disk: &dyn Disk, log_dir: &Path, decode: Decode) -> Result<LogContent> {
    let mut content = LogContent::default();
    let scanned = scan(disk, log_dir, |path, piece| {
        content.add(path, piece, decode);
        Ok(())
    })?;
    content.segments = scanned.len() as u64;
    content.bytes = scanned.iter().map(|segment| segment.bytes).sum();
    Ok(content)
}

impl LogContent {
    fn add(&mut self, path: &Path, piece: Piece, decode: Decode) {
        let name = path.file_name().map(|name| format!("wal/{}", name.to_string_lossy())).unwrap_or_default();
        let finding = |what: &str| Finding::new(Part::Log, &name, what);
        match piece {
            Piece::Record(record) => {
                let spans = decode(&record.payload).ok().map(|batch| batch.num_rows() as u64);
                self.requests.push((record.lsn, spans));
            }
            Piece::BadHead => self.wrong.push((finding("the head of the segment is damaged").at(0), Lsn(0)..Lsn(0))),
            Piece::Damaged { offset, bytes, lost } => {
                let what = format!("{} bytes are not what was written", bytes.len());
                let readable = readable(&bytes, decode).unwrap_or_default();
                self.wrong.push((finding(&what).at(offset).losing(readable), lost));
            }
            Piece::Missing(lost) => {
                let what = format!("requests {} to {} are in no segment before this one", lost.start.0, lost.end.0 - 1);
                self.wrong.push((finding(&what), lost));
            }
            Piece::Repeated(again) => {
                let what = format!("requests {} to {} are in segments before this one", again.start.0, again.end.0 - 1);
                self.wrong.push((finding(&what), Lsn(0)..Lsn(0)));
            }
            Piece::Torn(bytes) => self.unfinished_bytes += bytes,
        }
    }

    /// The figures and what is wrong, for a table that has the requests up to `known_mark`; `None` when that is not known.
    pub(super) fn beside(self, known_mark: Option<Lsn>) -> (LogFigures, Vec<Finding>) {
        let mark = known_mark.unwrap_or_default();
        let fresh = || self.requests.iter().filter(|(lsn, _)| *lsn > mark);
        let figures = LogFigures {
            segments: self.segments,
            bytes: self.bytes,
            requests: self.requests.len() as u64,
            fresh_requests: fresh().count() as u64,
            fresh_spans: fresh().filter_map(|(_, spans)| *spans).sum(),
            unfinished_bytes: self.unfinished_bytes,
        };
        let mut findings = Vec::new();
        let first =
            self.requests.first().map(|(lsn, _)| *lsn).into_iter().chain(self.wrong.iter().map(first_lost)).min();
        if let Some(first) = first.filter(|first| known_mark.is_some() && first.0 > mark.0 + 1 && first.0 < u64::MAX) {
            let what = format!("requests {} to {} are neither in the log nor in the table", mark.0 + 1, first.0 - 1);
            let lost = Loss { requests: first.0 - mark.0 - 1, ..Loss::default() };
            findings.push(Finding::new(Part::Log, "wal", what).losing(lost));
        }
        findings.extend(self.wrong.into_iter().map(|(finding, lost)| {
            let requests = lost.end.0.saturating_sub(lost.start.0.max(mark.0 + 1));
            let known = if requests > 0 { finding.lost.clone() } else { Loss::default() };
            finding.losing(Loss { requests, ..known })
        }));
        (figures, findings)
    }
}

/// The first record that something wrong costs; the greatest number when it costs none.
fn first_lost((_, lost): &(Finding, Range<Lsn>)) -> Lsn {
    if lost.is_empty() { Lsn(u64::MAX) } else { lost.start }
}

/// What the spans of a damaged record were, when so little is damaged that they can be read.
fn readable(bytes: &Bytes, decode: Decode) -> Option<Loss> {
    let payload = bytes.get(RECORD_HEAD_BYTES..).map(|_| bytes.slice(RECORD_HEAD_BYTES..))?;
    Loss::of_spans(&decode(&payload).ok()?).ok()
}
