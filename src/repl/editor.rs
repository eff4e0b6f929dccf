//! The line editor: rustyline with our completion, colours and history.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{ColorMode, CompletionType, Config, Context};

use super::catalog::Catalog;
use super::completer::complete;
use super::keywords;
use super::lexer::{Open, Scanner, TokenKind};
use super::splitter::Splitter;
use super::text::Style;
use super::values::{Values, value_place};
use crate::error::{Error, Result};

/// Statements that the history keeps: years of daily use, and still read in a blink.
const MAX_HISTORY_ENTRIES: usize = 5_000;
/// A statement longer than this (a generated list, say) is not worth a place in the history.
const MAX_HISTORY_ENTRY_BYTES: usize = 64 << 10;

/// What a person did at the prompt.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Line(String),
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D on an empty line.
    End,
}

/// The prompt and all that it remembers.
pub struct Editor {
    inner: rustyline::Editor<Helper, DefaultHistory>,
    history: Option<PathBuf>,
    colour: bool,
}

impl Editor {
    /// Opens the prompt and reads the history, where there is one.
    pub fn new(catalog: Arc<ArcSwap<Catalog>>, values: Values, colour: bool) -> Result<Self> {
        let config = Config::builder()
            .max_history_size(MAX_HISTORY_ENTRIES)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(failed)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .color_mode(if colour { ColorMode::Enabled } else { ColorMode::Disabled })
            .bracketed_paste(true)
            .build();
        let mut inner = rustyline::Editor::with_config(config).map_err(failed)?;
        inner.set_helper(Some(Helper { catalog, values, pending: String::new(), scanner: Scanner::default(), colour }));
        let mut editor = Self { inner, history: history_file(), colour };
        if let Some(file) = &editor.history {
            // A history that cannot be read is only not offered.
            let _ = editor.inner.load_history(file);
        }
        Ok(editor)
    }

    /// Shows the prompt and waits for a line.
    pub fn read(&mut self, splitter: &Splitter, in_transaction: bool) -> Result<Read> {
        if let Some(helper) = self.inner.helper_mut() {
            helper.pending = splitter.pending().to_owned();
            helper.scanner = splitter.scanner().clone();
        }
        let raw = prompt(splitter.waits_for(), in_transaction);
        let mut styled = String::new();
        Style::Bold.paint(&raw, self.colour, &mut styled);
        match self.inner.readline(&(raw, styled)) {
            Ok(line) => Ok(Read::Line(line)),
            Err(ReadlineError::Interrupted) => Ok(Read::Interrupted),
            Err(ReadlineError::Eof) => Ok(Read::End),
            Err(error) => Err(failed(error)),
        }
    }

    /// Keeps a statement or command for this session and the next.
    pub fn remember(&mut self, entry: &str) {
        let entry = entry.trim_end();
        if entry.len() > MAX_HISTORY_ENTRY_BYTES || !matches!(self.inner.add_history_entry(entry), Ok(true)) {
            return;
        }
        if let Some(file) = &self.history {
            // Appending keeps what another shell wrote meanwhile. A full disk must not stop the shell.
            let _ = self.inner.append_history(file);
        }
    }

    /// The terminal's columns, where it tells.
    pub fn columns(&mut self) -> Option<usize> {
        self.inner.dimensions().map(|(columns, _)| usize::from(columns)).filter(|&columns| columns > 0)
    }
}

/// The prompt; a continuation shows what is still open, and a star an open transaction, as in psql.
fn prompt(waits_for: Option<Open>, in_transaction: bool) -> String {
    let mark = match waits_for {
        None => "=",
        Some(Open::Nothing) => "-",
        Some(Open::SingleQuote) => "'",
        Some(Open::DoubleQuote) => "\"",
        Some(Open::DollarQuote) => "$",
        Some(Open::Comment) => "*",
        Some(Open::Parenthesis) => "(",
    };
    format!("spanhouse{mark}{}> ", if in_transaction { "*" } else { "" })
}

fn failed(error: ReadlineError) -> Error {
    Error::new(crate::error::Kind::Io, format!("the terminal: {error}")).with_source(error)
}

/// `spanhouse/history` in the user's state folder; `None` when there is no such folder.
fn history_file() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")))?;
    let folder = state.join("spanhouse");
    std::fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}

/// What rustyline asks while a line is typed.
struct Helper {
    catalog: Arc<ArcSwap<Catalog>>,
    values: Values,
    pending: String,
    /// The state at the end of `pending`.
    scanner: Scanner,
    colour: bool,
}

impl rustyline::Helper for Helper {}
impl Validator for Helper {}
impl Hinter for Helper {
    type Hint = String;
}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let completion = match value_place(&self.pending, line, at) {
            Some(place) => self.values.complete(&place),
            None => complete(&self.catalog.load(), &self.pending, line, at),
        };
        let pair = |text: String| Pair { display: crate::render::sanitize(&text).into_owned(), replacement: text };
        Ok((completion.start, completion.candidates.into_iter().map(pair).collect()))
    }
}

impl Highlighter for Helper {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if !self.colour {
            return Cow::Borrowed(line);
        }
        Cow::Owned(highlight(line, &mut self.scanner.clone()))
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.colour && kind != CmdKind::MoveCursor
    }
}

/// The line with colours; `scanner` knows what is open before it.
fn highlight(line: &str, scanner: &mut Scanner) -> String {
    let mut out = String::with_capacity(2 * line.len());
    for token in scanner.scan(line) {
        let text = token.text(line);
        let style = match token.kind {
            TokenKind::Comment => Style::Dim,
            TokenKind::Text => Style::Text,
            TokenKind::Number => Style::Number,
            TokenKind::Command | TokenKind::Go => Style::Bold,
            TokenKind::Word if keywords::is_keyword(text) => Style::Keyword,
            _ => Style::Plain,
        };
        style.paint(text, true, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_leave_the_text_as_it_is() {
        let line = "select 'a', 1, name from spans -- done";
        let coloured = highlight(line, &mut Scanner::default());
        assert_eq!(
            coloured,
            "\x1b[1;34mselect\x1b[0m \x1b[32m'a'\x1b[0m, \x1b[36m1\x1b[0m, name \x1b[1;34mfrom\x1b[0m spans \x1b[2m-- done\x1b[0m"
        );
        let mut open = Scanner::default();
        open.scan("select 'a");
        assert_eq!(highlight("from' from", &mut open), "\x1b[32mfrom'\x1b[0m \x1b[1;34mfrom\x1b[0m");
    }

    #[test]
    fn all_prompts_are_as_wide() {
        let states = [None, Some(Open::Nothing), Some(Open::SingleQuote), Some(Open::Comment), Some(Open::Parenthesis)];
        assert!(states.iter().all(|state| prompt(*state, false).len() == prompt(None, false).len()));
    }
}
