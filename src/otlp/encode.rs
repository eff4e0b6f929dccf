//! An Arrow batch becomes a protobuf `ExportTraceServiceRequest` again.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, FixedSizeBinaryArray, ListArray, MapArray, RecordBatch, StringArray, StringViewArray,
    StructArray,
};
use datafusion::arrow::datatypes::{Int32Type, Int64Type};

use super::json::{any_value_to_protobuf, plain_to_any_value};
use super::value::field;
use super::write::{push_bytes, push_fixed32, push_fixed64, push_message, push_varint};
use crate::error::{Error, Result};
use crate::model::AttributeType;
use crate::model::schema::{self, physical_schema};

/// Encodes a batch in [`physical_schema`] as a protobuf `ExportTraceServiceRequest`.
///
/// Spans keep their order; neighbours of one resource or scope share it. Entity references of a resource, which OTLP still develops,
/// and unknown fields are not kept and so not given back.
///
/// # Errors
/// [`crate::error::Kind::Corrupt`] when a stored text is not what its type letter says.
pub fn encode_export(batch: &RecordBatch) -> Result<Vec<u8>> {
    if batch.schema_ref().fields() != physical_schema().fields() {
        return Err(Error::internal("a batch to encode has another schema than spans"));
    }
    let columns = Columns::of(batch)?;
    let mut out = Vec::new();
    let mut row = 0;
    while row < batch.num_rows() {
        let resource = columns.resource(row)?;
        let mut end = row + 1;
        while end < batch.num_rows() && columns.is_same_resource(row, end)? {
            end += 1;
        }
        push_message(1, &mut out, |out| {
            out.extend_from_slice(&resource);
            columns.write_scopes(row..end, out).map(|()| true)
        })?;
        row = end;
    }
    Ok(out)
}

/// The columns that have an encoding; `service_name` and `exception_message` are derived from others.
struct Columns<'b> {
    start_ns: &'b [i64],
    duration_ns: &'b [i64],
    trace_id: &'b FixedSizeBinaryArray,
    span_id: &'b FixedSizeBinaryArray,
    parent_span_id: &'b FixedSizeBinaryArray,
    trace_state: &'b StringViewArray,
    flags: &'b [i32],
    span_name: &'b StringViewArray,
    span_kind: &'b StringViewArray,
    status_code: &'b StringViewArray,
    status_message: &'b StringViewArray,
    attributes: Attributes<'b>,
    resource: Attributes<'b>,
    resource_schema_url: &'b StringViewArray,
    scope: Attributes<'b>,
    scope_name: &'b StringViewArray,
    scope_version: &'b StringViewArray,
    scope_schema_url: &'b StringViewArray,
    events: Events<'b>,
    dropped_events: &'b [i32],
    links: Links<'b>,
    dropped_links: &'b [i32],
}

impl<'b> Columns<'b> {
    fn of(batch: &'b RecordBatch) -> Result<Self> {
        let column = |name| batch.column_by_name(name).ok_or_else(|| mismatch(name));
        let view = |name| column(name)?.as_string_view_opt().ok_or_else(|| mismatch(name));
        let id = |name| column(name)?.as_fixed_size_binary_opt().ok_or_else(|| mismatch(name));
        let list = |name| column(name)?.as_list_opt::<i32>().ok_or_else(|| mismatch(name));
        let attributes = |map, types, dropped| {
            Ok::<_, Error>(Attributes {
                map: column(map)?.as_map_opt().ok_or_else(|| mismatch(map))?,
                types: Types::View(view(types)?),
                dropped: int32(column(dropped)?, dropped)?,
            })
        };
        Ok(Self {
            start_ns: int64(column(schema::START_NS)?, schema::START_NS)?,
            duration_ns: int64(column(schema::DURATION_NS)?, schema::DURATION_NS)?,
            trace_id: id(schema::TRACE_ID)?,
            span_id: id(schema::SPAN_ID)?,
            parent_span_id: id(schema::PARENT_SPAN_ID)?,
            trace_state: view(schema::TRACE_STATE)?,
            flags: int32(column(schema::FLAGS)?, schema::FLAGS)?,
            span_name: view(schema::SPAN_NAME)?,
            span_kind: view(schema::SPAN_KIND)?,
            status_code: view(schema::STATUS_CODE)?,
            status_message: view(schema::STATUS_MESSAGE)?,
            attributes: attributes(schema::ATTRIBUTES, schema::ATTRIBUTE_TYPES, schema::DROPPED_ATTRIBUTES_COUNT)?,
            resource: attributes(
                schema::RESOURCE_ATTRIBUTES,
                schema::RESOURCE_ATTRIBUTE_TYPES,
                schema::RESOURCE_DROPPED_ATTRIBUTES_COUNT,
            )?,
            resource_schema_url: view(schema::RESOURCE_SCHEMA_URL)?,
            scope: attributes(
                schema::SCOPE_ATTRIBUTES,
                schema::SCOPE_ATTRIBUTE_TYPES,
                schema::SCOPE_DROPPED_ATTRIBUTES_COUNT,
            )?,
            scope_name: view(schema::SCOPE_NAME)?,
            scope_version: view(schema::SCOPE_VERSION)?,
            scope_schema_url: view(schema::SCOPE_SCHEMA_URL)?,
            events: Events::of(list(schema::EVENTS)?)?,
            dropped_events: int32(column(schema::DROPPED_EVENTS_COUNT)?, schema::DROPPED_EVENTS_COUNT)?,
            links: Links::of(list(schema::LINKS)?)?,
            dropped_links: int32(column(schema::DROPPED_LINKS_COUNT)?, schema::DROPPED_LINKS_COUNT)?,
        })
    }

