//! A file's records, one at a time, with their places.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use indicatif::ProgressBar;

use super::form::{Form, detect, open, varint};
use crate::error::{Error, Result};

/// A longer record is refused unread: no OTLP server takes one. The protocol's default is 64 MiB.
const MAX_RECORD_BYTES: u64 = 64 << 20;

/// Where a record stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// From 1; 0 when the trouble is with the file itself.
    pub(super) record: u64,
    /// From 1, in text.
    pub(super) line: Option<u64>,
    /// Where it starts, in bytes of the decompressed file.
    pub(super) offset: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.record) {
            (_, 0) => write!(f, "byte {}", self.offset),
            (Some(line), record) => write!(f, "line {line}, record {record}"),
            (None, record) => write!(f, "byte {}, record {record}", self.offset),
        }
    }
}

/// One OTLP request as it stands in a file.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) file: PathBuf,
    pub(super) place: Place,
    pub(super) json: bool,
    pub(super) payload: Bytes,
}

/// What reading gives.
pub(super) enum Item {
    Record(Record),
    /// A place where there should be a record and is none.
    Broken {
        file: PathBuf,
        place: Place,
        why: String,
    },
}

/// Reads the file's records into `sink`.
///
/// # Errors
/// When the file cannot be read or its form cannot be told, or what `sink` fails with.
pub(super) fn read(path: &Path, bar: &ProgressBar, sink: &mut dyn FnMut(Item) -> Result<()>) -> Result<()> {
    let failed = |error: io::Error| Error::bad_input(format!("it cannot be read: {error}"));
    let raw: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(std::fs::File::open(path).map_err(failed)?),
    };
    let mut from = open(bar.wrap_read(raw)).map_err(failed)?;
    let form = detect(from.fill_buf().map_err(failed)?)?;
    let mut reader = Reader { path, offset: 0, line: 1, record: 0, from: from.as_mut() };
    match form {
        Form::Protobuf => reader.whole(sink),
        Form::Delimited => reader.delimited(sink),
        Form::Json => reader.values(sink),
        Form::JsonLines => reader.lines(sink),
    }
}

struct Reader<'a> {
    path: &'a Path,
    offset: u64,
    line: u64,
    record: u64,
    from: &'a mut dyn BufRead,
}

