//! The columns of [`crate::model::schema`], built span by span.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, FixedSizeBinaryArray, Int32Array, Int64Array, NullBufferBuilder, RecordBatch, StringViewBuilder,
};
use datafusion::arrow::buffer::Buffer;

use super::attributes::cut_text;
use super::limits::{MAX_DECODED_BYTES, MAX_NAME_BYTES};
use super::lists::{EventColumn, LinkColumn};
use super::maps::{ENTRY_BYTES, EncodedMap, MapColumn, internal};
use super::span::Span;
use crate::error::{Error, Kind, Result};
use crate::model::schema::{UNKNOWN_SERVICE, physical_schema};
use crate::model::{SpanId, TraceId};

/// Bytes of a block of long texts in columns that mostly repeat or lack them. Arrow's own default of 8 KiB a column would be most
/// of a small request's batch.
const TEXT_BLOCK_BYTES: u32 = 1 << 10;

/// Bytes of the largest block of span names; a larger one would mostly stand empty at a request's end.
const MAX_TEXT_BLOCK_BYTES: u32 = 64 << 10;

/// What is reserved for the attributes and the name of a span before they are read; columns grow past it by doubling.
const EXPECTED_ATTRIBUTES: usize = 3;
const EXPECTED_NAME_BYTES: usize = 24;

/// What all spans of a scope share.
#[derive(Debug)]
pub(super) struct Surroundings<'r, 'a> {
    pub resource: &'r Owner<'a>,
    pub scope: &'r Owner<'a>,
}

/// A resource or a scope.
#[derive(Debug)]
pub(super) struct Owner<'a> {
    pub attributes: EncodedMap,
    pub dropped_attributes: u32,
    pub schema_url: &'a str,
    /// Of a scope only.
    pub name: &'a str,
    /// Of a scope only.
    pub version: &'a str,
}

impl Owner<'_> {
    fn row_bytes(&self) -> usize {
        self.attributes.row_bytes + self.schema_url.len() + self.name.len() + self.version.len()
    }
}

/// Builds the batch of one request.
#[derive(Debug)]
pub(super) struct SpanColumns {
    bytes: usize,
    start_ns: Vec<i64>,
    duration_ns: Vec<i64>,
    trace_id: Vec<u8>,
    span_id: Vec<u8>,
    parent_span_id: Vec<u8>,
    has_parent: NullBufferBuilder,
    trace_state: StringViewBuilder,
    flags: Vec<i32>,
    span_name: StringViewBuilder,
    service_name: StringViewBuilder,
    span_kind: StringViewBuilder,
    status_code: StringViewBuilder,
    status_message: StringViewBuilder,
    exception_message: StringViewBuilder,
    attributes: AttributeColumns,
    resource: AttributeColumns,
    resource_schema_url: StringViewBuilder,
    scope_name: StringViewBuilder,
    scope_version: StringViewBuilder,
    scope: AttributeColumns,
    scope_schema_url: StringViewBuilder,
    events: EventColumn,
    dropped_events: Vec<i32>,
    links: LinkColumn,
    dropped_links: Vec<i32>,
}

/// The three columns of one set of attributes.
#[derive(Debug)]
struct AttributeColumns {
    maps: MapColumn,
    types: StringViewBuilder,
    dropped: Vec<i32>,
}

impl AttributeColumns {
    fn with_capacity(rows: usize, entries: usize, bytes: usize) -> Self {
        Self {
            maps: MapColumn::with_capacity(rows, entries, bytes),
            types: StringViewBuilder::with_capacity(rows).with_fixed_block_size(TEXT_BLOCK_BYTES),
            dropped: Vec::with_capacity(rows),
        }
    }

    fn append_owner(&mut self, owner: &Owner<'_>, rows: usize) -> Result<()> {
        self.maps.append_encoded(&owner.attributes, rows)?;
        append_text_run(&mut self.types, owner.attributes.types.as_deref(), rows)?;
        self.dropped.resize(self.dropped.len() + rows, owner.dropped_attributes as i32);
        Ok(())
    }

    fn finish(mut self) -> Result<[ArrayRef; 3]> {
        Ok([self.maps.finish()?, Arc::new(self.types.finish()), int32(self.dropped)])
    }
}

