//! The log: one subscriber a process, on stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::fmt::SubscriberBuilder;

use super::settings::{LogFormat, log_filter};
use super::terminal;
use crate::error::{Error, Result};

/// Starts the log.
pub(super) fn start(filter: &str, format: LogFormat) -> Result<()> {
    let builder = SubscriberBuilder::default()
        .with_env_filter(log_filter(filter).map_err(Error::bad_input)?)
        .with_writer(io::stderr)
        // The complaint about a line that cannot be written would panic where nobody reads stderr.
        .log_internal_errors(false)
        .with_ansi(terminal::color(io::stderr().is_terminal()));
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|why| Error::internal(format!("the log cannot be started: {why}")))
}
