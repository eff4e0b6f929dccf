//! `sql`: run statements on a data directory and write their results.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{ArgGroup, Args};

use super::audit;
use super::data::{self, DataDir};
use super::exit::{self, Exit};
use super::output::beside;
use super::settings::Settings;
use super::tenant_flag::TenantFlag;
use super::terminal;
use crate::engine::{Engine, MAX_TEXT_BYTES, Outcome, Rows};
use crate::error::{Error, Result};
use crate::render::{Expanded, Format, RenderOptions, Visible, with_plan_lines, write_all};
use crate::report;
use crate::store::StoreReader;

const EXAMPLES: &str = "\
Examples:
  spanhouse sql \"SELECT service_name, count(*) FROM spans GROUP BY 1 ORDER BY 2 DESC\"
  spanhouse sql -f report.sql --format csv --output report.csv
  echo 'SELECT * FROM traces.traces LIMIT 5' | spanhouse sql -
  spanhouse sql --format parquet --output errors.parquet \"SELECT * FROM spans WHERE status_code = 'ERROR'\"

Reads the data directory only, so a server may run on it at the same time; what it acknowledged before is \
seen.

Formats: table (aligned, for people), csv, json (one array), ndjson (a row a line), markdown, html (a page), \
parquet (the result's own types). Values in csv and table are written as PostgreSQL writes them, nanoseconds kept: csv is \
what \\copy in psql gives.";

/// Run SQL on a data directory and print the result
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("text").required(true))]
pub(super) struct Arguments {
    /// The statement, or several with ; between them; - reads them from standard input
    #[arg(group = "text", value_name = "SQL", allow_hyphen_values = true)]
    statement: Option<String>,
    /// Read the statements from a file
    #[arg(short, long, group = "text", value_name = "FILE")]
    file: Option<PathBuf>,
    /// How to write results: table, csv, json, ndjson, markdown, html or parquet
    #[arg(long, value_name = "FORMAT", default_value_t)]
    format: Format,
    /// Write to a file, whole or not at all
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    data_dir: DataDir,
    #[command(flatten)]
    tenant: TenantFlag,
}

pub(super) async fn run(arguments: Arguments) -> Result<Exit> {
    if let Some(word) = arguments.statement.as_deref().filter(|text| is_option(text)) {
        return Err(exit::usage(
            Error::bad_input(format!("unexpected argument '{word}'")).with_hint("see spanhouse sql --help"),
        ));
    }
    let script = script(&arguments)?;
    if arguments.format.is_binary() && arguments.output.is_none() && io::stdout().is_terminal() {
        let wrong = Error::bad_input(format!("{} is not for a terminal", arguments.format));
        return Err(exit::usage(wrong.with_hint("give --output FILE, or send the output to a file or pipe")));
    }
    let settings = arguments.tenant.of(arguments.data_dir.flags().settings()?)?;
    data::must_exist(&settings.data_dir)?;
    let engine = open_engine(&settings).await?;
    let options = render_options(arguments.output.is_none());
    match &arguments.output {
        None => {
            // A table is harmless by itself; the other formats keep every byte for the programs that read them.
            let out: Box<dyn Write + Send> = match io::stdout().is_terminal() && arguments.format != Format::Table {
                true => Box::new(Visible::new(io::stdout())),
                false => Box::new(io::stdout()),
            };
            execute(&engine, &script, arguments.format, &options, BufWriter::new(out)).await?;
        }
        Some(path) => write_file(&engine, &script, arguments.format, &options, path).await?,
    }
    Ok(Exit::Success)
}

/// An engine that reads the data directory and takes no lock.
pub(super) async fn open_engine(settings: &Settings) -> Result<Arc<Engine>> {
    engine_over(data::open_reader(settings).await?, settings)
}

/// An engine over what reads the data directory, with all that it tells beside spans.
pub(super) fn engine_over(source: Arc<StoreReader>, settings: &Settings) -> Result<Arc<Engine>> {
    let engine = Engine::new(source, settings.engine())?;
    report::show_in(&engine, &settings.data_dir);
    audit::show_in(&engine, &settings.data_dir);
    Ok(engine)
}

