//! The loop: reads, runs, and hands what comes of it to be shown.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use super::backend::Backend;
use super::catalog::{self, Catalog};
use super::commands;
use super::editor::{Editor, Read, prompt};
use super::input::{
    BYTE_ORDER_MARK, MAX_PENDING_BYTES, PlainWord, next_line, plain_word, read_line, script_lines, too_long,
};
use super::interrupts::Interrupts;
use super::last_error::LastError;
use super::output::Terminal;
use super::output_file::OutputFile;
use super::pager::Pager;
use super::preferences::Preferences;
use super::reports::Reports;
use super::splitter::{Item, Script, Splitter};
use super::text::{Line, Style};
use super::theme::Theme;
use super::values::Values;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::render::{Expanded, Format, sanitize};

/// What the caller decides about a shell.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What the greeting says is read, such as the data directory.
    pub title: String,
    /// How results are shown at first; when not set, as the user's file says.
    pub format: Option<Format>,
    /// Whether a statement that fails ends a script; else the rest still runs.
    pub stop_on_error: bool,
    /// What `\report` asks.
    pub reports: Option<Arc<dyn Reports>>,
    /// The server to connect to at first.
    pub server: Option<String>,
    /// Asks for a password on the terminal, by the text to ask with.
    pub ask_password: Option<fn(&str) -> Result<String>>,
}

/// How a shell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Statements and commands of a script that failed; in a terminal each was shown, and none counts.
    pub failed: usize,
}

/// Runs a shell on the process's streams until they end or the user quits.
///
/// On a terminal this is a line editor, and errors are only shown. Otherwise it is a script without prompts: every statement
/// runs even when an earlier one failed (all of them only read), unless [`Options::stop_on_error`] says otherwise.
pub async fn run(engine: Option<&Arc<Engine>>, options: Options) -> Result<Summary> {
    let terminal = Terminal::detect();
    let (preferences, mistakes) =
        if terminal.interactive { Preferences::read() } else { (Preferences::default(), Vec::new()) };
    let terminal = terminal.with_theme(preferences.theme);
    let backend = match (&options.server, engine) {
        (Some(place), _) => super::connecting::connect(place, options.ask_password).await?,
        (None, Some(engine)) => Backend::local(engine),
        (None, None) => return Err(Error::internal("a shell has nothing to ask")),
    };
    let mut shell = Shell {
        backend: Arc::new(backend),
        engine: engine.cloned(),
        names: Arc::default(),
        terminal,
        columns: None,
        rows: None,
        format: options.format.or(preferences.format).unwrap_or_default(),
        expanded: if terminal.interactive { Expanded::Auto } else { Expanded::Off },
        null: preferences.null.clone(),
        pager: preferences.pager.clone(),
        theme: preferences.theme,
        timing: preferences.timing,
        failed: 0,
        block_failed: false,
        pending: String::new(),
        last: None,
        last_error: None,
        output: None,
        interrupts: Interrupts::new(),
        is_live: false,
        depth: 0,
        stop_on_error: options.stop_on_error,
        title: options.title.clone(),
        reports: options.reports.clone(),
        ask_password: options.ask_password,
    };
    for mistake in mistakes {
        shell.warn(&mistake);
    }
    let ended = match terminal.interactive {
        true => shell.interactive(&preferences).await,
        false => shell.script().await,
    };
    let failed = if terminal.interactive { 0 } else { shell.failed };
    match ended {
        Err(error) if !error.is_closed_pipe() => Err(error),
        _ => Ok(Summary { failed }),
    }
}

