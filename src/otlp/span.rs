//! One span's fields, read into a scratch that is used again for the next span, and judged before anything is kept.

use super::attributes::{AttributeSet, TextPool};
use super::limits::{END_OF_TIME_NS, MAX_EVENTS, MAX_LINKS};
use super::refusals::RefusalReason;
use super::value::ValueFault;
use super::wire::Fields;
use crate::model::{SpanId, TraceId};

/// A span as its request has it; texts and ids point into the request.
#[derive(Debug, Default)]
pub(super) struct Span<'a> {
    pub trace_id: &'a [u8],
    pub span_id: &'a [u8],
    pub parent_span_id: &'a [u8],
    pub trace_state: &'a str,
    pub name: &'a str,
    /// The name as it came, for the message about a refused span.
    pub raw_name: &'a [u8],
    pub flags: u32,
    pub kind: i32,
    pub start_ns: u64,
    pub end_ns: u64,
    pub status_code: i32,
    pub status_message: &'a str,
    pub dropped_attributes: u32,
    pub dropped_events: u32,
    pub dropped_links: u32,
    pub attributes: AttributeSet<'a>,
    pub events: Vec<Event<'a>>,
    pub links: Vec<Link<'a>>,
    /// The attributes of events and links, one after the other.
    pub inner: AttributeSet<'a>,
    pub pool: TextPool,
    excess_events: u32,
    excess_links: u32,
    has_status: bool,
    bad_utf8: bool,
}

/// An event; its attributes are a range of [`Span::inner`].
#[derive(Debug)]
pub(super) struct Event<'a> {
    pub time_ns: u64,
    pub name: &'a str,
    pub attributes: std::ops::Range<usize>,
    pub dropped_attributes: u32,
}

/// A link; its attributes are a range of [`Span::inner`].
#[derive(Debug)]
pub(super) struct Link<'a> {
    pub trace_id: &'a [u8; TraceId::LEN],
    pub span_id: &'a [u8; SpanId::LEN],
    pub trace_state: &'a str,
    pub flags: u32,
    pub attributes: std::ops::Range<usize>,
    pub dropped_attributes: u32,
}

