//! The loop: reads, runs, shows.

use std::io::{self, BufRead, BufWriter, Read as _, Write};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::{Stream, stream};

use super::catalog::{self, Catalog};
use super::commands::{self, Command, HELP};
use super::editor::{Editor, Read};
use super::output::{Terminal, Visible, error_lines, is_closed_pipe};
use super::splitter::{Item, Script, Splitter};
use super::text::{Line, Style, fit, width};
use super::{describe, query, trace, waterfall};
use crate::engine::{Engine, LibraryQuery, Outcome, Session, library};
use crate::error::{Error, Kind, Result};
use crate::render::{self, Expanded, Format, RenderOptions};

/// What the caller decides about a shell.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What the greeting says is read, such as the data directory.
    pub title: String,
    pub format: Format,
    /// Whether a statement that fails ends a script; else the rest still runs.
    pub stop_on_error: bool,
}

/// How a shell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Statements and commands of a script that failed; in a terminal each was shown, and none counts.
    pub failed: usize,
}

/// Drawn of a trace unless all of it is asked for: some screens full.
const DRAWN_SPANS: usize = 200;
/// A statement that is longer than this cannot be meant; the engine refuses it long before.
const MAX_PENDING_BYTES: usize = 32 << 20;
/// Output is written in pieces of this size.
const WRITE_BYTES: usize = 64 << 10;

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
    };
    let ended = match terminal.interactive {
        true => shell.interactive(engine, &options).await,
        false => shell.script(&options).await,
    };
    let failed = if terminal.interactive { 0 } else { shell.failed };
    match ended {
        Err(error) if !is_closed_pipe(&error) => Err(error),
        _ => Ok(Summary { failed }),
    }
}

struct Shell {
    session: Session,
    terminal: Terminal,
    columns: Option<usize>,
    format: Format,
    expanded: Expanded,
    timing: bool,
    failed: usize,
    /// Whether a statement of the open transaction has failed.
    block_failed: bool,
    /// The statement in the making, for `\p`.
    pending: String,
}

/// What happens after an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    ForgetPending,
    Quit,
}