impl SpanColumns {
    /// What a row takes in the columns of fixed width: times, ids, counts, and 16 bytes for each of 14 texts.
    const FIXED_ROW_BYTES: usize = 320;

    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        let view = || StringViewBuilder::with_capacity(rows).with_fixed_block_size(TEXT_BLOCK_BYTES);
        let names_bytes = u32::try_from(rows * EXPECTED_NAME_BYTES).unwrap_or(u32::MAX);
        let names_block_bytes = names_bytes.clamp(TEXT_BLOCK_BYTES, MAX_TEXT_BLOCK_BYTES);
        Self {
            bytes: 0,
            start_ns: Vec::with_capacity(rows),
            duration_ns: Vec::with_capacity(rows),
            trace_id: Vec::with_capacity(rows * TraceId::LEN),
            span_id: Vec::with_capacity(rows * SpanId::LEN),
            parent_span_id: Vec::with_capacity(rows * SpanId::LEN),
            has_parent: NullBufferBuilder::new(rows),
            trace_state: view(),
            flags: Vec::with_capacity(rows),
            span_name: StringViewBuilder::with_capacity(rows).with_fixed_block_size(names_block_bytes),
            service_name: view(),
            span_kind: view(),
            status_code: view(),
            status_message: view(),
            exception_message: view(),
            attributes: AttributeColumns::with_capacity(rows, rows * EXPECTED_ATTRIBUTES, bytes / 8),
            resource: AttributeColumns::with_capacity(rows, 0, 0),
            resource_schema_url: view(),
            scope_name: view(),
            scope_version: view(),
            scope: AttributeColumns::with_capacity(rows, 0, 0),
            scope_schema_url: view(),
            events: EventColumn::new(rows),
            dropped_events: Vec::with_capacity(rows),
            links: LinkColumn::new(rows),
            dropped_links: Vec::with_capacity(rows),
        }
    }

    pub fn rows(&self) -> usize {
        self.start_ns.len()
    }

    /// Appends a span that was judged fit; its resource and scope follow in [`Self::append_surroundings`].
    #[inline]
    pub fn append(&mut self, span: &Span<'_>) -> Result<()> {
        self.start_ns.push(span.start_ns as i64);
        self.duration_ns.push((span.end_ns - span.start_ns) as i64);
        self.trace_id.extend_from_slice(span.trace_id);
        self.span_id.extend_from_slice(span.span_id);
        let has_parent = span.parent_span_id.iter().any(|byte| *byte != 0);
        self.has_parent.append(has_parent);
        self.parent_span_id.extend_from_slice(if has_parent { span.parent_span_id } else { &[0; SpanId::LEN] });
        append_text(&mut self.trace_state, span.trace_state);
        self.flags.push(span.flags as i32);
        self.span_name.append_value(cut_text(span.name, MAX_NAME_BYTES));
        self.span_kind.append_value(kind_name(span.kind));
        self.status_code.append_value(status_name(span.status_code));
        append_text(&mut self.status_message, span.status_message);
        let exception = span.exception_message();
        append_text(&mut self.exception_message, exception.unwrap_or(""));
        let text_before = self.attributes.maps.text_bytes();
        self.attributes.types.append_option(self.attributes.maps.append(&span.attributes.kept, &span.pool));
        self.attributes.dropped.push(span.dropped_attributes as i32);
        let list_bytes = self.events.append(span) + self.links.append(span);
        self.dropped_events.push(span.dropped_events as i32);
        self.dropped_links.push(span.dropped_links as i32);
        self.grow(
            Self::FIXED_ROW_BYTES
                + (span.trace_state.len() + span.name.len() + span.status_message.len())
                + exception.map_or(0, str::len)
                + (self.attributes.maps.text_bytes() - text_before + span.attributes.kept.len() * ENTRY_BYTES)
                + list_bytes,
        )
    }

    /// Appends resource and scope for the last `rows` spans.
    pub fn append_surroundings(&mut self, around: &Surroundings<'_, '_>, rows: usize) -> Result<()> {
        let Surroundings { resource, scope } = around;
        // Checked before the columns grow: this is where a small request could become a giant one.
        self.grow(rows.saturating_mul(resource.row_bytes() + scope.row_bytes()))?;
        let service = resource.attributes.get("service.name").filter(|name| !name.is_empty());
        let service = cut_text(service.unwrap_or(UNKNOWN_SERVICE), MAX_NAME_BYTES);
        append_text_run(&mut self.service_name, Some(service), rows)?;
        self.resource.append_owner(resource, rows)?;
        append_text_run(&mut self.resource_schema_url, non_empty(resource.schema_url), rows)?;
        append_text_run(&mut self.scope_name, non_empty(scope.name), rows)?;
        append_text_run(&mut self.scope_version, non_empty(scope.version), rows)?;
        self.scope.append_owner(scope, rows)?;
        append_text_run(&mut self.scope_schema_url, non_empty(scope.schema_url), rows)
    }

    /// The batch.
    pub fn finish(mut self) -> Result<RecordBatch> {
        let trace_id = fixed(TraceId::LEN, self.trace_id, None)?;
        let span_id = fixed(SpanId::LEN, self.span_id, None)?;
        let parent_span_id = fixed(SpanId::LEN, self.parent_span_id, Some(self.has_parent))?;
        let [attributes, attribute_types, dropped_attributes] = self.attributes.finish()?;
        let [resource, resource_types, dropped_resource] = self.resource.finish()?;
        let [scope, scope_types, dropped_scope] = self.scope.finish()?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(self.start_ns)),
            Arc::new(Int64Array::from(self.duration_ns)),
            trace_id,
            span_id,
            parent_span_id,
            Arc::new(self.trace_state.finish()),
            int32(self.flags),
            Arc::new(self.span_name.finish()),
            Arc::new(self.service_name.finish()),
            Arc::new(self.span_kind.finish()),
            Arc::new(self.status_code.finish()),
            Arc::new(self.status_message.finish()),
            Arc::new(self.exception_message.finish()),
            attributes,
            attribute_types,
            dropped_attributes,
            resource,
            resource_types,
            dropped_resource,
            Arc::new(self.resource_schema_url.finish()),
            Arc::new(self.scope_name.finish()),
            Arc::new(self.scope_version.finish()),
            scope,
            scope_types,
            dropped_scope,
            Arc::new(self.scope_schema_url.finish()),
            self.events.finish()?,
            int32(self.dropped_events),
            self.links.finish()?,
            int32(self.dropped_links),
        ];
        RecordBatch::try_new(physical_schema(), columns).map_err(internal)
    }

    #[inline]
    fn grow(&mut self, bytes: usize) -> Result<()> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes <= MAX_DECODED_BYTES {
            return Ok(());
        }
        Err(Error::new(
            Kind::TooLarge,
            format!(
                "the request's spans take more than {} MiB once decoded, with their resource and scope repeated; send fewer spans a request",
                MAX_DECODED_BYTES >> 20
            ),
        ))
    }
}

