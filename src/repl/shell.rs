//! The loop: reads, runs, and hands what comes of it to be shown.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use super::catalog::{self, Catalog};
use super::commands;
use super::editor::{Editor, Read};
use super::input::{MAX_PENDING_BYTES, PlainWord, next_line, plain_word, read_line, too_long};
use super::output::Terminal;
use super::reports::Reports;
use super::splitter::{Item, Script, Splitter};
use super::text::{Line, Style};
use super::values::Values;
use crate::engine::{Engine, Outcome, Session};
use crate::error::{Error, Kind, Result};
use crate::render::{self, Expanded, Format};

/// What the caller decides about a shell.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What the greeting says is read, such as the data directory.
    pub title: String,
    pub format: Format,
    /// Whether a statement that fails ends a script; else the rest still runs.
    pub stop_on_error: bool,
    /// What `\report` asks.
    pub reports: Option<Arc<dyn Reports>>,
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
pub async fn run(engine: &Arc<Engine>, options: Options) -> Result<Summary> {
    let terminal = Terminal::detect();
    let mut shell = Shell {
        session: engine.session(),
        terminal,
        columns: None,
        format: options.format,
        expanded: if terminal.interactive { Expanded::Auto } else { Expanded::Off },
        timing: false,
        failed: 0,
        block_failed: false,
        pending: String::new(),
        reports: options.reports.clone(),
    };
    let ended = match terminal.interactive {
        true => shell.interactive(engine, &options).await,
        false => shell.script(&options).await,
    };
    let failed = if terminal.interactive { 0 } else { shell.failed };
    match ended {
        Err(error) if !error.is_closed_pipe() => Err(error),
        _ => Ok(Summary { failed }),
    }
}

/// A shell at work.
pub(super) struct Shell {
    pub session: Session,
    pub terminal: Terminal,
    /// The width of the terminal, when it is known.
    pub columns: Option<usize>,
    pub format: Format,
    pub expanded: Expanded,
    pub timing: bool,
    pub failed: usize,
    /// Whether a statement of the open transaction has failed.
    block_failed: bool,
    /// The statement in the making, for `\p`.
    pub pending: String,
    pub reports: Option<Arc<dyn Reports>>,
}

/// What happens after an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    ForgetPending,
    Quit,
}

impl Shell {
    async fn interactive(&mut self, engine: &Arc<Engine>, options: &Options) -> Result<()> {
        let names = Arc::new(ArcSwap::from_pointee(Catalog::default()));
        let mut editor = Editor::new(names.clone(), Values::of(engine.session()), self.terminal.colour)?;
        let reports = self.reports.as_ref().map(|reports| reports.list()).unwrap_or_default();
        tokio::spawn(catalog::load(engine.session(), reports, names));
        self.say(&[Line::of(
            Style::Plain,
            format!(
                "spanhouse {}, reading {}\nSQL ends with ;  \\? lists the commands, \\q quits",
                env!("CARGO_PKG_VERSION"),
                options.title
            ),
        )])?;
        let mut splitter = Splitter::default();
        let mut entry = String::new();
        loop {
            let (back, read) = read_line(editor, splitter, self.session.in_transaction()).await?;
            (editor, splitter) = back;
            let line = match read? {
                Read::Line(line) => line,
                Read::Interrupted => {
                    splitter.reset();
                    entry.clear();
                    continue;
                }
                Read::End => return Ok(()),
            };
            self.columns = editor.columns();
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
            for item in items {
                match self.cancellable(&item).await? {
                    Next::GoOn => {}
                    Next::ForgetPending => {
                        splitter.reset();
                        entry.clear();
                    }
                    Next::Quit => return Ok(()),
                }
            }
            if splitter.pending().len() > MAX_PENDING_BYTES {
                splitter.reset();
                self.report(&too_long(), None, None);
            }
        }
    }