impl Shell {
    async fn interactive(&mut self, engine: &Arc<Engine>, options: &Options) -> Result<()> {
        let names = Arc::new(ArcSwap::from_pointee(Catalog::default()));
        let mut editor = Editor::new(names.clone(), self.terminal.colour)?;
        tokio::spawn(catalog::load(engine.session(), names));
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
            Err(error) if is_closed_pipe(&error) => return Err(error),
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

    fn say_time(&self, started: Instant) -> Result<()> {
        match self.timing {
            true => {
                self.say(&[Line::of(Style::Plain, format!("Time: {:.3} ms", started.elapsed().as_secs_f64() * 1e3))])
            }
            false => Ok(()),
        }
    }

    async fn statement(&mut self, script: &Script) -> Result<()> {
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
                    let zone = self.session.setting("timezone")?;
                    let reader = render::Reader { zone: &zone, is_plan: rows.tag == "EXPLAIN" };
                    let (schema, stream) = render::for_people(self.format, rows.schema, rows.stream, reader);
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

    async fn command(&mut self, command: Command) -> Result<Next> {
        match command {
            Command::Quit => return Ok(Next::Quit),
            Command::ResetPending => return Ok(Next::ForgetPending),
            Command::PrintPending => self.say(&[Line::of(Style::Plain, self.pending.trim_end())])?,
            Command::Relations => self.table(query::RELATIONS, &[]).await?,
            Command::Schemas => self.table(query::SCHEMAS, &[]).await?,
            Command::Functions(pattern) => self.table(query::FUNCTIONS, &[&like(pattern.as_deref())]).await?,
            Command::Describe(relation) => {
                let columns = describe::describe(&self.session, &relation).await?;
                self.show_batches(vec![columns]).await?;
            }
            Command::Timing(value) => {
                self.timing = value.unwrap_or(!self.timing);
                self.say_setting("Timing", if self.timing { "on" } else { "off" })?;
            }
            Command::Expanded(value) => {
                let turned = if self.expanded == Expanded::On { Expanded::Off } else { Expanded::On };
                self.expanded = value.unwrap_or(turned);
                self.say_setting("Expanded display", expanded_name(self.expanded))?;
            }
            Command::Format(value) => {
                self.format = value.unwrap_or(self.format);
                self.say_setting("Output format", self.format.name())?;
            }
            Command::Questions => self.say(&questions())?,
            Command::Run { name, arguments } => self.question(&name, &arguments).await?,
            Command::Trace { id, all } => self.trace(&id, all).await?,
            Command::SqlHelp => self.say(&[Line::of(Style::Plain, include_str!("sql_help.txt").trim_end())])?,
            Command::Help => self.say(&help())?,
        }
        Ok(Next::GoOn)
    }

    async fn question(&mut self, name: &str, arguments: &[(String, String)]) -> Result<()> {
        let arguments: Vec<(&str, &str)> = arguments.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let started = Instant::now();
        let text = LibraryQuery::find(name)?.bind(&arguments)?;
        let asked = self.statement(&Script { text, line: 1, expanded: false }).await;
        asked.map_err(|mut error| {
            // The position is in a text that the user did not write.
            error.position = None;
            error
        })?;
        self.say_time(started)
    }

    async fn trace(&self, typed: &str, all: bool) -> Result<()> {
        let id = trace::find(&self.session, typed).await?;
        let mut spans = trace::spans(&self.session, &id).await?;
        let is_cut = spans.len() > trace::MAX_SPANS;
        spans.truncate(trace::MAX_SPANS);
        let canvas = self.terminal.canvas(self.columns, if all { trace::MAX_SPANS } else { DRAWN_SPANS });
        let mut lines = waterfall::draw(&id, &spans, canvas);
        if is_cut {
            let note = format!("The trace has more spans: these are the {} that started first.", trace::MAX_SPANS);
            lines.push(Line::of(Style::Error, note));
        }
        self.say(&lines)
    }

    /// Shows the result of a query of the shell's own, always as a table.
    async fn table(&self, sql: &str, parameters: &[&str]) -> Result<()> {
        let batches = query::batches(&self.session, sql, parameters).await?;
        self.show_batches(batches).await
    }

    async fn show_batches(&self, batches: Vec<RecordBatch>) -> Result<()> {
        let Some(schema) = batches.first().map(RecordBatch::schema) else {
            return self.say(&[Line::of(Style::Plain, "(0 rows)")]);
        };
        self.show(Format::Table, Expanded::Off, schema, stream::iter(batches.into_iter().map(Ok))).await
    }

    async fn show(
        &self,
        format: Format,
        expanded: Expanded,
        schema: SchemaRef,
        rows: impl Stream<Item = Result<RecordBatch>> + Unpin,
    ) -> Result<()> {
        let options =
            RenderOptions { expanded, width: self.columns, color: self.terminal.colour, ..RenderOptions::default() };
        // A table is harmless by itself; the other formats keep every byte for the programs that read them.
        let out: Box<dyn Write + Send> = match self.terminal.stdout_is_terminal && format != Format::Table {
            true => Box::new(Visible::new(io::stdout())),
            false => Box::new(io::stdout()),
        };
        render::write_all(format, schema, rows, &options, BufWriter::with_capacity(WRITE_BYTES, out)).await?;
        match self.terminal.interactive && format == Format::Table {
            true => self.say(&[Line::default()]),
            false => Ok(()),
        }
    }

    fn say(&self, lines: &[Line]) -> Result<()> {
        let mut text = String::new();
        for line in lines {
            text.push_str(&line.paint(self.terminal.colour));
            text.push('\n');
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Error::io("standard output", error))
    }

    fn say_setting(&self, name: &str, value: &str) -> Result<()> {
        self.say(&[Line::of(Style::Plain, format!("{name} is {value}."))])
    }

    /// Shows an error; `line` is the statement's place in a script.
    fn report(&mut self, error: &Error, script: Option<&Script>, line: Option<usize>) {
        self.failed += 1;
        let lines = error_lines(error, script, line, self.columns.unwrap_or(usize::from(u16::MAX)));
        let text: Vec<String> = lines.iter().map(|line| line.paint(self.terminal.colour)).collect();
        // Nobody is left to tell when the errors' stream is closed.
        let _ = writeln!(io::stderr(), "{}", text.join("\n"));
    }
}

/// Waits for a line on a thread where waiting is allowed, and gives editor and splitter back.
async fn read_line(
    mut editor: Editor,
    splitter: Splitter,
    in_transaction: bool,
) -> Result<((Editor, Splitter), Result<Read>)> {
    let task = tokio::task::spawn_blocking(move || {
        let read = editor.read(&splitter, in_transaction);
        ((editor, splitter), read)
    });
    task.await.map_err(|error| Error::internal(format!("the line editor: {error}")))
}

/// The next line of standard input without its line feed; a longer one than a statement may be is refused.
fn next_line() -> Result<Option<String>> {
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
    }
    String::from_utf8(line).map(Some).map_err(|_| Error::bad_input("standard input is not UTF-8 text"))
}

/// A word that a person types where a statement would begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlainWord {
    Help,
    Quit,
}

