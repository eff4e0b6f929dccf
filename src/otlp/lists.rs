//! The list columns of events and links.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int32Array, Int64Array, ListArray, StringBuilder, StructArray};
use datafusion::arrow::datatypes::{DataType, Field, Fields};

use super::columns::fixed;
use super::maps::{ENTRY_BYTES, MapColumn, internal, offsets};
use super::span::Span;
use crate::error::Result;
use crate::model::schema::{LIST_ELEMENT, event_fields, link_fields};
use crate::model::{SpanId, TraceId};

/// Builds the column of events.
#[derive(Debug)]
pub(super) struct EventColumn {
    ends: Vec<i32>,
    time_ns: Vec<i64>,
    name: StringBuilder,
    attributes: MapColumn,
    types: StringBuilder,
    dropped: Vec<i32>,
}

impl EventColumn {
    const FIXED_BYTES: usize = 28;

    pub fn new(rows: usize) -> Self {
        Self {
            ends: start_of_ends(rows),
            time_ns: Vec::new(),
            name: StringBuilder::with_capacity(0, 0),
            attributes: MapColumn::with_capacity(0, 0, 0),
            types: StringBuilder::with_capacity(0, 0),
            dropped: Vec::new(),
        }
    }

    /// Appends the events of a span; returns what they take.
    #[inline]
    pub fn append(&mut self, span: &Span<'_>) -> usize {
        let text_before = self.attributes.text_bytes();
        let mut bytes = 0;
        for event in &span.events {
            // The clock of an event is the sender's affair; 64 bits go through as they are.
            self.time_ns.push(event.time_ns as i64);
            self.name.append_value(event.name);
            let attributes = &span.inner.kept[event.attributes.clone()];
            self.types.append_option(self.attributes.append(attributes, &span.pool));
            self.dropped.push(event.dropped_attributes as i32);
            bytes += Self::FIXED_BYTES + event.name.len() + attributes.len() * ENTRY_BYTES;
        }
        self.ends.push(self.time_ns.len() as i32);
        bytes + self.attributes.text_bytes() - text_before
    }

    /// The column as Arrow has it.
    pub fn finish(mut self) -> Result<ArrayRef> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(self.time_ns)),
            Arc::new(self.name.finish()),
            self.attributes.finish()?,
            Arc::new(self.types.finish()),
            Arc::new(Int32Array::from(self.dropped)),
        ];
        list(event_fields(), columns, self.ends)
    }
}

/// Builds the column of links.
#[derive(Debug)]
pub(super) struct LinkColumn {
    ends: Vec<i32>,
    trace_id: Vec<u8>,
    span_id: Vec<u8>,
    trace_state: StringBuilder,
    flags: Vec<i32>,
    attributes: MapColumn,
    types: StringBuilder,
    dropped: Vec<i32>,
}

impl LinkColumn {
    const FIXED_BYTES: usize = 48;

    pub fn new(rows: usize) -> Self {
        Self {
            ends: start_of_ends(rows),
            trace_id: Vec::new(),
            span_id: Vec::new(),
            trace_state: StringBuilder::with_capacity(0, 0),
            flags: Vec::new(),
            attributes: MapColumn::with_capacity(0, 0, 0),
            types: StringBuilder::with_capacity(0, 0),
            dropped: Vec::new(),
        }
    }

    /// Appends the links of a span; returns what they take.
    #[inline]
    pub fn append(&mut self, span: &Span<'_>) -> usize {
        let text_before = self.attributes.text_bytes();
        let mut bytes = 0;
        for link in &span.links {
            self.trace_id.extend_from_slice(link.trace_id);
            self.span_id.extend_from_slice(link.span_id);
            self.trace_state.append_option((!link.trace_state.is_empty()).then_some(link.trace_state));
            self.flags.push(link.flags as i32);
            let attributes = &span.inner.kept[link.attributes.clone()];
            self.types.append_option(self.attributes.append(attributes, &span.pool));
            self.dropped.push(link.dropped_attributes as i32);
            bytes += Self::FIXED_BYTES + link.trace_state.len() + attributes.len() * ENTRY_BYTES;
        }
        self.ends.push(self.flags.len() as i32);
        bytes + self.attributes.text_bytes() - text_before
    }

    /// The column as Arrow has it.
    pub fn finish(mut self) -> Result<ArrayRef> {
        let columns: Vec<ArrayRef> = vec![
            fixed(TraceId::LEN, self.trace_id, None)?,
            fixed(SpanId::LEN, self.span_id, None)?,
            Arc::new(self.trace_state.finish()),
            Arc::new(Int32Array::from(self.flags)),
            self.attributes.finish()?,
            Arc::new(self.types.finish()),
            Arc::new(Int32Array::from(self.dropped)),
        ];
        list(link_fields(), columns, self.ends)
    }
}

fn start_of_ends(rows: usize) -> Vec<i32> {
    let mut ends = Vec::with_capacity(rows + 1);
    ends.push(0);
    ends
}

fn list(fields: Fields, columns: Vec<ArrayRef>, ends: Vec<i32>) -> Result<ArrayRef> {
    let element = Arc::new(Field::new(LIST_ELEMENT, DataType::Struct(fields.clone()), false));
    let elements = StructArray::try_new(fields, columns, None).map_err(internal)?;
    Ok(Arc::new(ListArray::try_new(element, offsets(ends), Arc::new(elements), None).map_err(internal)?))
}
