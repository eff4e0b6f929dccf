//! The map as a list: each caller, layer by layer, with whom it calls.

use super::super::Paper;
use super::super::bars::{amount, percent};
use super::Call;
use super::layers::Layers;
use crate::repl::text::{Line, Style, fit, width};

/// The columns of a number of calls and of a share of errors.
const NUMBER_COLUMNS: usize = 7;

/// Lists every caller.
pub fn list(calls: &[Call], layers: &Layers<'_>, paper: Paper) -> Vec<Line> {
    let arrow = if paper.ascii { "  -> " } else { "  → " };
    let numbers = 2 * (NUMBER_COLUMNS + 1);
    let longest = calls.iter().map(|call| width(&label(call))).max().unwrap_or(0);
    let callee_columns = longest.clamp(6, paper.columns() - numbers - width(arrow));
    let mut head = Line::of(Style::Dim, " ".repeat(width(arrow) + callee_columns));
    head.push(Style::Dim, format!(" {:>NUMBER_COLUMNS$} {:>NUMBER_COLUMNS$}", "calls", "errors"));
    let mut lines = vec![head];
    let mut names: Vec<usize> = (0..layers.names.len()).collect();
    names.sort_by_key(|name| (layers.layer[*name], *name));
    for name in names {
        let relations = layers.relations_of(name, calls);
        if relations.is_empty() {
            continue;
        }
        let caller = layers.names[name];
        lines.push(Line::of(Style::Bold, fit(caller, width(caller).min(paper.columns()), paper.ellipsis())));
        for relation in relations {
            let call = &calls[relation];
            let mut line = Line::of(Style::Dim, arrow);
            let style = if call.is_link || call.callee_type.is_some() { Style::Dim } else { Style::Plain };
            line.push(style, fit(&label(call), callee_columns, paper.ellipsis()));
            line.push(Style::Plain, format!(" {:>NUMBER_COLUMNS$}", amount(call.calls)));
            let style = if call.errors > 0 { Style::Error } else { Style::Dim };
            line.push(style, format!(" {:>NUMBER_COLUMNS$}", percent(call.errors, call.calls)));
            lines.push(line);
        }
    }
    lines
}

/// A callee's name, and what it is when that is no service that was called.
fn label(call: &Call) -> String {
    match (&call.callee_type, call.is_link) {
        (_, true) => format!("{} (link)", call.callee),
        (Some(of_type), false) => format!("{} ({of_type})", call.callee),
        (None, false) => call.callee.clone(),
    }
}
