//! What a shell writes, and where.

use std::io::{self, BufWriter, Write};
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::{Stream, stream};

use super::output::error_lines;
use super::shell::Shell;
use super::splitter::Script;
use super::text::{Line, Style};
use crate::error::{Error, Result};
use crate::render::{self, Expanded, Format, RenderOptions, Visible};

/// Output is written in pieces of this size.
const WRITE_BYTES: usize = 64 << 10;

impl Shell {
    /// Shows rows that are there, as a table.
    pub async fn show_batches(&self, batches: Vec<RecordBatch>) -> Result<()> {
        let Some(schema) = batches.first().map(RecordBatch::schema) else {
            return self.say(&[Line::of(Style::Plain, "(0 rows)")]);
        };
        self.show(Format::Table, Expanded::Off, schema, stream::iter(batches.into_iter().map(Ok))).await
    }

    /// Shows rows as they come.
    pub async fn show(
        &self,
        format: Format,
        expanded: Expanded,
        schema: SchemaRef,
        rows: impl Stream<Item = Result<RecordBatch>> + Unpin,
    ) -> Result<()> {
        let options = RenderOptions {
            expanded,
            width: self.columns,
            color: self.terminal.colour,
            zone: self.session.setting("timezone")?,
            ..RenderOptions::default()
        };
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

    /// Writes lines to standard output.
    pub fn say(&self, lines: &[Line]) -> Result<()> {
        let mut text = String::new();
        for line in lines {
            text.push_str(&line.paint(self.terminal.colour));
            text.push('\n');
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Error::io("standard output", error))
    }

    /// Tells what a setting is now.
    pub fn say_setting(&self, name: &str, value: &str) -> Result<()> {
        self.say(&[Line::of(Style::Plain, format!("{name} is {value}."))])
    }

    /// Shows an error; `line` is the statement's place in a script.
    pub fn report(&mut self, error: &Error, script: Option<&Script>, line: Option<usize>) {
        self.failed += 1;
        let lines = error_lines(error, script, line, self.columns.unwrap_or(usize::from(u16::MAX)));
        let text: Vec<String> = lines.iter().map(|line| line.paint(self.terminal.colour)).collect();
        // Nobody is left to tell when the errors' stream is closed.
        let _ = writeln!(io::stderr(), "{}", text.join("\n"));
    }

    /// Tells how long a statement took, if that is wanted.
    pub fn say_time(&self, started: Instant) -> Result<()> {
        match self.timing {
            true => {
                self.say(&[Line::of(Style::Plain, format!("Time: {:.3} ms", started.elapsed().as_secs_f64() * 1e3))])
            }
            false => Ok(()),
        }
    }
}
