//! A report's file becomes a [`Report`], or every mistake in it with its line.
//!
//! The header is TOML: the leading comment lines of the `.sql` file without their `-- `, or a `.toml` file beside it. Reads texts that
//! others have read from disk; knows nothing of the schema that the statement is asked of.

mod alerts;
mod deliveries;
mod parameters;
mod section;
mod shown;
mod source;
mod times;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) use source::{Source, is_name};

use super::definition::{Record, RecordMode, Report, RowsKept};
use super::mistake::Mistake;
use section::{Page, Section};

/// Keys of the header itself.
const KEYS: &[&str] = &[
    "title",
    "description",
    "owners",
    "schedule",
    "window",
    "timeout",
    "memory",
    "keep",
    "enabled",
    "parameters",
    "outputs",
    "charts",
    "alerts",
    "deliveries",
    "record",
];

/// The lines of the header by the place of their key, such as `charts.0.x`.
pub(super) type Lines = BTreeMap<String, usize>;

/// A report, and where its header says what.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parsed {
    pub report: Report,
    /// The texts that it was read from.
    pub source: Arc<Source>,
    /// The file that has the header.
    pub header_path: PathBuf,
    pub lines: Lines,
}

/// The same, for those who share it.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    pub report: Arc<Report>,
    pub(super) source: Arc<Source>,
    pub(super) header_path: PathBuf,
    pub(super) lines: Lines,
}

impl Definition {
    pub(super) fn of(parsed: Parsed) -> Self {
        let Parsed { report, source, header_path, lines } = parsed;
        Self { report: Arc::new(report), source, header_path, lines }
    }
}

/// Reads a report.
pub(super) fn parse(source: &Source) -> Result<Parsed, Vec<Mistake>> {
    let (path, text) = source.header();
    let page = Page::new(&path, &text);
    let (table, errors) = toml::de::DeTable::parse_recoverable(&text);
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        page.mistake(at, format!("this is not TOML: {}{}", error.message().trim(), source.advice()));
    }
    // What follows a slip of syntax is often read as something else.
    let report = if errors.is_empty() { report(&Section::root(&page, &table, KEYS), source) } else { None };
    let mut mistakes = page.mistakes();
    match report {
        Some(report) if mistakes.is_empty() => {
            let (source, header_path) = (Arc::new(source.clone()), path.clone());
            Ok(Parsed { report, source, header_path, lines: page.lines() })
        }
        _ => {
            mistakes.sort();
            mistakes.dedup();
            Err(mistakes)
        }
    }
}

fn report(header: &Section<'_>, source: &Source) -> Option<Report> {
    let (sql, has_statement) = source.statement();
    if !has_statement {
        header.page.mistake_of_file(&source.sql_path, "there is no statement in it: write a SELECT below the header");
    }
    let window = times::window(header);
    let record = record(header, window.is_some());
    let timeout = times::bounded(header, "timeout", times::TIMEOUTS);
    let keep = times::bounded(header, "keep", times::KEEPS);
    let memory = times::memory(header);
    Some(Report {
        name: source.name.clone(),
        path: source.sql_path.clone(),
        title: title(header).unwrap_or_else(|| source.name.clone()),
        description: header.text("description").unwrap_or_default(),
        owners: header.texts("owners").unwrap_or_default(),
        enabled: header.truth("enabled").unwrap_or(true),
        parameters: parameters::parameters(header, window.is_some()),
        schedule: times::schedule(header),
        window,
        timeout: timeout.unwrap_or(Report::DEFAULT_TIMEOUT),
        memory_bytes: memory,
        keep: keep.unwrap_or(Report::DEFAULT_KEEP),
        outputs: shown::outputs(header),
        charts: shown::charts(header),
        alerts: alerts::alerts(header),
        deliveries: deliveries::deliveries(header),
        record,
        sql,
        version: source.version(),
    })
}

fn title(header: &Section<'_>) -> Option<String> {
    let title = header.text("title")?;
    if title.trim().is_empty() {
        header.mistake("title", "it is empty: without the key the report's name stands there".to_owned());
        return None;
    }
    Some(title)
}

fn record(header: &Section<'_>, has_window: bool) -> Option<Record> {
    let record = header.section("record", &["table", "mode", "column", "keep"])?;
    let table = record.needed_text("table")?;
    let is_table = table.starts_with(|c: char| c.is_ascii_lowercase())
        && table.len() <= source::MAX_NAME_BYTES
        && table.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !is_table {
        record
            .mistake("table", format!("\"{table}\" is no name for a table: begin with a letter, then a-z, 0-9 and _"));
    }
    let mode = record.choice("mode", &[("append", false), ("replace", true)]).unwrap_or(false);
    let column = record.text("column");
    let keep = times::bounded(&record, "keep", times::KEEPS);
    let mode = match (mode, &column, keep) {
        (false, Some(_), None) => {
            let why = "a table that is appended to needs none: write mode = \"replace\", or keep = \"1 year\"";
            record.mistake("column", why.to_owned());
            return None;
        }
        (false, None, None) | (false, Some(_), Some(_)) => RecordMode::Append,
        (true, Some(column), _) => RecordMode::ReplaceWindow { column: column.clone() },
        (_, None, _) => {
            let why = "column is missing: which column has the time by which rows are replaced or removed?";
            record.mistake_here(why.to_owned());
            return None;
        }
    };
    let keep = column.zip(keep).map(|(column, length)| RowsKept { column, length });
    if !has_window && mode != RecordMode::Append {
        record.mistake_here("replacing the rows of a window needs a window: write window = \"1 day\"".to_owned());
    }
    Some(Record { table, mode, keep })
}

#[cfg(test)]
mod tests;
