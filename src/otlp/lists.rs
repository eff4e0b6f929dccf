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
#[derive(Debug, Default)]
pub(super) struct EventColumn {
    ends: RowEnds,
    time_ns: Vec<i64>,
    name: Texts,
    attributes: MapColumn,
    types: Texts,
    dropped: Vec<i32>,
}

impl EventColumn {
    const FIXED_BYTES: usize = 28;

    /// Appends the events of a span; returns what they take.
    #[inline]
    pub fn append(&mut self, span: &Span<'_>) -> usize {
        if span.events.is_empty() {
            self.ends.push(self.time_ns.len());
            return 0;
        }
        let text_before = self.attributes.text_bytes();
        let mut bytes = 0;
        for event in &span.events {
            // The clock of an event is the sender's affair; 64 bits go through as they are.
            self.time_ns.push(event.time_ns as i64);
            self.name.0.append_value(event.name);
            let attributes = &span.inner.kept[event.attributes.clone()];
            self.types.0.append_option(self.attributes.append(attributes, &span.pool));
            self.dropped.push(event.dropped_attributes as i32);
            bytes += Self::FIXED_BYTES + event.name.len() + attributes.len() * ENTRY_BYTES;
        }
        self.ends.push(self.time_ns.len());
        bytes + self.attributes.text_bytes() - text_before
    }

    /// The column as Arrow has it; `None` when all its lists are empty.
    pub fn finish(mut self) -> Result<Option<ArrayRef>> {
        let Some(ends) = self.ends.finish() else { return Ok(None) };
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(self.time_ns)),
            Arc::new(self.name.0.finish()),
            self.attributes.finish_all()?,
            Arc::new(self.types.0.finish()),
            Arc::new(Int32Array::from(self.dropped)),
        ];
        list(event_fields(), columns, &ends)
    }
}

/// Builds the column of links.
#[derive(Debug, Default)]
pub(super) struct LinkColumn {
    ends: RowEnds,
    trace_id: Vec<u8>,
    span_id: Vec<u8>,
    trace_state: Texts,
    flags: Vec<i32>,
    attributes: MapColumn,
    types: Texts,
    dropped: Vec<i32>,
}

impl LinkColumn {
    const FIXED_BYTES: usize = 48;

    /// Appends the links of a span; returns what they take.
    #[inline]
    pub fn append(&mut self, span: &Span<'_>) -> usize {
        if span.links.is_empty() {
            self.ends.push(self.flags.len());
            return 0;
        }
        let text_before = self.attributes.text_bytes();
        let mut bytes = 0;
        for link in &span.links {
            self.trace_id.extend_from_slice(link.trace_id);
            self.span_id.extend_from_slice(link.span_id);
            self.trace_state.0.append_option((!link.trace_state.is_empty()).then_some(link.trace_state));
            self.flags.push(link.flags as i32);
            let attributes = &span.inner.kept[link.attributes.clone()];
            self.types.0.append_option(self.attributes.append(attributes, &span.pool));
            self.dropped.push(link.dropped_attributes as i32);
            bytes += Self::FIXED_BYTES + link.trace_state.len() + attributes.len() * ENTRY_BYTES;
        }
        self.ends.push(self.flags.len());
        bytes + self.attributes.text_bytes() - text_before
    }

    /// The column as Arrow has it; `None` when all its lists are empty.
    pub fn finish(mut self) -> Result<Option<ArrayRef>> {
        let Some(ends) = self.ends.finish() else { return Ok(None) };
        let columns: Vec<ArrayRef> = vec![
            fixed(TraceId::LEN, self.trace_id, None)?,
            fixed(SpanId::LEN, self.span_id, None)?,
            Arc::new(self.trace_state.0.finish()),
            Arc::new(Int32Array::from(self.flags)),
            self.attributes.finish_all()?,
            Arc::new(self.types.0.finish()),
            Arc::new(Int32Array::from(self.dropped)),
        ];
        list(link_fields(), columns, &ends)
    }
}

/// Texts of elements. Arrow's own default has room for 1,024 of them, which few requests need and every request would pay for.
#[derive(Debug)]
struct Texts(StringBuilder);

impl Default for Texts {
    fn default() -> Self {
        Self(StringBuilder::with_capacity(0, 0))
    }
}

/// Where the list of each row ends; nothing as long as all of them are empty.
#[derive(Debug, Default)]
struct RowEnds {
    rows: usize,
    ends: Vec<i32>,
}

impl RowEnds {
    /// Ends a row with `elements` in all rows so far.
    #[inline]
    fn push(&mut self, elements: usize) {
        if elements > 0 {
            self.ends.resize(self.rows, 0);
            // At most MAX_DECODED_BYTES elements, so 32 bits hold the count.
            self.ends.push(elements as i32);
        }
        self.rows += 1;
    }

    fn finish(&mut self) -> Option<Vec<i32>> {
        (!self.ends.is_empty()).then(|| std::mem::take(&mut self.ends))
    }
}

fn list(fields: Fields, columns: Vec<ArrayRef>, ends: &[i32]) -> Result<Option<ArrayRef>> {
    let element = Arc::new(Field::new(LIST_ELEMENT, DataType::Struct(fields.clone()), false));
    let elements = StructArray::try_new(fields, columns, None).map_err(internal)?;
    Ok(Some(Arc::new(ListArray::try_new(element, offsets(ends), Arc::new(elements), None).map_err(internal)?)))
}
