//! The interactive shell: statements and backslash commands from a terminal or a pipe, results and traces as text.
//!
//! Knows sessions of the engine and how results are rendered. Knows nothing of where the spans come from.

mod backslash;
mod catalog;
mod commands;
mod completer;
mod describe;
mod editor;
mod help;
mod input;
mod keywords;
mod lexer;
mod output;
mod query;
mod reports;
mod shell;
mod show;
mod splitter;
mod text;
mod trace;
mod values;
mod waterfall;

pub use reports::{ReportParameter, ReportQuestion, Reports};
pub use shell::{Options, Summary, run};
