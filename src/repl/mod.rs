//! The interactive shell: statements and backslash commands from a terminal or a pipe, results and traces as text.
//!
//! Knows sessions of the engine, servers elsewhere, and how results are rendered. Knows nothing of where the spans come from.

mod backend;
mod backslash;
mod bins;
mod catalog;
mod charts;
mod commands;
mod completer;
mod conditions;
mod connecting;
mod describe;
mod drawings;
mod editing;
mod editor;
mod files;
mod help;
mod highlight;
mod input;
mod interrupts;
mod keywords;
mod last_error;
mod lexer;
mod live;
mod notes;
mod output;
mod output_file;
mod pager;
mod preferences;
mod query;
mod remote;
mod reports;
mod scope;
mod settings;
mod shell;
mod show;
mod splitter;
mod statements;
mod text;
mod theme;
mod trace;
mod typeahead;
mod values;
mod waterfall;

pub use reports::{ReportParameter, ReportQuestion, Reports};
pub use shell::{Options, Summary, run};
