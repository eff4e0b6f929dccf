//! The write-ahead log: segments of checksummed records, one writer thread with group commit, and the reader for replay.
//!
//! Knows bytes, sequence numbers and the disk. Knows nothing of Arrow, spans or the table.

pub mod fuzzing;
mod reader;
mod record;
mod scan;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use reader::{LogEnd, LogReader, ReplayStart, TornTail, replay};
pub(crate) use record::{HEAD_BYTES as RECORD_HEAD_BYTES, Lsn, Record, RequestHash};
pub(crate) use scan::{Piece, scan};
pub(crate) use segment::SegmentList;
pub(crate) use writer::{Appender, Entry, MAX_PAYLOAD_BYTES, Refusal, Sink, WriterSettings};