/// A shell at work.
pub(super) struct Shell {
    pub backend: Arc<Backend>,
    /// The data directory that the shell was started on, where it was.
    pub engine: Option<Arc<Engine>>,
    /// What completion and highlighting know, read in the background.
    pub names: Arc<ArcSwap<Catalog>>,
    pub terminal: Terminal,
    /// The width of the terminal, when it is known.
    pub columns: Option<usize>,
    /// Its height.
    pub rows: Option<usize>,
    pub format: Format,
    pub expanded: Expanded,
    /// What stands for NULL in tables.
    pub null: Option<String>,
    pub pager: Pager,
    pub theme: Theme,
    pub timing: bool,
    pub failed: usize,
    /// Whether a statement of the open transaction has failed.
    pub block_failed: bool,
    /// The last statement, for `\watch` and `\e`.
    pub last: Option<Script>,
    pub last_error: Option<LastError>,
    /// Where results go instead of the terminal.
    pub output: Option<OutputFile>,
    pub interrupts: Interrupts,
    /// Whether a command runs that Ctrl-C ends, and that is no failure.
    pub is_live: bool,
    /// How many files run each other.
    pub depth: usize,
    /// Whether a script ends with what fails first.
    stop_on_error: bool,
    /// What is read, for people.
    pub title: String,
    pub ask_password: Option<fn(&str) -> Result<String>>,
    /// The statement in the making, for `\p`.
    pub pending: String,
    pub reports: Option<Arc<dyn Reports>>,
}

/// What happens after an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    ForgetPending,
    /// Goes on as if the user had typed this.
    Typed(String),
    /// Statements run elsewhere from now on.
    Moved,
    /// Ctrl-C stopped it, and with it all that was entered.
    Stopped,
    Quit,
}

impl Shell {
    async fn interactive(&mut self, preferences: &Preferences) -> Result<()> {
        let values = Values::of(self.beside().await);
        let mut editor = Editor::new(self.names.clone(), values, preferences, self.interrupts.clone())?;
        self.read_names();
        self.say(&[Line::of(
            Style::Plain,
            format!(
                "spanhouse {}, reading {}\nSQL ends with ;  \\? lists the commands, \\q quits",
                env!("CARGO_PKG_VERSION"),
                self.title
            ),
        )])?;
        let mut splitter = Splitter::default();
        let mut entry = String::new();
        // Lines that come from elsewhere than the terminal, the next one last.
        let mut typed: Vec<String> = Vec::new();
        let mut presses = 0;
        // Whether they were typed after the Ctrl-C that stops what was entered before them.
        let mut typed_since = false;
        self.interrupts.listen()?;
        loop {
            let in_transaction = self.backend.in_transaction();
            let line = match typed.pop() {
                Some(line) => {
                    let mut shown = Line::of(Style::Bold, prompt(splitter.waits_for(), in_transaction));
                    shown.push(Style::Dim, sanitize(&line));
                    self.say(&[shown])?;
                    line
                }
                None => {
                    let (back, read) = read_line(editor, splitter, in_transaction, self.terminal.palette).await?;
                    (editor, splitter) = back;
                    match read? {
                        Read::Line { line, more, presses: before, is_stopped } => {
                            typed.extend(more.into_iter().rev());
                            presses = before;
                            typed_since = is_stopped;
                            line
                        }
                        Read::Interrupted => {
                            splitter.reset();
                            entry.clear();
                            continue;
                        }
                        Read::End => return Ok(()),
                    }
                }
            };
            (self.columns, self.rows) = editor.size();
            match plain_word(&line).filter(|_| splitter.waits_for().is_none()) {
                Some(PlainWord::Quit) => return Ok(()),
                Some(PlainWord::Help) => {
                    self.say(&[Line::of(Style::Plain, "\\? lists the commands, \\h what this SQL has, \\q quits")])?;
                    continue;
                }
                None => {}
            }
            let items = splitter.push_line(&line);
            self.pending = splitter.pending().to_owned();
            entry.push_str(&line);
            entry.push('\n');
            if splitter.waits_for().is_none() {
                editor.remember(&entry);
                entry.clear();
            }
            let mut is_stopped = items.is_empty() && self.interrupts.count() > presses;
            for item in items {
                match self.cancellable(&item, presses).await? {
                    Next::GoOn => {}
                    Next::Stopped => {
                        is_stopped = true;
                        break;
                    }
                    Next::ForgetPending => {
                        splitter.reset();
                        entry.clear();
                    }
                    Next::Typed(text) => {
                        splitter.reset();
                        entry.clear();
                        // What was pressed in the editor was meant for it.
                        presses = self.interrupts.count();
                        let lines: Vec<String> = script_lines(&text).map(str::to_owned).collect();
                        typed.extend(lines.into_iter().rev());
                    }
                    Next::Moved => {
                        editor.set_values(Values::of(self.beside().await));
                        self.read_names();
                    }
                    Next::Quit => return Ok(()),
                }
            }
            if is_stopped {
                splitter.reset();
                entry.clear();
                if !std::mem::take(&mut typed_since) {
                    typed.clear();
                }
                presses = self.interrupts.count();
            }
            if splitter.pending().len() > MAX_PENDING_BYTES {
                splitter.reset();
                self.report(&too_long(), None, None);
            }
        }
    }

