//! Lines that come in, from a person or a pipe.

use std::io::{self, BufRead, Read as _};

use super::editor::{Editor, Read};
use super::splitter::Splitter;
use super::text::Palette;
use crate::error::{Error, Kind, Result};

/// A statement that is longer than this cannot be meant; the engine refuses it long before.
pub(super) const MAX_PENDING_BYTES: usize = 32 << 20;

/// What some editors begin a file with.
pub(super) const BYTE_ORDER_MARK: char = '\u{feff}';

/// Waits for a line on a thread where waiting is allowed, and gives editor and splitter back.
pub(super) async fn read_line(
    mut editor: Editor,
    splitter: Splitter,
    in_transaction: bool,
    palette: Palette,
) -> Result<((Editor, Splitter), Result<Read>)> {
    let task = tokio::task::spawn_blocking(move || {
        let read = editor.read(&splitter, in_transaction, palette);
        ((editor, splitter), read)
    });
    task.await.map_err(|error| Error::internal(format!("the line editor: {error}")))
}

/// The lines of a file without their ends, which may be those of Windows, and without the mark that some editors begin a file with.
pub(super) fn script_lines(text: &str) -> impl Iterator<Item = &str> {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text).lines()
}

/// The next line of standard input without its end, which may be that of Windows; a longer one than a statement may be is refused.
pub(super) fn next_line() -> Result<Option<String>> {
    let mut line = Vec::new();
    let limit = MAX_PENDING_BYTES as u64 + 1;
    let read = io::stdin().lock().take(limit).read_until(b'\n', &mut line);
    match read.map_err(|error| Error::io("standard input", error))? {
        0 => return Ok(None),
        n if n as u64 == limit => return Err(too_long()),
        _ => {}
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    String::from_utf8(line).map(Some).map_err(|_| Error::bad_input("standard input is not UTF-8 text"))
}

/// A word that a person types where a statement would begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PlainWord {
    Help,
    Quit,
}

/// Reads `help`, `quit` or `exit` alone on a line.
pub(super) fn plain_word(line: &str) -> Option<PlainWord> {
    match line.trim().trim_end_matches(';').trim_end().to_ascii_lowercase().as_str() {
        "help" => Some(PlainWord::Help),
        "quit" | "exit" => Some(PlainWord::Quit),
        _ => None,
    }
}

/// What a statement of more than [`MAX_PENDING_BYTES`] gets.
pub(super) fn too_long() -> Error {
    Error::new(Kind::TooLarge, format!("the statement is longer than {} MiB", MAX_PENDING_BYTES >> 20))
}
