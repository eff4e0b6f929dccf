//! The columns of a [`SpanBatch`], built span by span.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, FixedSizeBinaryArray, Int64Array, NullBufferBuilder, StringViewBuilder};
use datafusion::arrow::buffer::Buffer;

use super::attributes::cut_text;
use super::limits::{MAX_DECODED_BYTES, MAX_NAME_BYTES};
use super::lists::{EventColumn, LinkColumn};
use super::maps::{ENTRY_BYTES, EncodedMap, MapColumn, internal};
use super::rare::{CountColumn, TextColumn};
use super::span::Span;
use crate::error::{Error, Kind, Result};
use crate::model::schema::UNKNOWN_SERVICE;
use crate::model::{SpanBatch, SpanId, TraceId};

/// Bytes of a block of long texts in columns that mostly repeat or lack them. Arrow's own default of 8 KiB a column would be most
/// of a small request's batch.
pub(super) const TEXT_BLOCK_BYTES: u32 = 1 << 10;

/// Bytes of the largest block of span names; a larger one would mostly stand empty at a request's end.
const MAX_TEXT_BLOCK_BYTES: u32 = 64 << 10;

/// What is reserved for the name of a span before it is read; the column grows past it by a block at a time.
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
    trace_state: TextColumn,
    flags: CountColumn,
    span_name: StringViewBuilder,
    span_kind: StringViewBuilder,
    status_code: StringViewBuilder,
    status_message: TextColumn,
    exception_message: TextColumn,
    attributes: AttributeColumns,
    events: EventColumn,
    dropped_events: CountColumn,
    links: LinkColumn,
    dropped_links: CountColumn,
    owner_of: Vec<u32>,
    owners: OwnerColumns,
}

/// The columns that have a row for each resource with a scope.
#[derive(Debug, Default)]
struct OwnerColumns {
    rows: usize,
    service_name: TextColumn,
    resource: AttributeColumns,
    resource_schema_url: TextColumn,
    scope_name: TextColumn,
    scope_version: TextColumn,
    scope: AttributeColumns,
    scope_schema_url: TextColumn,
}

/// The three columns of one set of attributes.
#[derive(Debug, Default)]
struct AttributeColumns {
    maps: MapColumn,
    types: TextColumn,
    dropped: CountColumn,
}

impl AttributeColumns {
    fn append_owner(&mut self, owner: &Owner<'_>) {
        self.maps.append_encoded(&owner.attributes);
        self.types.append(owner.attributes.types.as_deref().unwrap_or_default());
        self.dropped.append(owner.dropped_attributes as i32);
    }

    fn finish(self) -> Result<[Option<ArrayRef>; 3]> {
        Ok([self.maps.finish()?, self.types.finish(), self.dropped.finish()])
    }
}

impl OwnerColumns {
    fn append(&mut self, around: &Surroundings<'_, '_>) {
        let Surroundings { resource, scope } = around;
        let service = resource.attributes.get("service.name").filter(|name| !name.is_empty());
        self.service_name.append(cut_text(service.unwrap_or(UNKNOWN_SERVICE), MAX_NAME_BYTES));
        self.resource.append_owner(resource);
        self.resource_schema_url.append(resource.schema_url);
        self.scope_name.append(scope.name);
        self.scope_version.append(scope.version);
        self.scope.append_owner(scope);
        self.scope_schema_url.append(scope.schema_url);
        self.rows += 1;
    }
}

impl SpanColumns {
    /// What a row takes in the columns of fixed width: times, ids, counts, and 16 bytes for each of 14 texts.
    const FIXED_ROW_BYTES: usize = 320;