    /// A session beside this one; where there is no second, this one.
    async fn beside(&self) -> Arc<Backend> {
        self.backend.another().await.map_or_else(|_| self.backend.clone(), Arc::new)
    }

    /// Reads what completion offers, in the background.
    fn read_names(&self) {
        let reports = self.reports.as_ref().map(|reports| reports.list()).unwrap_or_default();
        let (backend, names) = (self.backend.clone(), self.names.clone());
        tokio::spawn(async move {
            // Without a second session completion offers what it did before.
            if let Ok(own) = backend.another().await {
                catalog::load(Arc::new(own), reports, names).await;
            }
        });
    }

    async fn script(&mut self) -> Result<()> {
        let mut splitter = Splitter::default();
        let (mut is_first, mut is_last) = (true, false);
        while !is_last {
            let Some(line) = next_line()? else { break };
            let line = if is_first { line.trim_start_matches(BYTE_ORDER_MARK) } else { &line };
            is_first = false;
            let mut items = splitter.push_line(line);
            if splitter.pending().len() > MAX_PENDING_BYTES {
                return Err(too_long());
            }
            is_last = self.items(&mut items, &mut splitter).await?;
        }
        if !is_last && let Some(rest) = splitter.finish() {
            self.item(&Item::Statement(rest.clone()), Some(rest.line)).await?;
        }
        Ok(())
    }

    /// Runs a script's items; tells whether it ends there.
    async fn items(&mut self, items: &mut Vec<Item>, splitter: &mut Splitter) -> Result<bool> {
        for item in items.drain(..) {
            self.pending = splitter.pending().to_owned();
            match self.item_of_script(&item).await? {
                Next::Quit => return Ok(true),
                Next::ForgetPending => splitter.reset(),
                Next::GoOn | Next::Typed(_) | Next::Moved | Next::Stopped => {}
            }
            if self.stops() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a script is to end because something in it failed.
    pub fn stops(&self) -> bool {
        self.stop_on_error && !self.terminal.interactive && self.failed > 0
    }

    /// Runs an item of a file.
    pub async fn item_of_script(&mut self, item: &Item) -> Result<Next> {
        let line = match item {
            Item::Statement(script) => script.line,
            Item::Command { line, .. } => *line,
        };
        self.item(item, Some(line)).await
    }

    /// Runs a statement or a command and reports its failure; fails itself only when the output does.
    pub async fn item(&mut self, item: &Item, line: Option<usize>) -> Result<Next> {
        let started = Instant::now();
        let done = match item {
            Item::Statement(script) => {
                self.last = Some(script.clone());
                self.statement(script).await.map(|()| Next::GoOn)
            }
            Item::Command { text, .. } => match commands::parse(text) {
                Ok(command) => self.command(command).await,
                Err(error) => Err(error),
            },
        };
        let next = match done {
            Ok(next) => next,
            Err(error) if error.is_closed_pipe() => return Err(error),
            Err(error) => {
                self.is_live = false;
                let script = match item {
                    Item::Statement(script) => script.clone(),
                    Item::Command { text, line } => Script { text: text.clone(), line: *line, expanded: false },
                };
                self.report(&error, Some(&script), line);
                Next::GoOn
            }
        };
        if matches!(item, Item::Statement(_)) {
            self.say_time(started)?;
        }
        Ok(next)
    }
}