    /// The fields of a `ResourceSpans` but its scopes.
    fn resource(&self, row: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        push_message(1, &mut out, |out| {
            let before = out.len();
            self.resource.write(row, 1, out)?;
            push_count(2, self.resource.dropped[row], out);
            Ok(out.len() > before)
        })?;
        push_text(3, text(self.resource_schema_url, row), &mut out);
        Ok(out)
    }

    /// The fields of a `ScopeSpans` but its spans.
    fn scope(&self, row: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        push_message(1, &mut out, |out| {
            let before = out.len();
            push_text(1, text(self.scope_name, row), out);
            push_text(2, text(self.scope_version, row), out);
            self.scope.write(row, 3, out)?;
            push_count(4, self.scope.dropped[row], out);
            Ok(out.len() > before)
        })?;
        push_text(3, text(self.scope_schema_url, row), &mut out);
        Ok(out)
    }

    /// Whether two rows have one resource, told by the columns: encoding costs more than comparing.
    fn is_same_resource(&self, a: usize, b: usize) -> Result<bool> {
        let url = self.resource_schema_url;
        Ok(text(url, a) == text(url, b) && self.resource.is_same(a, b)?)
    }

    fn is_same_scope(&self, a: usize, b: usize) -> Result<bool> {
        let texts = [self.scope_schema_url, self.scope_name, self.scope_version];
        Ok(texts.iter().all(|column| text(column, a) == text(column, b)) && self.scope.is_same(a, b)?)
    }

    fn write_scopes(&self, rows: std::ops::Range<usize>, out: &mut Vec<u8>) -> Result<()> {
        let mut row = rows.start;
        while row < rows.end {
            let scope = self.scope(row)?;
            let mut end = row + 1;
            while end < rows.end && self.is_same_scope(row, end)? {
                end += 1;
            }
            push_message(2, out, |out| {
                out.extend_from_slice(&scope);
                for row in row..end {
                    push_message(2, out, |out| self.write_span(row, out).map(|()| true))?;
                }
                Ok(true)
            })?;
            row = end;
        }
        Ok(())
    }

    fn write_span(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        push_bytes(1, self.trace_id.value(row), out);
        push_bytes(2, self.span_id.value(row), out);
        push_text(3, text(self.trace_state, row), out);
        if self.parent_span_id.is_valid(row) {
            push_bytes(4, self.parent_span_id.value(row), out);
        }
        push_text(5, text(self.span_name, row), out);
        let kind = number_of(text(self.span_kind, row), SPAN_KINDS, schema::SPAN_KIND)?;
        if kind != 0 {
            push_varint(6, i64::from(kind) as u64, out);
        }
        let start_ns = self.start_ns[row] as u64;
        push_fixed64(7, start_ns, out);
        push_fixed64(8, start_ns.wrapping_add(self.duration_ns[row] as u64), out);
        self.attributes.write(row, 9, out)?;
        push_count(10, self.attributes.dropped[row], out);
        self.events.write(row, out)?;
        push_count(12, self.dropped_events[row], out);
        self.links.write(row, out)?;
        push_count(14, self.dropped_links[row], out);
        let status_code = number_of(text(self.status_code, row), STATUS_CODES, schema::STATUS_CODE)?;
        push_message(15, out, |out| {
            let before = out.len();
            push_text(2, text(self.status_message, row), out);
            if status_code != 0 {
                push_varint(3, i64::from(status_code) as u64, out);
            }
            Ok(out.len() > before)
        })?;
        if self.flags[row] != 0 {
            push_fixed32(16, self.flags[row] as u32, out);
        }
        Ok(())
    }
}

