//! What a shell writes, and where.

use std::io::{self, BufWriter, Write};
use std::time::Instant;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use futures::{Stream, StreamExt, stream};

use super::charts::{is_measured, plan};
use super::last_error::LastError;
use super::output::error_lines;
use super::pager::Paged;
use super::query;
use super::shell::Shell;
use super::splitter::Script;
use super::text::{Line, Style};
use crate::engine::RowStream;
use crate::error::{Error, Result};
use crate::render::{self, Expanded, Format, RenderOptions, Visible, count};

/// Output is written in pieces of this size.
const WRITE_BYTES: usize = 64 << 10;

impl Shell {
    /// Shows rows that are there, as a table.
    pub async fn show_batches(&mut self, batches: Vec<RecordBatch>) -> Result<()> {
        let Some(schema) = batches.first().map(RecordBatch::schema) else {
            return self.say(&[Line::of(Style::Plain, "(0 rows)")]);
        };
        self.show(Format::Table, Expanded::Off, schema, stream::iter(batches.into_iter().map(Ok))).await
    }

    /// Shows what a statement gave: in the file of `\o` when there is one, a plan that was run as a tree, and all else as rows.
    pub async fn show_result(
        &mut self,
        expanded: Expanded,
        is_plan: bool,
        schema: SchemaRef,
        mut rows: RowStream,
        started: Instant,
    ) -> Result<()> {
        let zone = self.backend.time_zone()?;
        if let Some(file) = &mut self.output {
            let options = RenderOptions { zone, null: self.null.clone(), ..RenderOptions::default() };
            let written = count(file.put(schema, rows, &options).await?, "row");
            let told = format!("{written} written to {}", file.name());
            return self.say(&[Line::of(Style::Dim, told)]);
        }
        if is_plan && self.format == Format::Table {
            let mut batches = Vec::new();
            while let Some(batch) = rows.next().await {
                batches.push(batch?);
            }
            let texts = query::rows_of(&batches)?;
            if is_measured(&texts) {
                let took_ns = i64::try_from(started.elapsed().as_nanos()).unwrap_or(i64::MAX);
                return self.show_lines(&plan(&texts[0][1], took_ns, self.terminal.paper(self.columns)));
            }
            rows = Box::pin(stream::iter(batches.into_iter().map(Ok)));
        }
        let (schema, rows) = render::with_plan_lines(self.format, is_plan, schema, rows);
        self.show(self.format, expanded, schema, rows).await
    }

    /// Shows rows as they come.
    pub async fn show(
        &mut self,
        format: Format,
        expanded: Expanded,
        schema: SchemaRef,
        rows: impl Stream<Item = Result<RecordBatch>> + Unpin,
    ) -> Result<()> {
        let options = RenderOptions {
            expanded,
            width: self.columns,
            color: self.terminal.palette.is_coloured(),
            zone: self.backend.time_zone()?,
            null: self.null.clone(),
            ..RenderOptions::default()
        };
        let out: Box<dyn Write + Send> = match self.paged() {
            Some(paged) => Box::new(paged),
            None => Box::new(io::stdout()),
        };
        // A table is harmless by itself; the other formats keep every byte for the programs that read them.
        let out = match self.terminal.stdout_is_terminal && format != Format::Table {
            true => Box::new(Visible::new(out)),
            false => out,
        };
        // Between two batches Ctrl-C is looked for, also where rows come as fast as they are drawn.
        let rows = Box::pin(rows.then(|batch| async {
            tokio::task::yield_now().await;
            batch
        }));
        let written =
            render::write_all(format, schema, rows, &options, BufWriter::with_capacity(WRITE_BYTES, out)).await;
        match written {
            // Whoever quits the pager has seen enough; a server would go on sending.
            Err(error) if error.is_closed_pipe() && self.terminal.interactive => {
                self.backend.cancel().await;
                return Ok(());
            }
            written => drop(written?),
        }
        match self.terminal.interactive && format == Format::Table {
            true => self.say(&[Line::default()]),
            false => Ok(()),
        }
    }

    /// A writer that pages what does not fit the terminal.
    fn paged(&self) -> Option<Paged> {
        let size = self.columns.zip(self.rows).filter(|_| self.terminal.interactive && !self.is_live)?;
        Some(Paged::new(self.pager.command()?, size.0, size.1))
    }

    /// Shows lines that may be more than a screen.
    pub fn show_lines(&self, lines: &[Line]) -> Result<()> {
        let Some(mut paged) = self.paged() else { return self.say(lines) };
        let text: String = lines.iter().map(|line| line.paint(self.terminal.palette) + "\n").collect();
        match paged.write_all(text.as_bytes()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(|error| Error::io("standard output", error)),
        }
    }

    /// Writes lines to standard output.
    pub fn say(&self, lines: &[Line]) -> Result<()> {
        let mut text = String::new();
        for line in lines {
            text.push_str(&line.paint(self.terminal.palette));
            text.push('\n');
        }
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Error::io("standard output", error))
    }

    /// Tells of something on the errors' stream that is no failure.
    pub fn warn(&self, text: &str) {
        let mut line = Line::of(Style::Error, "WARNING:  ");
        line.push(Style::Plain, crate::render::sanitize(text));
        // Nobody is left to tell when that stream is closed.
        let _ = writeln!(io::stderr(), "{}", line.paint(self.terminal.palette));
    }

    /// Tells what a setting is now.
    pub fn say_setting(&self, name: &str, value: &str) -> Result<()> {
        self.say(&[Line::of(Style::Plain, format!("{name} is {value}."))])
    }

    /// Shows an error; `line` is the statement's place in a script.
    pub fn report(&mut self, error: &Error, script: Option<&Script>, line: Option<usize>) {
        self.failed += 1;
        self.last_error = Some(LastError::of(error));
        let lines = error_lines(error, script, line, self.columns.unwrap_or(usize::from(u16::MAX)));
        let text: Vec<String> = lines.iter().map(|line| line.paint(self.terminal.palette)).collect();
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
