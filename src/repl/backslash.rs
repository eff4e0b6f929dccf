//! What the backslash commands do.

use std::time::Instant;

use super::commands::Command;
use super::output_file::OutputFile;
use super::shell::{Next, Shell};
use super::splitter::Script;
use super::text::{Line, Style};
use super::{describe, help, query, trace, waterfall};
use crate::engine::LibraryQuery;
use crate::error::{Error, Kind, Result};
use crate::render::Expanded;

/// Drawn of a trace unless all of it is asked for: some screens full.
const DRAWN_SPANS: usize = 200;

impl Shell {
    /// Does what a command says.
    pub async fn command(&mut self, command: Command) -> Result<Next> {
        match command {
            Command::Quit => return Ok(Next::Quit),
            Command::ResetPending => return Ok(Next::ForgetPending),
            Command::PrintPending => self.say(&[Line::of(Style::Plain, self.pending.trim_end())])?,
            Command::Relations => self.table(query::RELATIONS, &[]).await?,
            Command::Schemas => self.table(query::SCHEMAS, &[]).await?,
            Command::Functions(pattern) => self.table(query::FUNCTIONS, &[&like(pattern.as_deref())]).await?,
            Command::Describe(relation) => {
                let columns = describe::describe(&self.backend, &relation).await?;
                self.show_batches(columns).await?;
            }
            Command::Timing(value) => self.set_timing(value.unwrap_or(!self.timing))?,
            Command::Expanded(value) => {
                let turned = if self.expanded == Expanded::On { Expanded::Off } else { Expanded::On };
                self.set_expanded(value.unwrap_or(turned))?;
            }
            Command::Format(value) => self.set_format(value.unwrap_or(self.format))?,
            Command::Questions => self.show_lines(&help::questions())?,
            Command::Run { name, arguments } => self.question(&name, &arguments).await?,
            Command::Reports => {
                let reports = self.reports.as_ref().map(|reports| reports.list()).unwrap_or_default();
                self.show_lines(&help::reports(&reports))?;
            }
            Command::Report { name, arguments } => {
                let reports = self.reports.as_ref().ok_or_else(no_reports)?;
                let text = reports.statement(&name, &arguments)?;
                self.ask(text).await?;
            }
            Command::Trace { id, all } => self.trace(&id, all).await?,
            Command::Map { from, to } => self.draw_map(from.as_deref(), to.as_deref()).await?,
            Command::Flame(condition) => self.draw_flame(&condition).await?,
            Command::Heatmap(condition) => self.draw_heatmap(&condition).await?,
            Command::Histogram { value, condition } => self.draw_histogram(&value, &condition).await?,
            Command::Tail(condition) => self.tail(&condition).await?,
            Command::Watch { interval, times } => {
                self.watch(interval, times).await?;
                return Ok(Next::ForgetPending);
            }
            Command::Output(file) => self.output = file.as_deref().map(OutputFile::named).transpose()?,
            Command::Include(file) => return self.include(&file).await,
            Command::Edit(file) => return self.edit(file.as_deref()),
            Command::Set(None) => self.say_settings()?,
            Command::Set(Some((name, value))) => self.change(&name, value.as_deref())?,
            Command::Connect(place) => return self.connect(place.as_deref()).await,
            Command::LastError => match &self.last_error {
                Some(error) => self.say(&error.lines())?,
                None => self.say(&[Line::of(Style::Plain, "There was no error.")])?,
            },
            Command::SqlHelp => self.say(&help::sql())?,
            Command::Help => self.show_lines(&help::commands(self.columns))?,
        }
        Ok(Next::GoOn)
    }

    async fn question(&mut self, name: &str, arguments: &[(String, String)]) -> Result<()> {
        let arguments: Vec<(&str, &str)> = arguments.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let text = LibraryQuery::find(name)?.bind(&arguments)?;
        self.ask(text).await
    }

    /// Asks what the user did not write.
    async fn ask(&mut self, text: String) -> Result<()> {
        let started = Instant::now();
        let asked = self.statement(&Script { text, line: 1, expanded: false }).await;
        asked.map_err(|mut error| {
            // The position is in a text that the user did not write.
            error.position = None;
            error
        })?;
        self.say_time(started)
    }

    async fn trace(&mut self, typed: &str, all: bool) -> Result<()> {
        let id = trace::find(&self.backend, typed).await?;
        let mut spans = trace::spans(&self.backend, &id).await?;
        let is_cut = spans.len() > trace::MAX_SPANS;
        spans.truncate(trace::MAX_SPANS);
        let canvas = self.terminal.canvas(self.columns, if all { trace::MAX_SPANS } else { DRAWN_SPANS });
        let mut lines = waterfall::draw(&id, &spans, canvas);
        if is_cut {
            let note = format!("The trace has more spans: these are the {} that started first.", trace::MAX_SPANS);
            lines.push(Line::of(Style::Error, note));
        }
        self.show_lines(&lines)
    }

    /// Shows the result of a query of the shell's own, always as a table.
    async fn table(&mut self, sql: &str, parameters: &[&str]) -> Result<()> {
        let batches = self.backend.batches(sql, parameters).await?;
        self.show_batches(batches).await
    }
}

fn no_reports() -> Error {
    let error = Error::new(Kind::NotFound, "there is no folder of reports");
    error.with_hint("`spanhouse report init` makes one, or name another with --reports-dir")
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
