//! What the shell tells of itself.

use super::commands::HELP;
use super::reports::ReportQuestion;
use super::text::{Line, Style, fit, width};
use crate::engine::library;

/// The columns of a command with its arguments.
const COMMAND_COLUMNS: usize = 38;
/// A terminal that has room for commands beside what they do.
const WIDE_COLUMNS: usize = 106;

/// What SQL there is, in short.
pub(super) fn sql() -> Vec<Line> {
    vec![Line::of(Style::Plain, include_str!("sql_help.txt").trim_end())]
}

/// The backslash commands; on a narrow terminal what each does stands below it.
pub(super) fn commands(columns: Option<usize>) -> Vec<Line> {
    let line = |(name, arguments, what): &(&str, &str, &str)| {
        let command = format!("  {name} {arguments}");
        if columns.is_some_and(|columns| columns < WIDE_COLUMNS) {
            return vec![Line::of(Style::Bold, command), Line::of(Style::Plain, format!("      {what}"))];
        }
        let mut line = Line::of(Style::Bold, fit(&command, COMMAND_COLUMNS, ""));
        line.push(Style::Plain, *what);
        vec![line]
    };
    HELP.iter().flat_map(line).collect()
}

/// The shipped questions, each with its purpose and what it takes.
pub(super) fn questions() -> Vec<Line> {
    let mut lines = Vec::new();
    for question in library() {
        lines.extend(head(question.name, &question.title, &question.purpose));
        let parameters = question.parameters.iter();
        lines.extend(parameters.map(|known| parameter(&known.name, Some(&known.default), &known.purpose)));
    }
    lines.push(Line::of(Style::Dim, "\\run NAME asks one; \\run NAME PARAMETER=VALUE changes what is shown above"));
    lines
}

/// The reports, likewise.
pub(super) fn reports(reports: &[ReportQuestion]) -> Vec<Line> {
    if reports.is_empty() {
        return vec![Line::of(Style::Plain, "There are no reports; `spanhouse report init` writes ready-made ones.")];
    }
    let mut lines = Vec::new();
    for report in reports {
        lines.extend(head(&report.name, &report.title, &report.purpose));
        let parameters = report.parameters.iter();
        lines.extend(parameters.map(|known| parameter(&known.name, known.default.as_deref(), &known.purpose)));
    }
    lines.push(Line::of(
        Style::Dim,
        "\\report NAME asks one; \\report NAME PARAMETER=VALUE changes what is shown above",
    ));
    lines
}

/// What a question is called and is for.
fn head(name: &str, title: &str, purpose: &str) -> Vec<Line> {
    let mut head = Line::of(Style::Bold, name);
    head.push(Style::Plain, format!("  {title}"));
    let purpose = (!purpose.is_empty()).then(|| Line::of(Style::Plain, format!("    {purpose}")));
    [Some(head), purpose].into_iter().flatten().collect()
}

/// What a question takes.
fn parameter(name: &str, default: Option<&str>, purpose: &str) -> Line {
    let value = match default {
        None => "…".to_owned(),
        Some(text) if text.contains(char::is_whitespace) || text.is_empty() => format!("'{text}'"),
        Some(text) => text.to_owned(),
    };
    let assignment = format!("    {name}={value}");
    let mut line = Line::of(Style::Number, fit(&assignment, width(&assignment).max(28), ""));
    line.push(Style::Dim, format!("  {purpose}"));
    line
}
