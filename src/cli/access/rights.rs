//! What `user` says and changes of what a user sees and may take.

use std::time::Duration;

use clap::Args;

use crate::access::{Condition, Limits, Rights, UserEntry};
use crate::engine::Masks;
use crate::error::{Error, Result};
use crate::typed::{duration_text, parse_duration, parse_size, size_text};

/// What a user sees.
#[derive(Debug, Args)]
pub(super) struct SeesFlags {
    /// Spans of these services, and no others but those granted before
    #[arg(long, value_name = "SERVICE", value_delimiter = ',')]
    services: Vec<String>,
    /// Spans whose resource has this attribute with this value, or one of several; all conditions must be met
    #[arg(long = "where", value_name = "KEY=VALUE,…")]
    conditions: Vec<Condition>,
    /// Attributes whose values are masked: keys, with * and ? for any letters
    #[arg(long = "mask", value_name = "KEY", value_delimiter = ',')]
    masks: Vec<String>,
}

impl SeesFlags {
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.conditions.is_empty() && self.masks.is_empty()
    }

    pub fn grant(self, user: &mut UserEntry) -> Result<()> {
        user.rights.add(self.services, self.conditions, self.masks);
        Masks::new(user.rights.masks.iter().cloned())?;
        user.check().map_err(Error::bad_input)
    }

    pub fn revoke(&self, user: &mut UserEntry) -> Result<()> {
        user.rights.take_back(&self.services, &self.conditions, &self.masks).map_err(Error::bad_input)
    }
}

/// How much a user may take.
#[derive(Debug, Args)]
pub(super) struct LimitFlags {
    /// The most memory of a statement, such as 128MiB; none for the server's own limit
    #[arg(long, value_name = "BYTES")]
    memory_limit: Option<Limit>,
    /// The longest that a statement may run, such as 30s; none for no limit
    #[arg(long, value_name = "TIME")]
    statement_timeout: Option<Limit>,
    /// The most sessions at once; none for as many as the server has
    #[arg(long, value_name = "COUNT")]
    max_connections: Option<Limit>,
}

/// A limit as it is typed; `None` is none.
#[derive(Debug, Clone)]
struct Limit(Option<String>);

impl std::str::FromStr for Limit {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self((text != "none").then(|| text.to_owned())))
    }
}

impl LimitFlags {
    pub fn is_empty(&self) -> bool {
        self.memory_limit.is_none() && self.statement_timeout.is_none() && self.max_connections.is_none()
    }

    pub fn set(&self, user: &mut UserEntry) -> Result<()> {
        let limits = &mut user.limits;
        if let Some(Limit(text)) = &self.memory_limit {
            limits.memory_bytes = text.as_deref().map(|text| parsed("--memory-limit", text, parse_size)).transpose()?;
        }
        if let Some(Limit(text)) = &self.statement_timeout {
            let time = text.as_deref().map(|text| parsed("--statement-timeout", text, parse_duration)).transpose()?;
            limits.statement_timeout_ms = time.map(|time: Duration| time.as_millis().try_into().unwrap_or(u64::MAX));
        }
        if let Some(Limit(text)) = &self.max_connections {
            let count = |text: &str| text.parse().map_err(|_| format!("\"{text}\" is no number"));
            limits.connections = text.as_deref().map(|text| parsed("--max-connections", text, count)).transpose()?;
        }
        user.check().map_err(Error::bad_input)
    }
}

fn parsed<T>(flag: &str, text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T> {
    parse(text).map_err(|why| Error::bad_input(format!("{flag}: {why}")))
}

/// What a user sees and may take, as a person reads it; nothing where that is everything.
pub(super) fn told(rights: &Rights, limits: &Limits) -> String {
    let mut parts = Vec::new();
    if !rights.is_everything() {
        parts.push(rights.to_string());
    }
    parts.extend(limits.memory_bytes.map(|bytes| format!("a statement holds up to {}", size_text(bytes))));
    let timeout = limits.statement_timeout_ms.map(Duration::from_millis);
    parts.extend(timeout.map(|time| format!("a statement runs up to {}", duration_text(time))));
    parts.extend(limits.connections.map(|most| format!("up to {most} sessions")));
    parts.iter().map(|part| format!("; {part}")).collect()
}