const SPAN_KINDS: &[&str] = &["UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"];
const STATUS_CODES: &[&str] = &["UNSET", "OK", "ERROR"];

fn number_of(name: &str, names: &[&str], column: &str) -> Result<i32> {
    let number = names.iter().position(|known| *known == name).and_then(|place| i32::try_from(place).ok());
    number
        .or_else(|| name.parse().ok())
        .ok_or_else(|| Error::corrupt(format!("{column} holds {name:?}, which is no name or number of it")))
}

/// A map column with its types and its count of dropped attributes.
struct Attributes<'b> {
    map: &'b MapArray,
    types: Types<'b>,
    dropped: &'b [i32],
}

/// A types column, outside or inside a list.
enum Types<'b> {
    View(&'b StringViewArray),
    Plain(&'b StringArray),
}

impl Attributes<'_> {
    /// The attributes of a row: keys, letters of their types, and texts.
    fn entries(&self, row: usize) -> Result<impl Iterator<Item = (&str, Option<u8>, &str)>> {
        let types = match self.types {
            Types::View(types) => types.is_valid(row).then(|| types.value(row).as_bytes()),
            Types::Plain(types) => types.is_valid(row).then(|| types.value(row).as_bytes()),
        };
        let (Some(keys), Some(values)) =
            (self.map.keys().as_string_opt::<i32>(), self.map.values().as_string_opt::<i32>())
        else {
            return Err(mismatch(schema::ATTRIBUTES));
        };
        let offsets = self.map.value_offsets();
        let entries = offsets[row] as usize..offsets[row + 1] as usize;
        Ok(entries.enumerate().map(move |(place, entry)| {
            let letter = types.map_or(Some(b's'), |types| types.get(place).copied());
            (keys.value(entry), letter, if values.is_valid(entry) { values.value(entry) } else { "" })
        }))
    }

    fn is_same(&self, a: usize, b: usize) -> Result<bool> {
        Ok(self.dropped[a] == self.dropped[b] && self.entries(a)?.eq(self.entries(b)?))
    }

    /// Writes the attributes of a row as fields `number`.
    fn write(&self, row: usize, number: u32, out: &mut Vec<u8>) -> Result<()> {
        for (key, letter, text) in self.entries(row)? {
            let kind = letter.and_then(AttributeType::from_letter);
            let kind = kind.ok_or_else(|| Error::corrupt(format!("attribute {key:?} has no type")))?;
            push_message(number, out, |out| {
                push_text(field::KEY, key, out);
                push_message(field::VALUE, out, |out| write_value(key, kind, text, out).map(|()| true))?;
                Ok(true)
            })?;
        }
        Ok(())
    }
}

fn write_value(key: &str, kind: AttributeType, text: &str, out: &mut Vec<u8>) -> Result<()> {
    let wrong = || Error::corrupt(format!("attribute {key:?} holds {text:?}, which is not of its type {kind:?}"));
    match kind {
        AttributeType::String => push_bytes(field::STRING, text.as_bytes(), out),
        AttributeType::Bool => push_varint(field::BOOL, u64::from(text == "true"), out),
        AttributeType::Int => push_varint(field::INT, text.parse::<i64>().map_err(|_| wrong())? as u64, out),
        AttributeType::Double => {
            let value: f64 = text.parse().map_err(|_| wrong())?;
            push_fixed64(field::DOUBLE, value.to_bits(), out);
        }
        AttributeType::Bytes => push_bytes(field::BYTES, &BASE64.decode(text).map_err(|_| wrong())?, out),
        AttributeType::Array | AttributeType::KeyValueList => {
            plain_to_any_value(text, out).map_err(|error| wrong().with_source(error))?;
        }
        AttributeType::OtlpJson => {
            out.extend_from_slice(&any_value_to_protobuf(text).map_err(|error| wrong().with_source(error))?);
        }
        AttributeType::Empty => {}
    }
    Ok(())
}

/// The column of events.
struct Events<'b> {
    list: &'b ListArray,
    time_ns: &'b [i64],
    name: &'b StringArray,
    attributes: Attributes<'b>,
}

