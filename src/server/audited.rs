//! What the audit log is told of a session: that it came and went, and what each of its statements gave.

use std::sync::Arc;
use std::time::Instant;

use super::wire::Halt;
use crate::audit::{Audit, Level, Statement, Who};
use crate::error::{Error, Kind};

/// A session as the audit log knows it; dropping it says that it went.
#[derive(Debug)]
pub(super) struct Audited {
    audit: Arc<Audit>,
    who: Who,
    since: Instant,
}

/// What was sent of a statement's rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sent {
    pub rows: u64,
    pub bytes: u64,
}

impl Sent {
    pub fn add_row(&mut self, bytes: usize) {
        self.rows += 1;
        self.bytes += bytes as u64;
    }
}

impl Audited {
    /// Says that a client came in.
    pub fn begin(audit: Arc<Audit>, who: Who, wire: &str) -> Self {
        audit.connected(&who, wire);
        Self { audit, who, since: Instant::now() }
    }

    /// Says how a statement ended that began at a time.
    pub fn ended(&self, text: &str, began: Instant, sent: Sent, end: &Result<(), Halt>) {
        if !self.audit.notes(Level::Statements) {
            // What somebody may not do is a refusal, also where statements are not noted.
            if let Err(Halt::Statement(error)) = end
                && error.kind == Kind::Denied
            {
                self.audit.refused(&self.who, text, error);
            }
            return;
        }
        let gone = Error::new(Kind::Incomplete, "the client left");
        let error = match end {
            Ok(()) => None,
            Err(Halt::Statement(error) | Halt::Fatal(error)) => Some(error),
            Err(Halt::Gone) => Some(&gone),
        };
        let Sent { rows, bytes } = sent;
        let statement = Statement { text, rows, bytes, took: began.elapsed(), error };
        self.audit.statement(&self.who, &statement);
    }
}

impl Drop for Audited {
    fn drop(&mut self) {
        self.audit.disconnected(&self.who, self.since.elapsed());
    }
}
