//! A file's records, one at a time, with their places.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::path::Path;

use indicatif::ProgressBar;

use super::form::{Form, Format, detect, varint};
use super::record::{Content, Item, Place, Record};
use super::split::Splitter;
use super::stream::{ZSTD_MAGIC, open};
use super::tables;
use crate::error::{Error, Result};
use crate::formats::columns::Mapping;

/// A longer record is refused unread: no OTLP server takes one. The protocol's default is 64 MiB.
pub(super) const MAX_RECORD_BYTES: u64 = 64 << 20;

/// How files are read.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Reading {
    /// What they hold; told by their contents without it.
    pub(in crate::cli) format: Option<Format>,
    /// What the columns of tables are.
    pub(in crate::cli) mapping: Option<Mapping>,
}

/// What a reader hands records to.
pub(in crate::cli) type Sink<'a> = &'a mut dyn FnMut(Item) -> Result<()>;

/// Reads the file's records into `sink`.
///
/// # Errors
/// When the file cannot be read or its form cannot be told, or what `sink` fails with.
pub(in crate::cli) fn read(path: &Path, reading: &Reading, bar: &ProgressBar, sink: Sink<'_>) -> Result<()> {
    let failed = |error: io::Error| Error::bad_input(format!("it cannot be read: {error}"));
    let raw: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(std::fs::File::open(path).map_err(failed)?),
    };
    let mut from = open(bar.wrap_read(raw)).map_err(failed)?;
    let (form, format) = detect(from.fill_buf().map_err(failed)?, reading.format)?;
    let content = match format {
        Format::Jaeger => Content::JaegerJson,
        Format::Zipkin => Content::ZipkinJson,
        _ => Content::OtlpJson,
    };
    let mut reader = Reader { path, content, offset: 0, line: 1, record: 0, from: from.as_mut() };
    match form {
        Form::Protobuf => reader.whole(sink),
        Form::Delimited => reader.delimited(sink),
        Form::Framed => reader.framed(sink),
        Form::Json => reader.values(Splitter::default(), false, sink),
        Form::JsonEnvelope => reader.values(Splitter::of_envelopes(), false, sink),
        Form::JsonList => reader.values(Splitter::default(), true, sink),
        Form::JsonLines => reader.lines(sink),
        Form::Parquet => tables::read_parquet(path, reading, bar, sink),
    }
}

pub(super) struct Reader<'a> {
    path: &'a Path,
    /// What JSON is.
    pub(super) content: Content,
    pub(super) offset: u64,
    pub(super) line: u64,
    pub(super) record: u64,
    pub(super) from: &'a mut dyn BufRead,
}

impl Reader<'_> {
    pub(super) fn item(&self, place: Place, content: Content, payload: Vec<u8>) -> Item {
        Item::Record(Record { file: self.path.to_owned(), place, content, payload: payload.into() })
    }

    pub(super) fn broken(&self, place: Place, why: impl fmt::Display) -> Item {
        Item::Broken { file: self.path.to_owned(), place, why: why.to_string() }
    }

    pub(super) fn place(&self, text: bool) -> Place {
        Place { record: self.record, line: text.then_some(self.line), offset: self.offset, row: None }
    }

    /// Reads up to `limit` bytes.
    fn take(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        let mut payload = Vec::new();
        (&mut *self.from).take(limit).read_to_end(&mut payload)?;
        Ok(payload)
    }

    /// The file is one request.
    fn whole(&mut self, sink: Sink<'_>) -> Result<()> {
        self.record = 1;
        let place = self.place(false);
        match self.take(MAX_RECORD_BYTES + 1) {
            Ok(payload) if payload.is_empty() => Ok(()),
            Ok(payload) if payload.len() as u64 > MAX_RECORD_BYTES => sink(self.broken(place, too_long("the request"))),
            Ok(payload) => sink(self.item(place, Content::Protobuf, payload)),
            Err(error) => sink(self.broken(place, error)),
        }
    }

    /// Each request has its length before it. A wrong length leaves no way to find the next record.
    fn delimited(&mut self, sink: Sink<'_>) -> Result<()> {
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
                Ok(payload) => sink(self.item(place, Content::Protobuf, payload))?,
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
    fn lines(&mut self, sink: Sink<'_>) -> Result<()> {
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
                false => sink(self.item(place, self.content, text.to_vec()))?,
            }
        }
    }

    /// Messages of the Collector's file exporter: each has its length before it, in four bytes, and may be compressed by itself.
    fn framed(&mut self, sink: Sink<'_>) -> Result<()> {
        loop {
            self.record += 1;
            let place = self.place(false);
            let length = match self.take(4) {
                Ok(bytes) if bytes.is_empty() => return Ok(()),
                Ok(bytes) => match <[u8; 4]>::try_from(bytes) {
                    Ok(bytes) => u64::from(u32::from_be_bytes(bytes)),
                    Err(_) => return sink(self.broken(place, "the file ends in a record's length")),
                },
                Err(error) => return sink(self.broken(place, error)),
            };
            if length > MAX_RECORD_BYTES {
                let what = format!("its length of {length} bytes");
                return sink(self.broken(place, format!("{}; the rest of the file is not read", too_long(&what))));
            }
            match self.take(length) {
                Ok(payload) if (payload.len() as u64) < length => {
                    let why = format!("the file ends {} bytes into a record of {length}", payload.len());
                    return sink(self.broken(place, why));
                }
                Ok(payload) => match decompressed(payload) {
                    Ok(payload) if payload.trim_ascii_start().first() == Some(&b'{') => {
                        sink(self.item(place, self.content, payload))?;
                    }
                    Ok(payload) => sink(self.item(place, Content::Protobuf, payload))?,
                    Err(why) => sink(self.broken(place, why))?,
                },
                Err(error) => return sink(self.broken(place, error)),
            }
            self.offset += 4 + length;
        }
    }
}

