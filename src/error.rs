//! The one error type of the house, sorted by what the caller does next.
//!
//! A module that meets an error either mends it or turns it into an [`Error`] once, where it still knows the object that was
//! at fault; whoever answers a client (OTLP, Postgres, the command line) reads the answer off the [`Kind`]. This file knows
//! protocols' codes as plain values and no protocol library.

use std::borrow::Cow;
use std::time::Duration;

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The SQLSTATE of something that another process holds.
pub const OBJECT_IN_USE: &str = "55006";

/// The SQLSTATE of a statement that may succeed when it is repeated from the beginning of its transaction.
pub const REPEAT: &str = "40001";

/// What the caller does about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The input is wrong; the same input will be wrong again.
    BadInput,
    /// The input exceeds a stated limit; the same input will exceed it again.
    TooLarge,
    /// The input did not come whole; the same input may, when it is sent again.
    Incomplete,
    /// The server is under pressure; the same input will do after the delay.
    Overloaded { retry_after: Duration },
    /// The caller has used up what it may send; the same input will do after the delay.
    OverRate { retry_after: Duration },
    /// The caller has not shown who it is, or not truly; it may try again with what shows it.
    Unauthenticated,
    /// The caller may not do this.
    Denied,
    /// The named object does not exist.
    NotFound,
    /// The statement was cancelled, by its user or by a time limit.
    Cancelled,
    /// The statement needs more than its share of memory or temporary space.
    OutOfResources,
    /// Stored bytes are not what was written.
    Corrupt,
    /// The operating system or the object store failed.
    Io,
    /// The component is shutting down or was poisoned by an earlier failure.
    Closed,
    /// A defect in this program.
    Internal,
}

/// An error: its [`Kind`], a text for a person, and where known its SQLSTATE, position, detail, hint and cause.
///
/// The text is lower case, names the object and says what to do. It is public: it never holds a secret.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    pub kind: Kind,
    pub message: Cow<'static, str>,
    sqlstate: Option<&'static str>,
    /// Where in the statement's text the error lies, in characters, from 1.
    pub position: Option<usize>,
    pub hint: Option<Cow<'static, str>>,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// Creates an error of `kind` with a text for a person.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into(), sqlstate: None, position: None, hint: None, source: None }
    }

    /// Creates a [`Kind::BadInput`] error.
    pub fn bad_input(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::BadInput, message)
    }

    /// Creates a [`Kind::Corrupt`] error.
    pub fn corrupt(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Corrupt, message)
    }

    /// Creates a [`Kind::Internal`] error.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Internal, message)
    }

    /// Creates a [`Kind::Io`] error about `object`.
    pub fn io(object: impl std::fmt::Display, source: std::io::Error) -> Self {
        Self::new(Kind::Io, format!("{object}: {source}")).with_source(source)
    }

    /// Replaces the kind, where the caller knows better what to do next.
    pub fn with_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Sets the SQLSTATE, for a case finer than the kind's.
    pub fn with_sqlstate(mut self, sqlstate: &'static str) -> Self {
        self.sqlstate = Some(sqlstate);
        self
    }

    /// Sets the position in the statement, in characters from 1.
    pub fn with_position(mut self, position: usize) -> Self {
        self.position = Some(position);
        self
    }

    /// Adds advice on what to do.
    pub fn with_hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Keeps the cause.
    pub fn with_source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Whether the reader of our output has gone, as `head` does; that is an end and not a failure.
    pub fn is_closed_pipe(&self) -> bool {
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            if inner.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe) {
                return true;
            }
            cause = inner.source();
        }
        false
    }

    /// Whether the same request may succeed later.
    pub fn retryable(&self) -> bool {
        matches!(
            self.kind,
            Kind::Incomplete | Kind::Overloaded { .. } | Kind::OverRate { .. } | Kind::Io | Kind::Closed
        )
    }

    /// The five-character SQLSTATE that PostgreSQL would give.
    pub fn sqlstate(&self) -> &'static str {
        self.sqlstate.unwrap_or(match self.kind {
            Kind::BadInput => "42601",
            Kind::TooLarge => "54000",
            Kind::Incomplete => "08006",
            Kind::Overloaded { .. } => "53300",
            Kind::OverRate { .. } => "53400",
            Kind::Unauthenticated => "28000",
            Kind::Denied => "42501",
            Kind::NotFound => "42704",
            Kind::Cancelled => "57014",
            Kind::OutOfResources => "53200",
            Kind::Corrupt => "XX001",
            Kind::Io => "58030",
            Kind::Closed => "57P01",
            Kind::Internal => "XX000",
        })
    }

    /// The `google.rpc.Code` of the answer, as a number.
    pub fn grpc_code(&self) -> i32 {
        match self.kind {
            Kind::BadInput => 3,
            Kind::TooLarge | Kind::OutOfResources | Kind::OverRate { .. } => 8,
            Kind::Incomplete | Kind::Overloaded { .. } | Kind::Closed | Kind::Io => 14,
            Kind::Denied => 7,
            Kind::Unauthenticated => 16,
            Kind::NotFound => 5,
            Kind::Cancelled => 1,
            Kind::Corrupt | Kind::Internal => 13,
        }
    }

    /// The HTTP status of the answer.
    pub fn http_status(&self) -> u16 {
        match self.kind {
            Kind::BadInput => 400,
            Kind::TooLarge => 413,
            Kind::Incomplete | Kind::Overloaded { .. } | Kind::Closed | Kind::Io => 503,
            Kind::Unauthenticated => 401,
            Kind::Denied => 403,
            Kind::OverRate { .. } => 429,
            Kind::NotFound => 404,
            Kind::Cancelled | Kind::OutOfResources | Kind::Corrupt | Kind::Internal => 500,
        }
    }
}
