//! The audit log: who came in and who was refused, what was asked and what was done to the data, a JSON line each.
//!
//! Each line holds the SHA-256 of the line before it, so that a line that is changed, taken out or put in breaks the chain; [`verify`] finds the
//! first such place. Whoever can write the files can also make a new chain: against that one keeps its last hash elsewhere. Knows files
//! and nothing of wires, sessions or spans.

mod journal;
mod line;
mod log;
mod repeats;
mod verify;

pub use line::{Event, Kind, Line, Who};
pub use log::{Audit, AuditSettings, Level, Statement};
pub use verify::{Broken, Verified, newest, verify};

use std::path::{Path, PathBuf};

/// Where the audit log of a data directory lies.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("audit")
}
