//! The command line: one file a command, over settings that flags, environment and one file share.
//!
//! The only place that knows every other folder. Commands return an [`Exit`]; nothing below ends the process.

// A command line talks to its user on stdout and stderr.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod arguments;
mod config;
mod data;
mod demo;

mod exit;
mod generate;
mod house;
mod import;
mod logging;
mod repl;
mod serve;
mod settings;
mod sql;
mod terminal;

pub use arguments::main;
pub use exit::Exit;
