//! A generated span before it is encoded.

use std::borrow::Cow;

/// An attribute's value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Text(Cow<'static, str>),
    Int(i64),
    Double(f64),
    Bool(bool),
    Texts(Vec<Cow<'static, str>>),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Int(number.into())
    }
}

/// Attributes in the order in which they are sent.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Attributes(pub(super) Vec<(&'static str, Value)>);

impl Attributes {
    pub(super) fn with_capacity(attributes: usize) -> Self {
        Self(Vec::with_capacity(attributes))
    }

    pub(super) fn push(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.push((key, value.into()));
    }
}

/// OTLP's span kinds, with its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Internal = 1,
    Server = 2,
    Client = 3,
    Producer = 4,
    Consumer = 5,
}

/// What came of a span.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum Status {
    #[default]
    Unset,
    Ok,
    Error(Cow<'static, str>),
}

#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) time_ns: u64,
    pub(super) name: &'static str,
    pub(super) attributes: Attributes,
}

#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) attributes: Attributes,
}

#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) trace_id: [u8; 16],
    pub(super) span_id: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
    pub(super) trace_state: &'static str,
    /// Bit 8: it is known whether the parent is remote; bit 9: it is; bits 0 to 7: W3C trace flags.
    pub(super) flags: u32,
    /// Which process sent it: an index into the fleet.
    pub(super) instance: usize,
    /// Which instrumentation library made it: an index into the scopes.
    pub(super) scope: usize,
    pub(super) kind: Kind,
    pub(super) name: Cow<'static, str>,
    /// By the clock of its host.
    pub(super) start_ns: u64,
    pub(super) end_ns: u64,
    pub(super) attributes: Attributes,
    pub(super) events: Vec<Event>,
    pub(super) links: Vec<Link>,
    pub(super) status: Status,
}

impl Span {
    pub(super) fn is_error(&self) -> bool {
        matches!(self.status, Status::Error(_))
    }
}
