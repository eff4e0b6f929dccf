//! Trace ids as a user gives them.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use crate::cli::exit;
use crate::error::{Error, Result};
use crate::model::TraceId;

/// The traces of one redaction at most: more are better said by a predicate, or in several goes.
const MOST_IDS: usize = 1 << 20;
/// A line that is longer holds no id.
const MAX_LINE_BYTES: usize = 1 << 10;
/// The first line of a list that `sql --format csv` wrote.
const HEADING: &str = "trace_id";

/// Reads the ids of the command line.
pub(super) fn parse(ids: &[String]) -> Result<Vec<TraceId>> {
    ids.iter().map(|id| TraceId::from_hex(id).ok_or_else(|| no_id(id, "--trace-id"))).collect()
}

/// Reads a file of ids, one a line; empty lines and a heading `trace_id` are left out.
pub(super) fn read(file: &Path) -> Result<Vec<TraceId>> {
    let name = if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() };
    let failed = |error| Error::io(format!("cannot read {name}"), error);
    match file == Path::new("-") {
        true => read_lines(io::stdin().lock(), &name),
        false => read_lines(BufReader::new(File::open(file).map_err(failed)?), &name),
    }
}

fn read_lines(mut lines: impl BufRead, name: &str) -> Result<Vec<TraceId>> {
    let mut ids = Vec::new();
    let mut line = String::new();
    for number in 1_u64.. {
        line.clear();
        let read = io::Read::take(&mut lines, MAX_LINE_BYTES as u64).read_line(&mut line);
        if read.map_err(|error| Error::io(format!("cannot read {name}"), error))? == 0 {
            break;
        }
        let text = line.trim();
        if text.is_empty() || (number == 1 && text == HEADING) {
            continue;
        }
        ids.push(TraceId::from_hex(text).ok_or_else(|| no_id(text, &format!("{name}:{number}")))?);
        if ids.len() > MOST_IDS {
            let error = Error::bad_input(format!("{name} holds more than {MOST_IDS} trace ids"));
            return Err(exit::usage(error.with_hint("split the file, or give a predicate with --where")));
        }
    }
    match ids.is_empty() {
        true => Err(exit::usage(Error::bad_input(format!("{name} holds no trace ids")))),
        false => Ok(ids),
    }
}

fn no_id(text: &str, place: &str) -> Error {
    let shown: String = text.chars().take(40).collect();
    exit::usage(Error::bad_input(format!("{place}: \"{shown}\" is no trace id: write 32 hex digits")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_line_by_line_and_a_slip_is_told_by_its_line() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let read = |text: &str| read_lines(text.as_bytes(), "ids").map(|ids| ids.len()).map_err(|e| e.message);
        assert_eq!(read(&format!("trace_id\n{id}\r\n\n  {}\n", id.to_uppercase())), Ok(2));
        assert_eq!(
            read(&format!("{id}\n{id}x\n")).expect_err("no id"),
            format!("ids:2: \"{id}x\" is no trace id: write 32 hex digits")
        );
        assert!(read(&format!("{id}\ntrace_id\n")).is_err(), "a heading is the first line");
        assert!(read(&"0".repeat(32)).is_err(), "all zero is no id");
        assert!(read("\n").expect_err("nothing").contains("no trace ids"));
        assert!(read(&"a".repeat(1 << 20)).is_err());
    }
}