/// The name of a span kind; a number that OTLP does not define stands as its digits.
fn kind_name(kind: i32) -> Cow<'static, str> {
    Cow::Borrowed(match kind {
        0 => "UNSPECIFIED",
        1 => "INTERNAL",
        2 => "SERVER",
        3 => "CLIENT",
        4 => "PRODUCER",
        5 => "CONSUMER",
        other => return Cow::Owned(other.to_string()),
    })
}

/// The name of a status code; a number that OTLP does not define stands as its digits.
fn status_name(code: i32) -> Cow<'static, str> {
    Cow::Borrowed(match code {
        0 => "UNSET",
        1 => "OK",
        2 => "ERROR",
        other => return Cow::Owned(other.to_string()),
    })
}

fn non_empty(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

#[inline]
fn append_text(column: &mut StringViewBuilder, text: &str) {
    match text.is_empty() {
        true => column.append_null(),
        false => column.append_value(text),
    }
}

fn append_text_run(column: &mut StringViewBuilder, text: Option<&str>, rows: usize) -> Result<()> {
    match text {
        Some(text) => column.try_append_value_n(text, rows).map_err(internal),
        None => {
            (0..rows).for_each(|_| column.append_null());
            Ok(())
        }
    }
}

fn int32(values: Vec<i32>) -> ArrayRef {
    Arc::new(Int32Array::from(values))
}

/// A column of ids of `len` bytes.
pub(super) fn fixed(len: usize, bytes: Vec<u8>, valid: Option<NullBufferBuilder>) -> Result<ArrayRef> {
    let nulls = valid.and_then(|mut valid| valid.finish());
    let array = FixedSizeBinaryArray::try_new(len as i32, Buffer::from_vec(bytes), nulls).map_err(internal)?;
    Ok(Arc::new(array))
}