/// A message that may be compressed by itself.
fn decompressed(message: Vec<u8>) -> Result<Vec<u8>, String> {
    if !message.starts_with(&ZSTD_MAGIC) {
        return Ok(message);
    }
    let mut plain = Vec::new();
    let decoder = zstd::Decoder::with_buffer(message.as_slice()).map_err(|error| error.to_string())?;
    let length = decoder.take(MAX_RECORD_BYTES + 1).read_to_end(&mut plain).map_err(|error| error.to_string())?;
    match length as u64 > MAX_RECORD_BYTES {
        true => Err(too_long("the message")),
        false => Ok(plain),
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

pub(super) fn too_long(what: &str) -> String {
    format!("{what} is over the limit of {MAX_RECORD_BYTES} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(bytes: &[u8]) -> Vec<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        std::fs::write(&path, bytes).expect("written");
        let mut told = Vec::new();
        let outcome = read(&path, &Reading::default(), &ProgressBar::hidden(), &mut |item| {
            told.push(match item {
                Item::Record(record) => format!("{}: {}", record.place, String::from_utf8_lossy(&record.payload)),
                Item::Broken { place, why, .. } | Item::Refused { place, why, .. } => format!("{place}! {why}"),
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

    #[test]
    fn messages_of_the_file_exporter_have_their_length_before_them() {
        let framed = |message: &[u8]| [&(message.len() as u32).to_be_bytes()[..], message].concat();
        let json = b"{\"resourceSpans\":[]}".as_slice();
        let packed = zstd::encode_all(json, 1).expect("zstd");
        let mut bytes = [framed(&packed), framed(json), framed(&[0x0a, 3, 0x0a, 1, 0])].concat();
        assert_eq!(
            items(&bytes),
            [
                "byte 0, record 1: {\"resourceSpans\":[]}".to_owned(),
                format!("byte {}, record 2: {{\"resourceSpans\":[]}}", packed.len() + 4),
                format!("byte {}, record 3: \n\u{3}\n\u{1}\0", packed.len() + json.len() + 8),
            ]
        );
        bytes.extend([0, 0]);
        assert!(items(&bytes)[3].ends_with("! the file ends in a record's length"));
    }

    #[test]
    fn spans_of_a_list_are_taken_together_and_traces_of_an_answer_one_by_one() {
        let span = r#"{"traceId":"1","id":"2"}"#;
        assert_eq!(items(format!("[{span},\n {span}]").as_bytes()), [format!("line 1, record 1: [{span},{span}]")]);
        assert_eq!(items(format!("[[{span}],[{span}]]").as_bytes()), [format!("line 1, record 1: [{span},{span}]")]);
        let trace = r#"{"traceID":"1","spans":[]}"#;
        let answer = format!("{{\"data\":[{trace},\n{trace}],\"total\":0}}");
        assert_eq!(
            items(answer.as_bytes()),
            [format!("line 1, record 1: {trace}"), format!("line 2, record 2: {trace}")]
        );
        let error = items(br#"{"data":null,"errors":[{"code":404}]}"#);
        assert_eq!(error, ["byte 0! there is no list of traces in data: it is an error that Jaeger answered"]);
    }
}
