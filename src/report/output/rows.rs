//! Every row of a result, for programs: CSV, NDJSON, Parquet.

use std::io::{self, Write};

use bytes::Bytes;

use super::page::Page;
use crate::error::Result;
use crate::render::{Format, RenderOptions, Writer};

/// The longest file. It is held in memory until it is kept and sent, and NDJSON may have many times the bytes of its rows.
const MOST_BYTES: usize = 256 << 20;

/// Writes the rows with times in the zone of the page, where the format has no instants.
///
/// # Errors
/// When the file would be longer than any is, or its time is over.
pub(super) fn render(format: Format, page: &Page<'_>) -> Result<Bytes> {
    render_within(format, page, MOST_BYTES)
}

fn render_within(format: Format, page: &Page<'_>, most_bytes: usize) -> Result<Bytes> {
    let options = RenderOptions { zone: page.zone.name().to_owned(), ..RenderOptions::default() };
    let out = Bounded { bytes: Vec::new(), most_bytes };
    let mut writer = Writer::new(format, page.frame.schema.clone(), &options, out)?;
    for batch in &page.frame.batches {
        page.deadline.check()?;
        writer.batch(batch)?;
    }
    let (_, out) = writer.finish()?;
    Ok(Bytes::from(out.bytes))
}

/// Memory that takes so many bytes and no more.
struct Bounded {
    bytes: Vec<u8>,
    most_bytes: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len().saturating_add(bytes.len()) > self.most_bytes {
            let why = format!("its file is longer than {} bytes; group or limit its rows", self.most_bytes);
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;
    use crate::report::output::testing::parts;

    #[test]
    fn nothing_is_written_for_nobody() {
        for format in [Format::Csv, Format::Ndjson, Format::Parquet] {
            let parts = parts();
            parts.deadline.end();
            assert_eq!(render(format, &parts.page()).expect_err("it is over").kind, Kind::Cancelled, "{format}");
        }
    }

    #[test]
    fn a_file_is_whole_or_refused_by_its_length() {
        let parts = parts();
        for format in [Format::Csv, Format::Ndjson, Format::Parquet] {
            let whole = render(format, &parts.page()).expect("written");
            assert_eq!(render_within(format, &parts.page(), whole.len()).expect("it fits"), whole, "{format}");
            let error = render_within(format, &parts.page(), whole.len() - 1).expect_err("too long").to_string();
            assert!(error.contains("is longer than") && error.contains("limit its rows"), "{format}: {error}");
        }
    }
}