impl Reader<'_> {
    fn item(&self, place: Place, json: bool, payload: Vec<u8>) -> Item {
        Item::Record(Record { file: self.path.to_owned(), place, json, payload: payload.into() })
    }

    fn broken(&self, place: Place, why: impl fmt::Display) -> Item {
        Item::Broken { file: self.path.to_owned(), place, why: why.to_string() }
    }

    fn place(&self, text: bool) -> Place {
        Place { record: self.record, line: text.then_some(self.line), offset: self.offset }
    }

    /// Reads up to `limit` bytes.
    fn take(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        let mut payload = Vec::new();
        (&mut *self.from).take(limit).read_to_end(&mut payload)?;
        Ok(payload)
    }

    /// The file is one request.
    fn whole(&mut self, sink: &mut dyn FnMut(Item) -> Result<()>) -> Result<()> {
        self.record = 1;
        let place = self.place(false);
        match self.take(MAX_RECORD_BYTES + 1) {
            Ok(payload) if payload.is_empty() => Ok(()),
            Ok(payload) if payload.len() as u64 > MAX_RECORD_BYTES => sink(self.broken(place, too_long("the request"))),
            Ok(payload) => sink(self.item(place, false, payload)),
            Err(error) => sink(self.broken(place, error)),
        }
    }

    /// Each request has its length before it. A wrong length leaves no way to find the next record.
    fn delimited(&mut self, sink: &mut dyn FnMut(Item) -> Result<()>) -> Result<()> {
        loop {
            self.record += 1;
            let place = self.place(false);
            let (length, used) = match self.length() {
                Ok(Some(length)) => length,
                Ok(None) => return Ok(()),
                Err(error) => return sink(self.broken(place, error)),
            };
            if length > MAX_RECORD_BYTES {
                let why =
                    format!("{}; the rest of the file is not read", too_long(&format!("its length of {length} bytes")));
                return sink(self.broken(place, why));
            }
            match self.take(length) {
                Ok(payload) if (payload.len() as u64) < length => {
                    let why = format!("the file ends {} bytes into a record of {length}", payload.len());
                    return sink(self.broken(place, why));
                }
                Ok(payload) => sink(self.item(place, false, payload))?,
                Err(error) => return sink(self.broken(place, error)),
            }
            self.offset += used as u64 + length;
        }
    }

    /// The next record's length and the bytes that it takes; `None` at the end.
    fn length(&mut self) -> io::Result<Option<(u64, usize)>> {
        let mut bytes = Vec::new();
        while bytes.len() < 10 {
            let next = self.take(1)?;
            bytes.extend(&next);
            match varint(&bytes) {
                Some(length) => return Ok(Some(length)),
                None if next.is_empty() && bytes.is_empty() => return Ok(None),
                None if next.is_empty() => return Err(io::Error::other("the file ends in a record's length")),
                None => {}
            }
        }
        Err(io::Error::other("there is no length here; the rest of the file is not read"))
    }

    /// Each line is a request; a line without one is skipped over.
    fn lines(&mut self, sink: &mut dyn FnMut(Item) -> Result<()>) -> Result<()> {
        loop {
            let mut line = Vec::new();
            let place = Place { record: self.record + 1, ..self.place(true) };
            let limited = (&mut *self.from).take(MAX_RECORD_BYTES + 1).read_until(b'\n', &mut line);
            let length = match limited {
                Ok(0) => return Ok(()),
                Ok(length) => length as u64,
                Err(error) => return sink(self.broken(place, error)),
            };
            let too_long_line = length > MAX_RECORD_BYTES;
            self.offset += length;
            if too_long_line {
                match skip_line(self.from) {
                    Ok(skipped) => self.offset += skipped,
                    Err(error) => return sink(self.broken(place, error)),
                }
            }
            self.line += 1;
            let text = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line).trim_ascii();
            if text.is_empty() {
                continue;
            }
            self.record += 1;
            match too_long_line {
                true => sink(self.broken(place, too_long("the line")))?,
                false => sink(self.item(place, true, text.to_vec()))?,
            }
        }
    }

    /// JSON values one after the other; a list's elements are taken one by one.
    fn values(&mut self, sink: &mut dyn FnMut(Item) -> Result<()>) -> Result<()> {
        let mut splitter = Splitter::default();
        let mut value = Vec::new();
        let mut place = self.place(true);
        loop {
            let chunk = match self.from.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) => return sink(self.broken(place, error)),
            };
            if chunk.is_empty() {
                break;
            }
            let (chunk, length) = (chunk.to_vec(), chunk.len());
            self.from.consume(length);
            for byte in chunk {
                let step = splitter.step(byte);
                if step == Step::Begins {
                    self.record += 1;
                    place = self.place(true);
                }
                self.offset += 1;
                self.line += u64::from(byte == b'\n');
                match step {
                    Step::Between => {}
                    Step::Stray => {
                        return sink(self.broken(
                            Place { record: self.record + 1, ..self.place(true) },
                            "here should be a JSON object",
                        ));
                    }
                    Step::Begins | Step::Inside => value.push(byte),
                    Step::Ends => {
                        value.push(byte);
                        sink(self.item(place, true, std::mem::take(&mut value)))?;
                    }
                }
                if value.len() as u64 > MAX_RECORD_BYTES {
                    return sink(self.broken(place, too_long("the JSON object")));
                }
            }
        }
        match value.is_empty() {
            true => Ok(()),
            false => sink(self.broken(place, "the file ends inside a JSON object")),
        }
    }
}

fn skip_line(from: &mut dyn BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let chunk = from.fill_buf()?;
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(chunk.len(), |end| end + 1);
        from.consume(length);
        skipped += length as u64;
        if end.is_some() || length == 0 {
            return Ok(skipped);
        }
    }
}

fn too_long(what: &str) -> String {
    format!("{what} is over the limit of {MAX_RECORD_BYTES} bytes")
}

