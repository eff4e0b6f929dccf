//! Rows become spans.

use std::borrow::Cow;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Schema};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};

use super::events::{attributes, elements, event, link, zipped};
use super::fields::{Field, Holder, Nested, Part};
use super::mapping::Mapping;
use super::values::{any_value, instant_ns, length_ns, plain_column, text};
use crate::error::Result;
use crate::formats::build::{Converted, Gathered, Owner, RefusedSpan, attribute, find_text, id, text_attribute};
use crate::formats::names::{span_kind, status_code};

/// A table with columns that are known.
#[derive(Debug)]
pub struct SpanTable {
    columns: Vec<(usize, Field)>,
}

impl SpanTable {
    /// Looks the mapping's columns up.
    ///
    /// # Errors
    /// [`crate::error::Kind::BadInput`] when a column is not there or what a span must have is missing.
    pub fn new(mapping: &Mapping, schema: &Schema) -> Result<Self> {
        Ok(Self { columns: mapping.resolve(schema)? })
    }

    /// Converts rows, of which the first has this number.
    pub fn convert(&self, batch: &RecordBatch, first_row: u64) -> Result<Converted> {
        let columns = self.columns.iter().map(|(place, field)| Ok((plain_column(batch, *place)?, field)));
        let columns = columns.collect::<Result<Vec<(ArrayRef, &Field)>>>()?;
        let (mut gathered, mut refused) = (Gathered::default(), Vec::new());
        for row in 0..batch.num_rows() {
            match (Row { columns: &columns, row }).span() {
                Ok((owner, span)) => gathered.push(&owner, span),
                Err(why) => refused.push(RefusedSpan { place: format!("row {}", first_row + row as u64), why }),
            }
        }
        Ok(Converted { request: gathered.finish(), refused })
    }
}

/// The text as an id has it: its hex digits; a column of bytes may hold the id itself.
fn id_text(column: &dyn Array, row: usize, length: usize) -> Option<Cow<'_, str>> {
    let bytes = match column.data_type() {
        DataType::Binary if column.is_valid(row) => column.as_binary::<i32>().value(row),
        _ => return text(column, row).map(Cow::Borrowed),
    };
    match bytes.len() == length && !bytes.iter().all(u8::is_ascii_hexdigit) {
        true => Some(Cow::Owned(crate::formats::hex(bytes))),
        false => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
    }
}

struct Row<'a> {
    columns: &'a [(ArrayRef, &'a Field)],
    row: usize,
}

