//! A record as it stands in a file, with its place.

use std::fmt;
use std::path::PathBuf;

use bytes::Bytes;

/// Where a record stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::cli) struct Place {
    /// From 1; 0 when the trouble is with the file itself.
    pub(super) record: u64,
    /// From 1, in text.
    pub(super) line: Option<u64>,
    /// Where it starts, in bytes of the decompressed file.
    pub(super) offset: u64,
    /// From 1, in a table: its first row.
    pub(super) row: Option<u64>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.row, self.line, self.record) {
            (Some(row), ..) => write!(f, "row {row}"),
            (_, _, 0) => write!(f, "byte {}", self.offset),
            (_, Some(line), record) => write!(f, "line {line}, record {record}"),
            (_, None, record) => write!(f, "byte {}, record {record}", self.offset),
        }
    }
}

/// One record as it stands in a file: what becomes one OTLP request.
#[derive(Debug)]
pub(in crate::cli) struct Record {
    pub(in crate::cli) file: PathBuf,
    pub(in crate::cli) place: Place,
    pub(in crate::cli) content: Content,
    pub(in crate::cli) payload: Bytes,
}

/// What a record's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Content {
    Protobuf,
    OtlpJson,
    JaegerJson,
    ZipkinJson,
}

/// What reading gives.
pub(in crate::cli) enum Item {
    Record(Record),
    /// A span that is none, of a record that is there.
    Refused {
        file: PathBuf,
        place: Place,
        why: String,
    },
    /// A place where there should be a record and is none.
    Broken {
        file: PathBuf,
        place: Place,
        why: String,
    },
}
