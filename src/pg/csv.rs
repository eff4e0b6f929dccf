//! CSV as PostgreSQL's `COPY` writes it.

use bytes::{BufMut, BytesMut};

/// The characters of a CSV dialect, and what stands for NULL.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CsvStyle<'a> {
    pub(crate) delimiter: u8,
    pub(crate) quote: u8,
    pub(crate) escape: u8,
    pub(crate) null: &'a [u8],
}

impl CsvStyle<'_> {
    /// What `COPY … (FORMAT csv)` writes unless told otherwise: NULL is an empty field and an empty text is `""`.
    pub(crate) const DEFAULT: CsvStyle<'static> = CsvStyle { delimiter: b',', quote: b'"', escape: b'"', null: b"" };
}

/// Writes a value that is not NULL; quoted when that is `forced` and where a reader would else see another value.
pub(crate) fn put_csv(out: &mut BytesMut, value: &[u8], style: &CsvStyle<'_>, forced: bool) {
    let CsvStyle { delimiter, quote, escape, null } = *style;
    let needs = forced
        || value == null
        || value == b"\\."
        || value.iter().any(|byte| *byte == delimiter || *byte == quote || matches!(byte, b'\n' | b'\r'));
    if !needs {
        out.put_slice(value);
        return;
    }
    out.put_u8(quote);
    for byte in value {
        if *byte == quote || *byte == escape {
            out.put_u8(escape);
        }
        out.put_u8(*byte);
    }
    out.put_u8(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_would_read_as_something_else() {
        for (given, written) in [
            ("plain", "plain"),
            (" blanks ", " blanks "),
            ("", "\"\""),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("\\.", "\"\\.\""),
        ] {
            let mut out = BytesMut::new();
            put_csv(&mut out, given.as_bytes(), &CsvStyle::DEFAULT, false);
            assert_eq!(out, written.as_bytes());
        }
    }
}
