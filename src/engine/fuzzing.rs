//! What the reading of hostile statements must not do: bodies for fuzzers and tests.

use super::runtime::STACK_BYTES;
use super::script::parse;
use crate::error::{Error, Kind, Result};

/// Splits, parses and rewrites a script as a session does, on a stack as large as a query thread's; gives the text of each statement.
///
/// # Errors
/// What a client is told of a script that is refused; [`Kind::Internal`] when reading it panics.
pub fn statements(script: &str) -> Result<Vec<String>> {
    let script = script.to_owned();
    let read = move || parse(&script).map(|parsed| parsed.into_iter().map(|parsed| parsed.text).collect());
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(read);
    let thread = thread.map_err(|error| Error::io("a thread for a script", error))?;
    thread.join().unwrap_or_else(|_| Err(Error::new(Kind::Internal, "reading a script panics")))
}