impl<'a> Span<'a> {
    /// Reads a span over what the scratch held.
    pub fn read(&mut self, message: &'a [u8]) -> Result<(), ValueFault> {
        self.clear();
        let mut fields = Fields::of(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => self.trace_id = field.bytes(&fields)?,
                2 => self.span_id = field.bytes(&fields)?,
                3 => self.trace_state = self.text(field.bytes(&fields)?),
                4 => self.parent_span_id = field.bytes(&fields)?,
                5 => self.raw_name = field.bytes(&fields)?,
                6 => self.kind = field.varint(&fields)? as i32,
                7 => self.start_ns = field.fixed64(&fields)?,
                8 => self.end_ns = field.fixed64(&fields)?,
                9 => self.attributes.read(field.bytes(&fields)?, &mut self.pool)?,
                10 => self.dropped_attributes = field.varint(&fields)? as u32,
                11 => self.event(field.bytes(&fields)?)?,
                12 => self.dropped_events = field.varint(&fields)? as u32,
                13 => self.link(field.bytes(&fields)?)?,
                14 => self.dropped_links = field.varint(&fields)? as u32,
                15 => self.status(field.bytes(&fields)?)?,
                16 => self.flags = field.fixed32(&fields)?,
                _ => {}
            }
        }
        self.name = self.text(self.raw_name);
        self.finish_counts();
        Ok(())
    }

    /// Says why the span cannot be kept; `None` when it can.
    pub fn refusal(&self) -> Option<RefusalReason> {
        let is_zero = |id: &[u8]| id.iter().all(|byte| *byte == 0);
        if self.trace_id.len() != TraceId::LEN || is_zero(self.trace_id) {
            return Some(RefusalReason::TraceId);
        }
        if self.span_id.len() != SpanId::LEN || is_zero(self.span_id) {
            return Some(RefusalReason::SpanId);
        }
        if !matches!(self.parent_span_id.len(), 0 | SpanId::LEN) {
            return Some(RefusalReason::ParentSpanId);
        }
        if self.start_ns == 0 || self.start_ns >= END_OF_TIME_NS {
            return Some(RefusalReason::StartTime);
        }
        if self.end_ns < self.start_ns || i64::try_from(self.end_ns).is_err() {
            return Some(RefusalReason::EndTime);
        }
        (self.bad_utf8 || self.attributes.bad_utf8 || self.inner.bad_utf8).then_some(RefusalReason::Utf8)
    }

    /// The message of the first exception, when the span is an error that has no message of its own.
    pub fn exception_message(&self) -> Option<&str> {
        const STATUS_ERROR: i32 = 2;
        if self.status_code != STATUS_ERROR || !self.status_message.is_empty() {
            return None;
        }
        let event = self.events.iter().find(|event| event.name == "exception")?;
        let attributes = &self.inner.kept[event.attributes.clone()];
        let message = attributes.iter().find(|attribute| attribute.key == "exception.message")?;
        message.value.text(&self.pool).filter(|text| !text.is_empty())
    }

    fn clear(&mut self) {
        let mut fresh = Self {
            attributes: std::mem::take(&mut self.attributes),
            events: std::mem::take(&mut self.events),
            links: std::mem::take(&mut self.links),
            inner: std::mem::take(&mut self.inner),
            pool: std::mem::take(&mut self.pool),
            ..Self::default()
        };
        fresh.attributes.clear();
        fresh.events.clear();
        fresh.links.clear();
        fresh.inner.clear();
        fresh.pool.clear();
        *self = fresh;
    }

    /// Adds what was left out here to what the sender left out.
    fn finish_counts(&mut self) {
        self.dropped_attributes = self.dropped_attributes.saturating_add(self.attributes.dropped);
        self.dropped_events = self.dropped_events.saturating_add(self.excess_events);
        self.dropped_links = self.dropped_links.saturating_add(self.excess_links);
    }

    fn text(&mut self, bytes: &'a [u8]) -> &'a str {
        std::str::from_utf8(bytes).unwrap_or_else(|_| {
            self.bad_utf8 = true;
            ""
        })
    }

    fn status(&mut self, message: &'a [u8]) -> Result<(), ValueFault> {
        if std::mem::replace(&mut self.has_status, true) {
            return Err(ValueFault::Repeated);
        }
        let mut fields = Fields::of(message);
        while let Some(field) = fields.next()? {
            match field.number {
                2 => self.status_message = self.text(field.bytes(&fields)?),
                3 => self.status_code = field.varint(&fields)? as i32,
                _ => {}
            }
        }
        Ok(())
    }

    fn event(&mut self, message: &'a [u8]) -> Result<(), ValueFault> {
        let first = self.inner.begin();
        let mut event = Event { time_ns: 0, name: "", attributes: 0..0, dropped_attributes: 0 };
        let mut fields = Fields::of(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => event.time_ns = field.fixed64(&fields)?,
                2 => event.name = self.text(field.bytes(&fields)?),
                3 => self.inner.read(field.bytes(&fields)?, &mut self.pool)?,
                4 => event.dropped_attributes = field.varint(&fields)? as u32,
                _ => {}
            }
        }
        if self.events.len() >= MAX_EVENTS {
            self.inner.kept.truncate(first);
            self.excess_events = self.excess_events.saturating_add(1);
            return Ok(());
        }
        event.attributes = first..self.inner.kept.len();
        event.dropped_attributes = event.dropped_attributes.saturating_add(self.inner.dropped);
        self.events.push(event);
        Ok(())
    }

    /// Reads a link. One whose ids have the wrong length points nowhere: it is left out and counted.
    fn link(&mut self, message: &'a [u8]) -> Result<(), ValueFault> {
        let first = self.inner.begin();
        let (mut trace_id, mut span_id): (&[u8], &[u8]) = (&[], &[]);
        let (mut trace_state, mut flags, mut dropped_attributes) = ("", 0, 0u32);
        let mut fields = Fields::of(message);
        while let Some(field) = fields.next()? {
            match field.number {
                1 => trace_id = field.bytes(&fields)?,
                2 => span_id = field.bytes(&fields)?,
                3 => trace_state = self.text(field.bytes(&fields)?),
                4 => self.inner.read(field.bytes(&fields)?, &mut self.pool)?,
                5 => dropped_attributes = field.varint(&fields)? as u32,
                6 => flags = field.fixed32(&fields)?,
                _ => {}
            }
        }
        let (Ok(trace_id), Ok(span_id), true) = (trace_id.try_into(), span_id.try_into(), self.links.len() < MAX_LINKS)
        else {
            self.inner.kept.truncate(first);
            self.excess_links = self.excess_links.saturating_add(1);
            return Ok(());
        };
        let dropped_attributes = dropped_attributes.saturating_add(self.inner.dropped);
        let attributes = first..self.inner.kept.len();
        self.links.push(Link { trace_id, span_id, trace_state, flags, attributes, dropped_attributes });
        Ok(())
    }
}
