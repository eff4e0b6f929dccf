//! The command line: one file a command, over settings that flags, environment and one file share.
//!
//! The only place that knows every other folder. Commands return an [`Exit`]; nothing below ends the process.

mod access;
mod admin_at_work;
mod arguments;
mod audit;
mod audit_at_work;
mod check;
mod compact;
mod completions;
mod config;
mod data;
mod demo;
mod doctor;
mod exit;
mod export;
mod generate;
mod house;
mod import;
mod instant;
mod logging;
mod man;
mod note;
mod os_user;
mod output;
mod redact;
mod repl;
mod replay;
mod report;
mod reports_at_work;
mod sender;
mod serve;
mod settings;
mod sql;
mod status;
mod table;
mod tenant_flag;
mod tenants_at_work;
mod terminal;

pub use arguments::main;
pub use exit::Exit;