    /// Runs an item that Ctrl-C stops.
    async fn cancellable(&mut self, item: &Item) -> Result<Next> {
        let cancelled = tokio::select! {
            biased;
            signal = tokio::signal::ctrl_c() => signal.map_err(|error| Error::io("waiting for Ctrl-C", error)),
            next = self.item(item, None) => return next,
        };
        cancelled?;
        self.block_failed |= self.session.in_transaction();
        // The terminal has echoed `^C`, perhaps in the middle of a line of output.
        self.say(&[Line::default()])?;
        self.report(&Error::new(Kind::Cancelled, "canceling statement due to user request"), None, None);
        Ok(Next::GoOn)
    }

    async fn script(&mut self, options: &Options) -> Result<()> {
        let mut splitter = Splitter::default();
        let mut is_last = false;
        while !is_last {
            let Some(line) = next_line()? else { break };
            let mut items = splitter.push_line(&line);
            if splitter.pending().len() > MAX_PENDING_BYTES {
                return Err(too_long());
            }
            is_last = self.items(&mut items, &mut splitter, options).await?;
        }
        if !is_last && let Some(rest) = splitter.finish() {
            self.item(&Item::Statement(rest.clone()), Some(rest.line)).await?;
        }
        Ok(())
    }

    /// Runs a script's items; tells whether it ends there.
    async fn items(&mut self, items: &mut Vec<Item>, splitter: &mut Splitter, options: &Options) -> Result<bool> {
        for item in items.drain(..) {
            let line = match &item {
                Item::Statement(script) => script.line,
                Item::Command { line, .. } => *line,
            };
            self.pending = splitter.pending().to_owned();
            match self.item(&item, Some(line)).await? {
                Next::Quit => return Ok(true),
                Next::ForgetPending => splitter.reset(),
                Next::GoOn => {}
            }
            if options.stop_on_error && self.failed > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Runs a statement or a command and reports its failure; fails itself only when the output does.
    async fn item(&mut self, item: &Item, line: Option<usize>) -> Result<Next> {
        let started = Instant::now();
        let done = match item {
            Item::Statement(script) => self.statement(script).await.map(|()| Next::GoOn),
            Item::Command { text, .. } => match commands::parse(text) {
                Ok(command) => self.command(command).await,
                Err(error) => Err(error),
            },
        };
        let next = match done {
            Ok(next) => next,
            Err(error) if error.is_closed_pipe() => return Err(error),
            Err(error) => {
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

    /// Runs a text of SQL and shows what it gives.
    pub async fn statement(&mut self, script: &Script) -> Result<()> {
        let done = self.statements(script).await;
        self.block_failed |= done.is_err() && self.session.in_transaction();
        done
    }

    async fn statements(&mut self, script: &Script) -> Result<()> {
        for statement in self.session.prepare(&script.text).await? {
            if self.block_failed {
                self.end_failed_block(&statement.text).await?;
                self.say(&[Line::of(Style::Plain, "ROLLBACK")])?;
                continue;
            }
            match self.session.execute(&statement, &[]).await? {
                Outcome::Rows(rows) => {
                    let expanded = if script.expanded { Expanded::On } else { self.expanded };
                    let is_plan = rows.tag == "EXPLAIN";
                    let (schema, stream) = render::with_plan_lines(self.format, is_plan, rows.schema, rows.stream);
                    self.show(self.format, expanded, schema, stream).await?;
                }
                Outcome::Command(tag) => self.say(&[Line::of(Style::Plain, tag)])?,
            }
        }
        Ok(())
    }

    /// Ends a transaction in which a statement failed; only its end is taken, as in PostgreSQL.
    async fn end_failed_block(&mut self, text: &str) -> Result<()> {
        let word = text.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default().to_ascii_lowercase();
        if !["commit", "end", "rollback", "abort"].contains(&word.as_str()) {
            let message = "current transaction is aborted, commands ignored until end of transaction block";
            return Err(Error::bad_input(message).with_sqlstate("25P02").with_hint("ROLLBACK ends it"));
        }
        self.block_failed = false;
        for statement in self.session.prepare("ROLLBACK").await? {
            self.session.execute(&statement, &[]).await?;
        }
        Ok(())
    }
}
