//! The line editor: rustyline with our completion, colours and history.

use std::borrow::Cow;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustyline::completion::{Completer, Pair};
use rustyline::config::Configurer;
use rustyline::error::ReadlineError;
use rustyline::highlight::{CmdKind, Highlighter};
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{ColorMode, CompletionType, Config, Context, EditMode, Event, EventHandler};

use super::catalog::Catalog;
use super::commands::sql_after;
use super::completer::{Completion, complete};
use super::highlight::highlight;
use super::interrupts::Interrupts;
use super::lexer::{Open, Scanner};
use super::preferences::{Keys, Preferences};
use super::splitter::Splitter;
use super::text::{Palette, Style, width};
use super::typeahead::{Entered, Typeahead};
use super::values::{Values, value_place};
use crate::error::{Error, Result};

/// A statement longer than this (a generated list, say) is not worth a place in the history.
const MAX_HISTORY_ENTRY_BYTES: usize = 64 << 10;

/// What stands before a condition that a command takes, where names are completed.
const CONDITION: &str = "SELECT * FROM span_tree WHERE ";

/// What a person did at the prompt.
#[derive(Debug, PartialEq, Eq)]
pub enum Read {
    Line {
        line: String,
        /// Whole lines that were typed before the first was taken.
        more: Vec<String>,
        /// The presses of Ctrl-C before it was entered: another stops what it asks.
        presses: u64,
        /// Whether it was pressed since, before `more` was typed.
        is_stopped: bool,
    },
    /// Ctrl-C.
    Interrupted,
    /// Ctrl-D on an empty line.
    End,
}

/// The prompt and all that it remembers.
pub struct Editor {
    inner: rustyline::Editor<Helper, DefaultHistory>,
    history: Option<PathBuf>,
    ahead: Typeahead,
    /// What the next line begins with: it was typed before there was a prompt.
    begun: String,
}

impl Editor {
    /// Opens the prompt and reads the history, where there is one.
    pub fn new(
        catalog: Arc<ArcSwap<Catalog>>,
        values: Values,
        preferences: &Preferences,
        interrupts: Interrupts,
    ) -> Result<Self> {
        let config = Config::builder()
            .max_history_size(preferences.history_size)
            .and_then(|config| config.history_ignore_dups(true))
            .map_err(failed)?
            .history_ignore_space(true)
            .completion_type(CompletionType::List)
            .completion_show_all_if_ambiguous(true)
            .edit_mode(match preferences.keys {
                Keys::Emacs => EditMode::Emacs,
                Keys::Vi => EditMode::Vi,
            })
            .bracketed_paste(true)
            .build();
        let mut inner = rustyline::Editor::with_config(config).map_err(failed)?;
        let palette = Palette::default();
        let ahead = Typeahead::new(interrupts);
        inner.bind_sequence(Event::Any, EventHandler::Conditional(Box::new(ahead.clone())));
        inner.set_helper(Some(Helper {
            catalog,
            values,
            pending: String::new(),
            scanner: Scanner::default(),
            palette,
            ahead: ahead.clone(),
        }));
        let mut editor = Self { inner, history: history_file(), ahead, begun: String::new() };
        if let Some(file) = &editor.history {
            // A history that cannot be read is only not offered.
            let _ = editor.inner.load_history(file);
        }
        Ok(editor)
    }

    /// Takes values from elsewhere from now on.
    pub fn set_values(&mut self, values: Values) {
        if let Some(helper) = self.inner.helper_mut() {
            helper.values = values;
        }
    }

    /// Shows the prompt and waits for a line.
    pub fn read(&mut self, splitter: &Splitter, in_transaction: bool, palette: Palette) -> Result<Read> {
        self.inner.set_color_mode(if palette.is_coloured() { ColorMode::Enabled } else { ColorMode::Disabled });
        if let Some(helper) = self.inner.helper_mut() {
            helper.palette = palette;
            helper.pending = splitter.pending().to_owned();
            helper.scanner = splitter.scanner().clone();
        }
        let raw = prompt(splitter.waits_for(), in_transaction);
        let mut styled = String::new();
        Style::Bold.paint(&raw, palette, &mut styled);
        self.ahead.begin();
        let begun = std::mem::take(&mut self.begun);
        let prompt_columns = width(&raw);
        let read = self.inner.readline_with_initial(&(raw, styled), (&begun, ""));
        match (self.ahead.end(), read) {
            (Some(entered), _) => Ok(self.entered(entered, prompt_columns)),
            (None, Ok(line)) => {
                Ok(Read::Line { line, more: Vec::new(), presses: self.ahead.presses(), is_stopped: false })
            }
            (None, Err(ReadlineError::Interrupted)) => Ok(Read::Interrupted),
            (None, Err(ReadlineError::Eof)) => Ok(Read::End),
            (None, Err(error)) => Err(failed(error)),
        }
    }

