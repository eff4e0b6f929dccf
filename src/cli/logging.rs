//! The log: one subscriber a process, on stderr.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

use super::settings::LogFormat;
use super::terminal;
use crate::error::{Error, Result};

/// Starts the log.
pub(super) fn start(filter: &str, format: LogFormat) -> Result<()> {
    let filter: EnvFilter = with_quiet_libraries(filter)
        .parse()
        .map_err(|why| Error::bad_input(format!("\"{filter}\" is not a log filter: {why}")))?;
    let builder = SubscriberBuilder::default()
        .with_env_filter(filter)
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

/// A bare level is about this program; the libraries then say what goes wrong and no more. A filter that names targets is left as it is.
fn with_quiet_libraries(filter: &str) -> String {
    if filter.contains([',', '=']) {
        return filter.to_owned();
    }
    // DataFusion warns of each file that lacks a column's statistics, statement by statement.
    format!("warn,datafusion_common::pruning=error,spanhouse={filter}")
}