impl Row<'_> {
    fn span(&self) -> Result<(Owner, Span), String> {
        let (mut owner, mut span) = (Owner::default(), Span::default());
        let (mut start_ns, mut end_ns, mut duration_ns) = (None, None, None);
        let (mut service, mut status) = (None, Status::default());
        let mut parts: [Vec<(Part, Vec<Option<Value>>)>; 2] = Default::default();
        for (column, field) in self.columns {
            let name = || text(column, self.row).map(str::to_owned).unwrap_or_default();
            match field {
                Field::Start(unit) => start_ns = instant_ns(column, self.row, *unit as i64),
                Field::End(unit) => end_ns = instant_ns(column, self.row, *unit as i64),
                Field::Duration(unit) => duration_ns = length_ns(column, self.row, *unit as i64),
                Field::TraceId => span.trace_id = self.id::<16>(column, "trace_id")?,
                Field::SpanId => span.span_id = self.id::<8>(column, "span_id")?,
                Field::ParentSpanId => span.parent_span_id = self.parent(column)?,
                Field::TraceState => span.trace_state = name(),
                Field::Flags => {
                    span.flags = self.number(column).and_then(|flags| u32::try_from(flags).ok()).unwrap_or(0)
                }
                Field::Name => span.name = name(),
                Field::Service => service = Some(name()).filter(|service| !service.is_empty()),
                Field::Kind => span.kind = self.named(column, "span_kind", span_kind)?,
                Field::StatusCode => status.code = self.named(column, "status_code", status_code)?,
                Field::StatusMessage => status.message = name(),
                Field::ScopeName => owner.scope.name = name(),
                Field::ScopeVersion => owner.scope.version = name(),
                Field::SchemaUrl => owner.scope_schema_url = name(),
                Field::Attributes(holder) => {
                    if let Some(cell) = any_value(column, self.row) {
                        held_by(*holder, &mut owner, &mut span).extend(attributes(cell)?);
                    }
                }
                Field::Attribute(holder, key) => {
                    let value = any_value(column, self.row).map(|value| attribute(key, value));
                    held_by(*holder, &mut owner, &mut span).extend(value);
                }
                Field::Nested(nested) => {
                    let cell = any_value(column, self.row);
                    let elements = cell.map(elements).transpose()?.unwrap_or_default();
                    put(*nested, elements, &mut span)?;
                }
                Field::Part(nested, part) => parts[*nested as usize].push((*part, self.list(column))),
            }
        }
        let [events, links] = parts;
        for (nested, lists) in [(Nested::Events, events), (Nested::Links, links)] {
            if !lists.is_empty() {
                put(nested, zipped(lists)?, &mut span)?;
            }
        }
        if let Some(service) = service.filter(|_| find_text(&owner.resource.attributes, "service.name").is_none()) {
            owner.resource.attributes.push(text_attribute("service.name", service));
        }
        let start_ns = start_ns.ok_or("it has no timestamp")?;
        let end_ns = end_ns.or_else(|| start_ns.checked_add(duration_ns.unwrap_or(0)));
        let unsigned = |ns: Option<i64>| ns.and_then(|ns| u64::try_from(ns).ok());
        span.start_time_unix_nano = unsigned(Some(start_ns)).ok_or("its timestamp is before 1970")?;
        span.end_time_unix_nano = unsigned(end_ns).ok_or("its end is out of range")?;
        span.status = Some(status).filter(|status| *status != Status::default());
        Ok((owner, span))
    }

    fn id<const LEN: usize>(&self, column: &dyn Array, name: &str) -> Result<Vec<u8>, String> {
        let text = id_text(column, self.row, LEN).ok_or_else(|| format!("it has no {name}"))?;
        id::<LEN>(name, &text)
    }

    /// The parent's id; NULL, an empty text and zeros are none.
    fn parent(&self, column: &dyn Array) -> Result<Vec<u8>, String> {
        match id_text(column, self.row, 8) {
            Some(text) if !text.trim_matches('0').is_empty() => id::<8>("parent_span_id", &text),
            _ => Ok(Vec::new()),
        }
    }

    /// A kind or a code, as a name or as a number.
    fn named(&self, column: &ArrayRef, name: &str, read: fn(&str) -> Option<i32>) -> Result<i32, String> {
        if let Some(number) = self.number(column) {
            return i32::try_from(number).map_err(|_| format!("{name} {number} is none"));
        }
        let given = text(column, self.row).unwrap_or_default();
        read(given).ok_or_else(|| format!("{name} {given:?} is none"))
    }

    fn number(&self, column: &ArrayRef) -> Option<i64> {
        match any_value(column, self.row) {
            Some(Value::IntValue(number)) => Some(number),
            _ => None,
        }
    }

    /// The elements of a list; none of NULL.
    fn list(&self, column: &ArrayRef) -> Vec<Option<Value>> {
        match column.as_list_opt::<i32>().filter(|list| list.is_valid(self.row)).map(|list| list.value(self.row)) {
            Some(elements) => (0..elements.len()).map(|place| any_value(&elements, place)).collect(),
            None => Vec::new(),
        }
    }
}

fn held_by<'o>(holder: Holder, owner: &'o mut Owner, span: &'o mut Span) -> &'o mut Vec<KeyValue> {
    match holder {
        Holder::Span => &mut span.attributes,
        Holder::Resource => &mut owner.resource.attributes,
        Holder::Scope => &mut owner.scope.attributes,
    }
}

fn put(nested: Nested, elements: Vec<Vec<(Part, Value)>>, span: &mut Span) -> Result<(), String> {
    match nested {
        Nested::Events => span.events = elements.into_iter().map(event).collect::<Result<_, _>>()?,
        Nested::Links => span.links = elements.into_iter().map(link).collect::<Result<_, _>>()?,
    }
    Ok(())
}
