//! `COPY … TO STDOUT`: rows as text, CSV or PostgreSQL's binary copy format.

use bytes::{BufMut, BytesMut};
use pgwire::messages::copy::{CopyDone, CopyOutResponse, MESSAGE_TYPE_BYTE_COPY_DATA};

use super::connection::Connection;
use super::cursor::Cursor;
use super::row::BatchEncoder;
use super::sql::{CopyFormat, CopyOptions};
use super::wire::{FLUSH_BYTES, Halt, Stops};
use crate::error::{Error, Kind, Result};
use crate::pg::{CsvStyle, put_csv};

/// What a binary copy begins with: signature, flags, length of the header's extension.
const BINARY_HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

impl Connection {
    /// Copies a whole result out.
    pub(super) async fn copy_out(
        &mut self,
        mut cursor: Cursor,
        options: &CopyOptions,
        stops: &Stops,
    ) -> Result<(), Halt> {
        let names: Vec<String> = cursor.columns().iter().map(|column| column.name.clone()).collect();
        let writer = CopyWriter::new(options, &names)?;
        let code = i16::from(options.format == CopyFormat::Binary);
        self.wire.put(&CopyOutResponse::new(code as i8, names.len() as i16, vec![code; names.len()]));
        if options.header && options.format != CopyFormat::Binary {
            put_copy_data(&mut self.wire.output, |out| writer.put_header(out, &names))?;
        }
        let mut rows = 0;
        loop {
            while self.wire.output.len() < FLUSH_BYTES {
                let Some((batch, row)) = cursor.peek(&mut self.wire, stops).await? else {
                    return self.end_copy(options, rows);
                };
                let before = self.wire.output.len();
                // The borrow of the cursor ends with the row, the wire's buffer is another field.
                put_copy_data(&mut self.wire.output, |out| {
                    out.put_slice(binary_header(options, rows));
                    writer.put_row(out, batch, row)
                })?;
                cursor.pass();
                let written = self.wire.output.len() - before;
                self.wire.sent.add_row(written);
                rows += 1;
            }
            self.wire.flush_attended(stops).await?;
        }
    }

    fn end_copy(&mut self, options: &CopyOptions, rows: u64) -> Result<(), Halt> {
        if options.format == CopyFormat::Binary {
            put_copy_data(&mut self.wire.output, |out| {
                out.put_slice(binary_header(options, rows));
                out.put_i16(-1);
                Ok(())
            })?;
        }
        self.wire.put(&CopyDone::new());
        self.wire.put_complete(format!("COPY {rows}"));
        Ok(())
    }
}

/// What stands before a row, or before the end, after `rows` rows. Clients read PostgreSQL's own framing and no other: the
/// header is in one message with what follows it.
fn binary_header(options: &CopyOptions, rows: u64) -> &'static [u8] {
    if options.format == CopyFormat::Binary && rows == 0 { BINARY_HEADER } else { &[] }
}

/// Writes a `CopyData` message around what `write` gives; nothing stays when that fails.
fn put_copy_data(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut) -> Result<()>) -> Result<()> {
    let start = out.len();
    out.put_u8(MESSAGE_TYPE_BYTE_COPY_DATA);
    out.put_i32(0);
    let written = write(out).and_then(|()| {
        i32::try_from(out.len() - start - 1).map_err(|_| Error::new(Kind::TooLarge, "a row is larger than 2 GiB"))
    });
    match written {
        Ok(length) => out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes()),
        Err(error) => {
            out.truncate(start);
            return Err(error);
        }
    }
    Ok(())
}

/// Writes rows in a copy's format.
struct CopyWriter<'a> {
    options: &'a CopyOptions,
    /// One a column: whether its values are always quoted.
    quoted: Vec<bool>,
}

impl<'a> CopyWriter<'a> {
    fn new(options: &'a CopyOptions, names: &[String]) -> Result<Self> {
        let quoted = match &options.force_quote {
            None => vec![false; names.len()],
            Some(some) if some.is_empty() => vec![true; names.len()],
            Some(some) => {
                if let Some(missing) = some.iter().find(|name| !names.contains(name)) {
                    let message = format!("column \"{missing}\" of FORCE_QUOTE is not copied");
                    return Err(Error::bad_input(message).with_sqlstate("42703"));
                }
                names.iter().map(|name| some.contains(name)).collect()
            }
        };
        Ok(Self { options, quoted })
    }

    fn put_header(&self, out: &mut BytesMut, names: &[String]) -> Result<()> {
        for (index, name) in names.iter().enumerate() {
            if index > 0 {
                out.put_u8(self.options.delimiter);
            }
            self.put_value(out, name.as_bytes(), false);
        }
        out.put_u8(b'\n');
        Ok(())
    }

    fn put_row(&self, out: &mut BytesMut, batch: &BatchEncoder, row: usize) -> Result<()> {
        if self.options.format == CopyFormat::Binary {
            return batch.put_binary_tuple(out, row);
        }
        let mut value = BytesMut::new();
        for column in 0..batch.width() {
            if column > 0 {
                out.put_u8(self.options.delimiter);
            }
            if batch.is_null(row, column) {
                out.put_slice(self.options.null.as_bytes());
                continue;
            }
            value.clear();
            batch.put_cell_text(&mut value, row, column)?;
            self.put_value(out, &value, self.quoted[column]);
        }
        out.put_u8(b'\n');
        Ok(())
    }

    fn put_value(&self, out: &mut BytesMut, value: &[u8], quoted: bool) {
        let CopyOptions { delimiter, quote, escape, ref null, .. } = *self.options;
        match self.options.format {
            CopyFormat::Csv => {
                put_csv(out, value, &CsvStyle { delimiter, quote, escape, null: null.as_bytes() }, quoted);
            }
            _ => self.put_escaped(out, value),
        }
    }

    /// Writes a value of the text format: control characters, backslashes and delimiters escaped.
    fn put_escaped(&self, out: &mut BytesMut, value: &[u8]) {
        let mut copied = 0;
        for (at, byte) in value.iter().enumerate() {
            let escape = match byte {
                b'\\' => b'\\',
                b'\n' => b'n',
                b'\r' => b'r',
                b'\t' => b't',
                0x08 => b'b',
                0x0c => b'f',
                0x0b => b'v',
                byte if *byte == self.options.delimiter => *byte,
                _ => continue,
            };
            out.put_slice(&value[copied..at]);
            out.put_slice(&[b'\\', escape]);
            copied = at + 1;
        }
        out.put_slice(&value[copied..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(options: &CopyOptions, value: &str) -> String {
        let writer = CopyWriter::new(options, &[]).expect("writer");
        let mut out = BytesMut::new();
        writer.put_value(&mut out, value.as_bytes(), false);
        String::from_utf8(out.to_vec()).expect("text")
    }

    fn options(format: CopyFormat, delimiter: u8, null: &str) -> CopyOptions {
        CopyOptions {
            format,
            delimiter,
            null: null.into(),
            header: false,
            quote: b'"',
            escape: b'"',
            force_quote: None,
        }
    }

    #[test]
    fn text_escapes_what_would_end_a_field() {
        let text = options(CopyFormat::Text, b'|', "\\N");
        assert_eq!(value(&text, "a\tb\\c|d\ne"), "a\\tb\\\\c\\|d\\ne");
    }
}