    /// What was entered, with the cursor below it.
    fn entered(&mut self, entered: Entered, prompt_columns: usize) -> Read {
        if let (Some(columns), _) = self.size() {
            let row = |text: &str| rows_above_end(prompt_columns, text, columns);
            let below = row(&entered.line) - row(&entered.line[..entered.cursor]);
            // The editor has gone down one row only, from where the cursor was.
            let _ = write!(io::stdout(), "{}", "\n".repeat(below)).and_then(|()| io::stdout().flush());
        }
        let mut more: Vec<String> = entered.typed.split('\n').map(str::to_owned).collect();
        self.begun = more.pop().unwrap_or_default();
        Read::Line { line: entered.line, more, presses: entered.presses, is_stopped: entered.is_stopped }
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

    /// The terminal's columns and rows, where it tells.
    pub fn size(&mut self) -> (Option<usize>, Option<usize>) {
        let size = self.inner.dimensions().map(|(columns, rows)| (usize::from(columns), usize::from(rows)));
        let known = |length: usize| Some(length).filter(|length| *length > 0);
        size.map_or((None, None), |(columns, rows)| (known(columns), known(rows)))
    }
}

/// The rows that a text after a prompt takes above its last.
fn rows_above_end(prompt_columns: usize, text: &str, columns: usize) -> usize {
    let mut lines = text.split('\n');
    let first = (prompt_columns + lines.next().map_or(0, width)) / columns;
    first + lines.map(|line| 1 + width(line) / columns).sum::<usize>()
}

/// The prompt; a continuation shows what is still open, and a star an open transaction, as in psql.
pub fn prompt(waits_for: Option<Open>, in_transaction: bool) -> String {
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
    palette: Palette,
    ahead: Typeahead,
}

impl rustyline::Helper for Helper {}

impl Validator for Helper {
    fn validate(&self, context: &mut ValidationContext) -> rustyline::Result<ValidationResult> {
        Ok(match self.ahead.enter(context.input()) {
            // A line that is not yet accepted, with nothing to tell why: reading goes on until no key is left.
            true => ValidationResult::Invalid(Some(String::new())),
            false => ValidationResult::Valid(None),
        })
    }
}

impl Hinter for Helper {
    type Hint = String;
}

impl Completer for Helper {
    type Candidate = Pair;

    fn complete(&self, line: &str, at: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let completion = match sql_after(line.trim_start()).filter(|_| self.pending.is_empty()) {
            Some(offset) => self.in_command(line, at, line.len() - line.trim_start().len() + offset),
            None => self.in_sql(&self.pending, line, at),
        };
        let pair = |text: String| Pair { display: crate::render::sanitize(&text).into_owned(), replacement: text };
        Ok((completion.start, completion.candidates.into_iter().map(pair).collect()))
    }
}

impl Helper {
    fn in_sql(&self, pending: &str, line: &str, at: usize) -> Completion {
        match value_place(pending, line, at) {
            Some(place) => self.values.complete(&place),
            None => complete(&self.catalog.load(), pending, line, at),
        }
    }

    /// Completes a command that takes SQL from byte `sql` on.
    fn in_command(&self, line: &str, at: usize, sql: usize) -> Completion {
        if at <= sql {
            return complete(&self.catalog.load(), "", line, at);
        }
        let completion = self.in_sql(CONDITION, &line[sql..], at - sql);
        Completion { start: completion.start + sql, ..completion }
    }
}

impl Highlighter for Helper {
    fn highlight<'l>(&self, line: &'l str, _: usize) -> Cow<'l, str> {
        if !self.palette.is_coloured() {
            return Cow::Borrowed(line);
        }
        Cow::Owned(highlight(line, &mut self.scanner.clone(), &self.catalog.load(), self.palette))
    }

    fn highlight_char(&self, _: &str, _: usize, kind: CmdKind) -> bool {
        self.palette.is_coloured() && kind != CmdKind::MoveCursor
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rows_of_an_entry_are_known() {
        assert_eq!(rows_above_end(11, "select 1;", 80), 0);
        assert_eq!(rows_above_end(11, &"x".repeat(100), 40), 2);
        assert_eq!(rows_above_end(11, "select\n1,\n2", 40), 2);
    }

    #[test]
    fn all_prompts_are_as_wide() {
        let states = [None, Some(Open::Nothing), Some(Open::SingleQuote), Some(Open::Comment), Some(Open::Parenthesis)];
        assert!(states.iter().all(|state| prompt(*state, false).len() == prompt(None, false).len()));
    }
}
