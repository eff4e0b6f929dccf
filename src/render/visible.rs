//! Output for a terminal, of formats that keep every byte.

use std::io::{self, Write};

use super::sanitize::push_sanitized;

/// A writer that shows control characters instead of sending them: for formats that keep them, on a terminal.
pub struct Visible<W: Write> {
    out: W,
    /// The start of a character whose rest has not come yet.
    rest: Vec<u8>,
}

impl<W: Write> Visible<W> {
    /// Wraps `out`.
    pub fn new(out: W) -> Self {
        Self { out, rest: Vec::new() }
    }
}

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = std::mem::take(&mut self.rest);
        held.extend_from_slice(bytes);
        let mut safe = String::with_capacity(held.len());
        let mut chunks = held.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            for line in chunk.valid().split_inclusive('\n') {
                push_sanitized(line.trim_end_matches('\n'), &mut safe);
                safe.push_str(if line.ends_with('\n') { "\n" } else { "" });
            }
            // At most three bytes: what may yet become a character.
            match chunks.peek().is_none() {
                true => self.rest = chunk.invalid().to_vec(),
                false => safe.push(char::REPLACEMENT_CHARACTER),
            }
        }
        self.out.write_all(safe.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_and_characters_stay_whole() {
        let mut safe = Visible::new(Vec::new());
        for byte in "a\x1b[31m,é日\n\u{9b}x".bytes() {
            safe.write_all(&[byte]).expect("written");
        }
        assert_eq!(String::from_utf8(safe.out).expect("text"), "a\\x1b[31m,é日\n\\x9bx");
    }
}
