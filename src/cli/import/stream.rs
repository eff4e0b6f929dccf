//! A file as a stream with its compression undone, whose beginning can be looked at.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use super::form::is_whole_object;

/// Bytes that are looked at to tell the form.
pub(super) const PEEKED_BYTES: usize = 256 << 10;

/// Bytes that are asked for at a time until enough are there.
const CHUNK_BYTES: usize = 64 << 10;

/// Bytes that tell the compression.
const MAGIC_BYTES: usize = 4;
pub(super) const ZSTD_MAGIC: [u8; MAGIC_BYTES] = [0x28, 0xb5, 0x2f, 0xfd];

/// A stream with its compression undone, whose first buffer has what tells the form.
pub(super) fn open<'a>(mut from: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let (start, failed) = read_start(&mut from, |start| start.len() >= MAGIC_BYTES);
    let compression = match start.as_slice() {
        [0x1f, 0x8b, ..] => Some(Compression::Gzip),
        [first, second, third, fourth, ..] if [*first, *second, *third, *fourth] == ZSTD_MAGIC => {
            Some(Compression::Zstd)
        }
        _ => None,
    };
    let from = BufReader::with_capacity(PEEKED_BYTES, Resumed::new(start, failed, from));
    let plain: Box<dyn Read + 'a> = match compression {
        Some(Compression::Gzip) => Box::new(flate2::bufread::MultiGzDecoder::new(from)),
        Some(Compression::Zstd) => Box::new(zstd::Decoder::with_buffer(from)?),
        None => Box::new(from),
    };
    peeked(plain)
}

#[derive(Debug, Clone, Copy)]
enum Compression {
    Gzip,
    Zstd,
}

/// A stream whose first buffer is all that the form is told by. What fails after bytes that came fails where it did.
fn peeked<'a>(mut from: Box<dyn Read + 'a>) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut lines = FirstLine::default();
    let (start, failed) = read_start(&mut from, |start| lines.is_record(start) || start.len() >= PEEKED_BYTES);
    match failed {
        Some(error) if start.is_empty() => Err(error),
        failed => {
            let rest = BufReader::with_capacity(PEEKED_BYTES, Resumed::new(Vec::new(), failed, from));
            Ok(Box::new(Cursor::new(start).chain(rest)))
        }
    }
}

/// Reads until `is_enough` or the end: a pipe gives what has arrived, however little that is.
fn read_start(from: &mut dyn Read, mut is_enough: impl FnMut(&[u8]) -> bool) -> (Vec<u8>, Option<io::Error>) {
    let mut start = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    while !is_enough(&start) {
        match from.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => start.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (start, Some(error)),
        }
    }
    (start, None)
}

/// Whether a stream begins with a record a line, so that nothing more need be awaited.
#[derive(Debug, Default)]
struct FirstLine {
    looked_at_bytes: usize,
    has_ended: bool,
}

impl FirstLine {
    fn is_record(&mut self, start: &[u8]) -> bool {
        let more = &start[self.looked_at_bytes..];
        self.looked_at_bytes = start.len();
        if self.has_ended || !more.contains(&b'\n') {
            return false;
        }
        self.has_ended = true;
        start.split(|byte| *byte == b'\n').next().is_some_and(is_whole_object)
    }
}

/// Bytes that were read already, then what failed after them, then the rest.
struct Resumed<R> {
    start: Cursor<Vec<u8>>,
    failed: Option<io::Error>,
    rest: R,
}

impl<R> Resumed<R> {
    fn new(start: Vec<u8>, failed: Option<io::Error>, rest: R) -> Self {
        Self { start: Cursor::new(start), failed, rest }
    }
}

impl<R: Read> Read for Resumed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.start.read(into)? {
            0 if !into.is_empty() => self.failed.take().map_or_else(|| self.rest.read(into), Err),
            count => Ok(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::import::form::{Form, detect};

    /// A pipe whose writer writes a byte at a time, and at the end stops in one way or another.
    struct Slow(std::vec::IntoIter<u8>, Option<io::Error>);

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0.next() {
                Some(byte) => Cursor::new([byte]).read(into),
                None => self.1.take().map_or(Ok(0), Err),
            }
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        io::Write::write_all(&mut encoder, bytes).expect("written");
        encoder.finish().expect("finished")
    }

    #[test]
    fn the_form_does_not_depend_on_how_the_bytes_arrive() {
        let document = b"{\n  \"resourceSpans\": []\n}\n".as_slice();
        let delimited = [5, 0x0a, 3, 0x0a, 1, 0, 0].as_slice();
        for (plain, form) in [(document, Form::Json), (delimited, Form::Delimited)] {
            for bytes in [plain.to_vec(), gzip(plain), zstd::encode_all(plain, 1).expect("encoded")] {
                let mut from = open(Slow(bytes.into_iter(), None)).expect("opened");
                let start = from.fill_buf().expect("a start");
                assert_eq!((start, detect(start, None).ok().map(|told| told.0)), (plain, Some(form)));
                from.consume(plain.len());
                assert_eq!(from.read_to_end(&mut Vec::new()).expect("the end"), 0);
            }
        }
    }

    #[test]
    fn the_first_line_of_a_stream_is_not_kept_waiting_for_the_others() {
        let mut from = open(Slow(b"{\"resourceSpans\":[]}\n{".to_vec().into_iter(), None)).expect("opened");
        assert_eq!(from.fill_buf().expect("a line"), b"{\"resourceSpans\":[]}\n");
    }

    #[test]
    fn what_came_before_a_failure_is_read_first() {
        let whole = b"{\"resourceSpans\":[]\n}\n".repeat(3);
        let cut = gzip(&whole)[..20].to_vec();
        for (bytes, error) in [(whole.clone(), Some(io::Error::other("gone"))), (cut, None)] {
            let mut from = open(Slow(bytes.into_iter(), error)).expect("opened");
            let mut came = Vec::new();
            from.read_to_end(&mut came).expect_err("it breaks off");
            assert!(!came.is_empty() && whole.starts_with(&came), "{came:?}");
        }
        open(Slow(Vec::new().into_iter(), Some(io::Error::other("gone")))).err().expect("nothing came");
    }
}