/// How tables look on stdout, or in a file.
pub(super) fn render_options(to_stdout: bool) -> RenderOptions {
    let is_terminal = to_stdout && io::stdout().is_terminal();
    let width = if is_terminal { terminal::width() } else { None };
    let expanded = if width.is_some() { Expanded::Auto } else { Expanded::Off };
    RenderOptions { expanded, width, color: terminal::color(is_terminal), ..RenderOptions::default() }
}

/// Whether the text is an option that does not exist rather than a statement: SQL begins with a hyphen only in a comment.
fn is_option(text: &str) -> bool {
    text.len() > 1 && text.starts_with('-') && !text.contains(char::is_whitespace)
}

fn script(arguments: &Arguments) -> Result<String> {
    let (name, text) = match (&arguments.statement, &arguments.file) {
        (Some(text), _) if text != "-" => return Ok(text.clone()),
        (_, Some(path)) => {
            let file = File::open(path).map_err(|error| Error::io(format!("cannot read {}", path.display()), error))?;
            (path.display().to_string(), read_bounded(file))
        }
        _ => ("standard input".to_owned(), read_bounded(io::stdin())),
    };
    text.map_err(|error| Error::io(format!("cannot read {name}"), error))
}

/// Reads one byte more than a statement may have, so that the engine can say that it is too long.
fn read_bounded(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(MAX_TEXT_BYTES as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// Runs each statement and writes its rows; gives the output back.
pub(super) async fn execute<W: Write + Send>(
    engine: &Arc<Engine>,
    script: &str,
    format: Format,
    options: &RenderOptions,
    mut out: W,
) -> Result<W> {
    let session = engine.session();
    let statements = session.prepare(script).await.map_err(|error| located(error, script))?;
    let results = statements.iter().filter(|statement| statement.schema.is_some()).count();
    if results > 1 && format.is_binary() {
        return Err(Error::bad_input(format!("{format} holds one result, and these statements give {results}")));
    }
    let mut is_first = true;
    for statement in &statements {
        let outcome = session.execute(statement, &[]).await.map_err(|error| located(error, script))?;
        if let Outcome::Rows(Rows { schema, stream, tag }) = outcome {
            if format == Format::Markdown && !is_first {
                // Without it two tables are one.
                out.write_all(b"\n").map_err(|error| Error::io("cannot write the result", error))?;
            }
            is_first = false;
            let options = RenderOptions { zone: session.setting("timezone")?, ..options.clone() };
            let (schema, stream) = with_plan_lines(format, tag == "EXPLAIN", schema, stream);
            (_, out) = write_all(format, schema, stream, &options, out).await?;
        }
    }
    out.flush().map_err(|error| Error::io("cannot write the result", error))?;
    Ok(out)
}

/// Writes beside the file first, so that a failure leaves nothing half written.
async fn write_file(
    engine: &Arc<Engine>,
    script: &str,
    format: Format,
    options: &RenderOptions,
    path: &Path,
) -> Result<()> {
    let failed = |error| Error::io(format!("cannot write {}", path.display()), error);
    let partial = beside(path).map_err(failed)?;
    let out = execute(engine, script, format, options, BufWriter::new(partial)).await?;
    let partial = out.into_inner().map_err(|error| failed(error.into_error()))?;
    partial.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Adds the line that an error is about, with a mark under the place.
pub(super) fn located(mut error: Error, script: &str) -> Error {
    let Some(position) = error.position.filter(|position| *position > 0) else { return error };
    let before: String = script.chars().take(position - 1).collect();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let number = before.matches('\n').count() + 1;
    let line: String = script[line_start..].lines().next().unwrap_or("").chars().take(MAX_SHOWN_CHARS).collect();
    let column = before[line_start..].chars().count();
    if column <= MAX_SHOWN_CHARS {
        let label = format!("line {number}: ");
        let indent = " ".repeat(label.len() + column);
        error.message = format!("{}\n{label}{}\n{indent}^", error.message, crate::render::sanitize(&line)).into();
    }
    error
}

/// A line that is longer is not shown in an error.
const MAX_SHOWN_CHARS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_its_line_and_place() {
        let error = Error::bad_input("no such column").with_position(12);
        let text = located(error, "SELECT 1,\n  nope").message;
        assert_eq!(text, "no such column\nline 2:   nope\n         ^");
    }
}
