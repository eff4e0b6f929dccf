//! What the shell tells of itself.

use super::commands::HELP;
use super::text::{Line, Style, fit, width};
use crate::engine::library;

/// What SQL there is, in short.
pub(super) fn sql() -> Vec<Line> {
    vec![Line::of(Style::Plain, include_str!("sql_help.txt").trim_end())]
}

/// The backslash commands.
pub(super) fn commands() -> Vec<Line> {
    let line = |(name, arguments, what): &(&str, &str, &str)| {
        let mut line = Line::of(Style::Bold, fit(&format!("  {name} {arguments}"), 34, ""));
        line.push(Style::Plain, *what);
        line
    };
    HELP.iter().map(line).collect()
}

/// The shipped questions, each with its purpose and what it takes.
pub(super) fn questions() -> Vec<Line> {
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