/// Reads `help`, `quit` or `exit` alone on a line.
fn plain_word(line: &str) -> Option<PlainWord> {
    match line.trim().trim_end_matches(';').trim_end().to_ascii_lowercase().as_str() {
        "help" => Some(PlainWord::Help),
        "quit" | "exit" => Some(PlainWord::Quit),
        _ => None,
    }
}

fn too_long() -> Error {
    Error::new(Kind::TooLarge, format!("the statement is longer than {} MiB", MAX_PENDING_BYTES >> 20))
}

fn expanded_name(expanded: Expanded) -> &'static str {
    match expanded {
        Expanded::Off => "off",
        Expanded::On => "on",
        Expanded::Auto => "used when a row is too wide",
    }
}

/// A LIKE pattern for what was typed: `*` is anything, and a plain text may stand anywhere in the name.
fn like(pattern: Option<&str>) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_").replace('*', "%");
    match pattern {
        None => "%".to_owned(),
        Some(text) if text.contains('*') => escaped(text),
        Some(text) => format!("%{}%", escaped(text)),
    }
}

fn help() -> Vec<Line> {
    let line = |(name, arguments, what): &(&str, &str, &str)| {
        let mut line = Line::of(Style::Bold, fit(&format!("  {name} {arguments}"), 34, ""));
        line.push(Style::Plain, *what);
        line
    };
    HELP.iter().map(line).collect()
}

/// The shipped questions, each with its purpose and what it takes.
fn questions() -> Vec<Line> {
    let mut lines = Vec::new();
    for question in library() {
        let mut head = Line::of(Style::Bold, question.name);
        head.push(Style::Plain, format!("  {}", question.title));
        lines.push(head);
        lines.push(Line::of(Style::Plain, format!("    {}", question.purpose)));
        for parameter in &question.parameters {
            let value = match parameter.default.contains(char::is_whitespace) || parameter.default.is_empty() {
                true => format!("'{}'", parameter.default),
                false => parameter.default.clone(),
            };
            let assignment = format!("    {}={value}", parameter.name);
            let mut line = Line::of(Style::Number, fit(&assignment, width(&assignment).max(28), ""));
            line.push(Style::Dim, format!("  {}", parameter.purpose));
            lines.push(line);
        }
    }
    lines.push(Line::of(Style::Dim, "\\run NAME asks one; \\run NAME PARAMETER=VALUE changes what is shown above"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_names() {
        assert_eq!(like(None), "%");
        assert_eq!(like(Some("date_")), "%date\\_%");
        assert_eq!(like(Some("quant*")), "quant%");
    }
}