impl<'b> Events<'b> {
    fn of(list: &'b ListArray) -> Result<Self> {
        let parts = parts(list, schema::EVENTS)?;
        let part = |name| parts.column_by_name(name).ok_or_else(|| mismatch(name));
        let name = part("name")?.as_string_opt().ok_or_else(|| mismatch(schema::EVENTS))?;
        Ok(Self { list, time_ns: int64(part("time_ns")?, "time_ns")?, name, attributes: inner_attributes(parts)? })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        for event in elements(self.list, row) {
            push_message(11, out, |out| {
                push_fixed64(1, self.time_ns[event] as u64, out);
                push_text(2, self.name.value(event), out);
                self.attributes.write(event, 3, out)?;
                push_count(4, self.attributes.dropped[event], out);
                Ok(true)
            })?;
        }
        Ok(())
    }
}

/// The column of links.
struct Links<'b> {
    list: &'b ListArray,
    trace_id: &'b FixedSizeBinaryArray,
    span_id: &'b FixedSizeBinaryArray,
    trace_state: &'b StringArray,
    flags: &'b [i32],
    attributes: Attributes<'b>,
}

impl<'b> Links<'b> {
    fn of(list: &'b ListArray) -> Result<Self> {
        let parts = parts(list, schema::LINKS)?;
        let part = |name| parts.column_by_name(name).ok_or_else(|| mismatch(name));
        let id = |name| part(name)?.as_fixed_size_binary_opt().ok_or_else(|| mismatch(name));
        let trace_state = part(schema::TRACE_STATE)?.as_string_opt().ok_or_else(|| mismatch(schema::LINKS))?;
        Ok(Self {
            list,
            trace_id: id(schema::TRACE_ID)?,
            span_id: id(schema::SPAN_ID)?,
            trace_state,
            flags: int32(part(schema::FLAGS)?, schema::FLAGS)?,
            attributes: inner_attributes(parts)?,
        })
    }

    fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        for link in elements(self.list, row) {
            push_message(13, out, |out| {
                push_bytes(1, self.trace_id.value(link), out);
                push_bytes(2, self.span_id.value(link), out);
                if self.trace_state.is_valid(link) {
                    push_text(3, self.trace_state.value(link), out);
                }
                self.attributes.write(link, 4, out)?;
                push_count(5, self.attributes.dropped[link], out);
                if self.flags[link] != 0 {
                    push_fixed32(6, self.flags[link] as u32, out);
                }
                Ok(true)
            })?;
        }
        Ok(())
    }
}

fn parts<'b>(list: &'b ListArray, column: &str) -> Result<&'b StructArray> {
    list.values().as_struct_opt().ok_or_else(|| mismatch(column))
}

fn inner_attributes(parts: &StructArray) -> Result<Attributes<'_>> {
    let part = |name| parts.column_by_name(name).ok_or_else(|| mismatch(name));
    let map = part(schema::ATTRIBUTES)?.as_map_opt().ok_or_else(|| mismatch(schema::ATTRIBUTES))?;
    let types = part(schema::ATTRIBUTE_TYPES)?.as_string_opt().ok_or_else(|| mismatch(schema::ATTRIBUTE_TYPES))?;
    let dropped = int32(part(schema::DROPPED_ATTRIBUTES_COUNT)?, schema::DROPPED_ATTRIBUTES_COUNT)?;
    Ok(Attributes { map, types: Types::Plain(types), dropped })
}

fn elements(list: &ListArray, row: usize) -> std::ops::Range<usize> {
    let offsets = list.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

fn int64<'b>(column: &'b ArrayRef, name: &str) -> Result<&'b [i64]> {
    column.as_primitive_opt::<Int64Type>().map(|column| &column.values()[..]).ok_or_else(|| mismatch(name))
}

fn int32<'b>(column: &'b ArrayRef, name: &str) -> Result<&'b [i32]> {
    column.as_primitive_opt::<Int32Type>().map(|column| &column.values()[..]).ok_or_else(|| mismatch(name))
}

fn mismatch(column: &str) -> Error {
    Error::internal(format!("the column {column} of a batch is not what the schema says"))
}

/// A row's text; empty when it is NULL.
fn text(column: &StringViewArray, row: usize) -> &str {
    if column.is_valid(row) { column.value(row) } else { "" }
}

fn push_text(number: u32, text: &str, out: &mut Vec<u8>) {
    if !text.is_empty() {
        push_bytes(number, text.as_bytes(), out);
    }
}

fn push_count(number: u32, count: i32, out: &mut Vec<u8>) {
    if count != 0 {
        push_varint(number, u64::from(count as u32), out);
    }
}