    pub fn with_capacity(rows: usize) -> Self {
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
            trace_state: TextColumn::default(),
            flags: CountColumn::default(),
            span_name: StringViewBuilder::with_capacity(rows).with_fixed_block_size(names_block_bytes),
            span_kind: view(),
            status_code: view(),
            status_message: TextColumn::default(),
            exception_message: TextColumn::default(),
            attributes: AttributeColumns { maps: MapColumn::reused(), ..AttributeColumns::default() },
            events: EventColumn::default(),
            dropped_events: CountColumn::default(),
            links: LinkColumn::default(),
            dropped_links: CountColumn::default(),
            owner_of: Vec::with_capacity(rows),
            owners: OwnerColumns::default(),
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
        self.trace_state.append(span.trace_state);
        self.flags.append(span.flags as i32);
        self.span_name.append_value(cut_text(span.name, MAX_NAME_BYTES));
        self.span_kind.append_value(kind_name(span.kind));
        self.status_code.append_value(status_name(span.status_code));
        self.status_message.append(span.status_message);
        let exception = span.exception_message();
        self.exception_message.append(exception.unwrap_or_default());
        let text_before = self.attributes.maps.text_bytes();
        let types = self.attributes.maps.append(&span.attributes.kept, &span.pool);
        self.attributes.types.append(types.unwrap_or_default());
        self.attributes.dropped.append(span.dropped_attributes as i32);
        let list_bytes = self.events.append(span) + self.links.append(span);
        self.dropped_events.append(span.dropped_events as i32);
        self.dropped_links.append(span.dropped_links as i32);
        self.grow(
            Self::FIXED_ROW_BYTES
                + (span.trace_state.len() + span.name.len() + span.status_message.len())
                + exception.map_or(0, str::len)
                + (self.attributes.maps.text_bytes() - text_before + span.attributes.kept.len() * ENTRY_BYTES)
                + list_bytes,
        )
    }

    /// Appends resource and scope of the last `rows` spans.
    pub fn append_surroundings(&mut self, around: &Surroundings<'_, '_>, rows: usize) -> Result<()> {
        // As if each span had its own: this is where a small request could become a giant one when it is read.
        self.grow(rows.saturating_mul(around.resource.row_bytes() + around.scope.row_bytes()))?;
        self.owner_of.resize(self.owner_of.len() + rows, self.owners.rows as u32);
        self.owners.append(around);
        Ok(())
    }

    /// The batch.
    pub fn finish(self) -> Result<SpanBatch> {
        let [attributes, attribute_types, dropped_attributes] = self.attributes.finish()?;
        let owners = self.owners;
        let [resource, resource_types, dropped_resource] = owners.resource.finish()?;
        let [scope, scope_types, dropped_scope] = owners.scope.finish()?;
        let columns = vec![
            Some(Arc::new(Int64Array::from(self.start_ns)) as ArrayRef),
            Some(Arc::new(Int64Array::from(self.duration_ns)) as ArrayRef),
            Some(fixed(TraceId::LEN, self.trace_id, None)?),
            Some(fixed(SpanId::LEN, self.span_id, None)?),
            Some(fixed(SpanId::LEN, self.parent_span_id, Some(self.has_parent))?),
            self.trace_state.finish(),
            self.flags.finish(),
            Some(texts(self.span_name)),
            owners.service_name.finish(),
            Some(texts(self.span_kind)),
            Some(texts(self.status_code)),
            self.status_message.finish(),
            self.exception_message.finish(),
            attributes,
            attribute_types,
            dropped_attributes,
            resource,
            resource_types,
            dropped_resource,
            owners.resource_schema_url.finish(),
            owners.scope_name.finish(),
            owners.scope_version.finish(),
            scope,
            scope_types,
            dropped_scope,
            owners.scope_schema_url.finish(),
            self.events.finish()?,
            self.dropped_events.finish(),
            self.links.finish()?,
            self.dropped_links.finish(),
        ];
        SpanBatch::try_new(columns, self.owner_of, owners.rows)
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

fn texts(mut column: StringViewBuilder) -> ArrayRef {
    Arc::new(column.finish())
}

/// A column of ids of `len` bytes.
pub(super) fn fixed(len: usize, bytes: Vec<u8>, valid: Option<NullBufferBuilder>) -> Result<ArrayRef> {
    let nulls = valid.and_then(|mut valid| valid.finish());
    let array = FixedSizeBinaryArray::try_new(len as i32, Buffer::from_vec(bytes), nulls).map_err(internal)?;
    Ok(Arc::new(array))
}