/// Finds where JSON objects begin and end, and nothing more; whether they are JSON is the decoder's business.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    depth: u32,
    in_text: bool,
    escaped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Space, or the brackets and commas of a list around the objects.
    Between,
    /// Something else where an object should begin.
    Stray,
    Begins,
    Inside,
    Ends,
}

impl Splitter {
    pub(super) fn step(&mut self, byte: u8) -> Step {
        if self.depth == 0 {
            return match byte {
                b'{' => {
                    self.depth = 1;
                    Step::Begins
                }
                b' ' | b'\t' | b'\r' | b'\n' | b',' | b'[' | b']' | 0xef | 0xbb | 0xbf => Step::Between,
                _ => Step::Stray,
            };
        }
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.in_text => self.escaped = true,
            b'"' => self.in_text = !self.in_text,
            _ if self.in_text => {}
            b'{' => self.depth = self.depth.saturating_add(1),
            b'}' => {
                self.depth -= 1;
                if self.depth == 0 {
                    return Step::Ends;
                }
            }
            _ => {}
        }
        Step::Inside
    }
}

/// How many bytes the object at the start takes; `None` when it does not end.
pub(super) fn closes_at(text: &[u8]) -> Option<usize> {
    let mut splitter = Splitter::default();
    text.iter().position(|byte| splitter.step(*byte) == Step::Ends).map(|end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(bytes: &[u8]) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).expect("written");
        let mut told = Vec::new();
        let outcome = read(&path, &ProgressBar::hidden(), &mut |item| {
            told.push(match item {
                Item::Record(record) => format!("{}: {}", record.place, String::from_utf8_lossy(&record.payload)),
                Item::Broken { place, why, .. } => format!("{place}! {why}"),
            });
            Ok(())
        });
        told.extend(outcome.err().map(|error| format!("! {error}")));
        told
    }

    #[test]
    fn json_lines_go_on_after_a_bad_line() {
        let told = items(b"{\"a\":1}\n\nnonsense {{{\n{\"b\":2}");
        assert_eq!(
            told,
            ["line 1, record 1: {\"a\":1}", "line 3, record 2: nonsense {{{", "line 4, record 3: {\"b\":2}"]
        );
    }

    #[test]
    fn a_json_document_may_span_lines_and_stand_in_a_list() {
        let told = items(b"[\n {\"a\": \"}\\\"{\"},\n {\"b\":\n {}}\n]\n");
        assert_eq!(told, ["line 2, record 1: {\"a\": \"}\\\"{\"}", "line 3, record 2: {\"b\":\n {}}"]);
        assert_eq!(items(b"{\n \"a\": 1"), ["line 1, record 1! the file ends inside a JSON object"]);
    }

    #[test]
    fn lengths_are_checked() {
        let record = [5u8, 0x0a, 3, 0x0a, 1, 0];
        let mut bytes = record.to_vec();
        bytes.extend(record);
        assert_eq!(items(&bytes).len(), 2);
        bytes.extend([9, 0x0a]);
        assert_eq!(items(&bytes)[2], "byte 12, record 3! the file ends 1 bytes into a record of 9");
        let huge = [&record[..], &[0xff, 0xff, 0xff, 0xff, 0x7f]].concat();
        assert!(items(&huge)[1].starts_with("byte 6, record 2! its length of 34359738367 bytes is over the limit"));
        let endless = [&record[..], &[0xff; 12]].concat();
        assert_eq!(items(&endless)[1], "byte 6, record 2! there is no length here; the rest of the file is not read");
    }

    #[test]
    fn compression_is_seen_by_its_first_bytes() {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut gzip, b"{}\n").expect("written");
        assert_eq!(items(&gzip.finish().expect("gzip")), ["line 1, record 1: {}"]);
        let zstd = zstd::encode_all(&b"{}\n{}"[..], 1).expect("zstd");
        assert_eq!(items(&zstd).len(), 2);
        assert!(items(&zstd[..zstd.len() - 4]).iter().any(|told| told.contains('!')), "a torn stream is told");
    }
}
