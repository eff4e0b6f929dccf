//! Attributes of a span, resource, scope, event or link on their way from the request to a column.

use super::limits::{MAX_ATTRIBUTE_KEY_BYTES, MAX_ATTRIBUTE_VALUE_BYTES, MAX_ATTRIBUTES, MAX_INNER_ATTRIBUTES};
use super::value::{AnyValue, ValueFault, read_key_value, write_value};
use crate::model::AttributeType;

/// Attributes that are kept, in the order of the request, and the count of those that are not.
#[derive(Debug, Default)]
pub(super) struct AttributeSet<'a> {
    pub kept: Vec<Attribute<'a>>,
    /// Left out or cut since [`Self::begin`].
    pub dropped: u32,
    pub bad_utf8: bool,
    first: usize,
}

/// One attribute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attribute<'a> {
    pub key: &'a str,
    pub value: AttributeValue<'a>,
}

/// An attribute's text: a string stands in the request, the text of any other type in a [`TextPool`].
#[derive(Debug, Clone, Copy)]
pub(super) enum AttributeValue<'a> {
    Empty,
    String(&'a str),
    Pooled { kind: AttributeType, start: usize, end: usize },
}

/// Texts that were made while reading.
pub(super) type TextPool = String;

impl<'a> AttributeValue<'a> {
    #[inline]
    pub fn text<'p>(&self, pool: &'p TextPool) -> Option<&'p str>
    where
        'a: 'p,
    {
        match *self {
            Self::Empty => None,
            Self::String(text) => Some(text),
            Self::Pooled { start, end, .. } => pool.get(start..end),
        }
    }

    #[inline]
    pub fn kind(&self) -> AttributeType {
        match *self {
            Self::Empty => AttributeType::Empty,
            Self::String(_) => AttributeType::String,
            Self::Pooled { kind, .. } => kind,
        }
    }
}

impl<'a> AttributeSet<'a> {
    pub fn clear(&mut self) {
        self.kept.clear();
        self.bad_utf8 = false;
        self.begin();
    }

    /// Starts the attributes of another owner; returns where they start.
    pub fn begin(&mut self) -> usize {
        self.dropped = 0;
        self.first = self.kept.len();
        self.first
    }

    /// Reads a `KeyValue`.
    #[inline]
    pub fn read(&mut self, message: &'a [u8], pool: &mut TextPool) -> Result<(), ValueFault> {
        let (key, value) = read_key_value(message)?;
        let Ok(key) = std::str::from_utf8(key) else {
            self.bad_utf8 = true;
            return Ok(());
        };
        let mut is_cut = false;
        let value = match value {
            AnyValue::Empty => AttributeValue::Empty,
            AnyValue::String(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => {
                    is_cut = text.len() > MAX_ATTRIBUTE_VALUE_BYTES;
                    AttributeValue::String(cut_text(text, MAX_ATTRIBUTE_VALUE_BYTES))
                }
                Err(_) => {
                    self.bad_utf8 = true;
                    return Ok(());
                }
            },
            other => match self.pooled(other, pool)? {
                Some(value) => value,
                None => return Ok(()),
            },
        };
        let is_kept = self.kept.len() - self.first < MAX_ATTRIBUTES
            && self.kept.len() < MAX_INNER_ATTRIBUTES
            && key.len() <= MAX_ATTRIBUTE_KEY_BYTES;
        if is_kept {
            self.kept.push(Attribute { key, value });
        }
        self.dropped = self.dropped.saturating_add(u32::from(is_cut || !is_kept));
        Ok(())
    }

    fn pooled(&mut self, value: AnyValue<'a>, pool: &mut TextPool) -> Result<Option<AttributeValue<'a>>, ValueFault> {
        let start = pool.len();
        match write_value(value, pool) {
            Ok(Some(kind)) => return Ok(Some(AttributeValue::Pooled { kind, start, end: pool.len() })),
            Ok(None) => self.dropped = self.dropped.saturating_add(1),
            Err(ValueFault::Utf8) => self.bad_utf8 = true,
            Err(fault) => return Err(fault),
        }
        pool.truncate(start);
        Ok(None)
    }
}

/// Cuts `text` to at most `max_bytes`, before a character that would pass it.
#[inline]
pub(super) fn cut_text(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}
