//! A line of the audit log, and its place in the chain.

use std::net::SocketAddr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// What the first line has in the place of the hash of the line before it.
pub(super) const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Bytes that are kept of a text: a statement may have megabytes.
const MAX_TEXT_BYTES: usize = 4096;

/// What a line tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A client came in or left.
    Connection,
    Statement,
    /// Something was done to the server or its data.
    Act,
    /// Somebody was not let in, or may not do what was asked.
    Refusal,
}

impl Kind {
    /// The name that SQL gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Statement => "statement",
            Self::Act => "act",
            Self::Refusal => "refusal",
        }
    }
}

/// Whose doing it is, as far as that is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    pub user: Option<String>,
    pub address: Option<SocketAddr>,
    /// Whose spans it is about; the default tenant's, or the server, without it.
    pub tenant: Option<String>,
}

/// What a line tells, before it has its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub kind: Kind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The statement, or a word for what was done.
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// `ok`, or an SQLSTATE.
    pub outcome: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Event {
    pub(super) fn new(kind: Kind, who: &Who, what: &str) -> Self {
        Self {
            kind,
            user: who.user.as_deref().map(cut),
            address: who.address.map(|address| address.to_string()),
            tenant: who.tenant.clone(),
            what: cut(what),
            rows: None,
            bytes: None,
            duration_ms: None,
            outcome: "ok".to_owned(),
            detail: None,
        }
    }

    pub(super) fn with_detail(self, detail: &str) -> Self {
        Self { detail: Some(cut(detail)), ..self }
    }

    pub(super) fn with_error(self, error: &Error) -> Self {
        Self { outcome: error.sqlstate().to_owned(), ..self }.with_detail(&error.message)
    }
}

/// A line as it stands in a file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Line {
    /// Its number, from 1.
    pub n: u64,
    /// When it was written, in UTC.
    #[serde(deserialize_with = "instant")]
    pub at: DateTime<Utc>,
    #[serde(flatten)]
    pub event: Event,
    /// The hash of the line before it, in hex.
    pub prev: String,
}

impl Line {
    /// The text of the line, without its end.
    pub(super) fn text(n: u64, at: DateTime<Utc>, event: &Event, prev: &str) -> Result<String> {
        #[derive(Serialize)]
        struct Written<'a> {
            n: u64,
            at: String,
            #[serde(flatten)]
            event: &'a Event,
            prev: &'a str,
        }
        let at = at.to_rfc3339_opts(SecondsFormat::Millis, true);
        let text = serde_json::to_string(&Written { n, at, event, prev });
        text.map_err(|error| Error::internal(format!("a line of the audit log: {error}")))
    }

    pub(super) fn parse(text: &[u8]) -> std::result::Result<Self, String> {
        serde_json::from_slice(text).map_err(|error| format!("it is no line of the audit log: {error}"))
    }
}

fn instant<'de, D: Deserializer<'de>>(text: D) -> std::result::Result<DateTime<Utc>, D::Error> {
    let text = String::deserialize(text)?;
    text.parse().map_err(|error| D::Error::custom(format!("{text:?} is no time: {error}")))
}

/// The hash of a line without its end, in hex.
pub(super) fn hash(line: &[u8]) -> String {
    Sha256::digest(line).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The beginning of a text, and how long it was.
fn cut(text: &str) -> String {
    if text.len() <= MAX_TEXT_BYTES {
        return text.to_owned();
    }
    let end = (0..=MAX_TEXT_BYTES).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}… ({} bytes)", &text[..end], text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written_whatever_is_in_it() {
        let who = Who {
            user: Some("ann\n\"\u{1b}[31m".into()),
            address: Some("127.0.0.1:5".parse().unwrap()),
            tenant: Some("acme".into()),
        };
        let event = Event::new(Kind::Refusal, &who, &"é".repeat(MAX_TEXT_BYTES));
        let event = event.with_error(&Error::bad_input("why").with_sqlstate("28P01"));
        let at = DateTime::from_timestamp_millis(1_700_000_000_123).unwrap();
        let text = Line::text(7, at, &event, BEGINNING).unwrap();
        assert!(!text.contains(['\n', '\u{1b}']) && text.len() < 2 * MAX_TEXT_BYTES, "{text}");
        assert!(event.what.ends_with("… (8192 bytes)"));
        assert_eq!(Line::parse(text.as_bytes()).unwrap(), Line { n: 7, at, event, prev: BEGINNING.into() });
    }

    #[test]
    fn the_hash_is_sha_256() {
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
