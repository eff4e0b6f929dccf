//! The log: one subscriber a process, on stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

use super::settings::LogFormat;
use super::terminal;
use crate::error::{Error, Result};

/// Starts the log.
pub(super) fn start(filter: &str, format: LogFormat) -> Result<()> {
    // Says of files that lack a column's statistics that they lack them, file by file and statement by statement.
    let quiet = if filter.contains("datafusion") { "" } else { ",datafusion_common::pruning=error" };
    let filter: EnvFilter = format!("{filter}{quiet}")
        .parse()
        .map_err(|why| Error::bad_input(format!("\"{filter}\" is not a log filter: {why}")))?;
    let builder = SubscriberBuilder::default()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(terminal::color(io::stderr().is_terminal()));
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|why| Error::internal(format!("the log cannot be started: {why}")))
}
