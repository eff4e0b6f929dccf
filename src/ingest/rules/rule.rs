//! One rule: where it looks, what it looks for, and what it does.

use std::borrow::Cow;
use std::sync::atomic::AtomicU64;

use hmac::{Hmac, KeyInit as _, Mac as _};
use regex::bytes::RegexSet;
use sha2::Sha256;

use super::patterns::Pattern;
use crate::error::{Error, Result};
use crate::otlp::{Owner, TextPlace};

/// Where a rule looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Place {
    Resource,
    Scope,
    Span,
    Event,
    Link,
    /// Names of spans and events.
    Name,
    /// Messages of statuses.
    Status,
}

impl Place {
    pub const ALL: [Self; 7] =
        [Self::Resource, Self::Scope, Self::Span, Self::Event, Self::Link, Self::Name, Self::Status];

    pub fn of_owner(owner: Owner) -> Self {
        match owner {
            Owner::Resource => Self::Resource,
            Owner::Scope => Self::Scope,
            Owner::Span => Self::Span,
            Owner::Event => Self::Event,
            Owner::Link => Self::Link,
        }
    }

    pub fn of_text(place: TextPlace) -> Self {
        match place {
            TextPlace::SpanName | TextPlace::EventName => Self::Name,
            TextPlace::StatusMessage => Self::Status,
        }
    }
}

/// What a rule does.
#[derive(Debug)]
pub(super) enum Action {
    Delete,
    /// Puts the keyed hash in the place of the value.
    Hash(HashKey),
    /// Puts a text in the place of the value, or of what the patterns match of it.
    Mask(String),
    /// Deletes attributes with other keys.
    Allow,
}

impl Action {
    /// What it did to a value, as counters have it.
    pub fn outcome(&self) -> &'static str {
        match self {
            Self::Delete | Self::Allow => "deleted",
            Self::Hash(_) => "hashed",
            Self::Mask(_) => "masked",
        }
    }
}

#[derive(Debug)]
pub(super) struct Rule {
    pub name: String,
    pub action: Action,
    pub places: Vec<Place>,
    /// The keys that it is about; `None` for all.
    pub keys: Option<RegexSet>,
    /// What it looks for in values; the values themselves when there are none.
    pub patterns: Vec<Pattern>,
    /// How many values it has changed.
    pub values: AtomicU64,
}

impl Rule {
    /// What the patterns do to a text; `None` when they do not match it.
    pub fn change(&self, text: &[u8]) -> Option<Changed> {
        if let (Action::Mask(with), false) = (&self.action, self.patterns.is_empty()) {
            let mut masked = Cow::Borrowed(text);
            for pattern in &self.patterns {
                if let Some(changed) = pattern.replace(&masked, with.as_bytes()) {
                    masked = Cow::Owned(changed);
                }
            }
            return match masked {
                Cow::Borrowed(_) => None,
                Cow::Owned(masked) => Some(Changed::To(masked)),
            };
        }
        if !self.patterns.is_empty() && !self.patterns.iter().any(|pattern| pattern.is_in(text)) {
            return None;
        }
        Some(self.whole(text))
    }

    /// What the rule does to a value as a whole.
    pub fn whole(&self, value: &[u8]) -> Changed {
        match &self.action {
            Action::Delete | Action::Allow => Changed::Gone,
            Action::Hash(key) => Changed::To(key.hash(value).into_bytes()),
            Action::Mask(with) => Changed::To(with.clone().into_bytes()),
        }
    }
}

/// What a rule makes of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Changed {
    Gone,
    To(Vec<u8>),
}

/// The key of a hash; it is never shown.
pub(super) struct HashKey(Hmac<Sha256>);

impl HashKey {
    /// A shorter key could be guessed, and with it who is behind a hash.
    pub const LEAST_BYTES: usize = 16;

    pub fn new(key: &[u8]) -> Result<Self> {
        Hmac::new_from_slice(key).map(Self).map_err(|_| Error::bad_input("the key of a hash has a wrong length"))
    }

    /// HMAC-SHA-256 in hex.
    fn hash(&self, value: &[u8]) -> String {
        let mut hmac = self.0.clone();
        hmac.update(value);
        hmac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl std::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HashKey")
    }
}
