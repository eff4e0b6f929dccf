//! What a column can be to a span, by the names that mappings use.

use crate::typed::nearest;

/// What a column is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// When the span began; the unit of a plain number.
    Start(Unit),
    End(Unit),
    Duration(Unit),
    TraceId,
    SpanId,
    ParentSpanId,
    TraceState,
    Flags,
    Name,
    Service,
    Kind,
    StatusCode,
    StatusMessage,
    ScopeName,
    ScopeVersion,
    SchemaUrl,
    /// Many attributes: a map, a struct, or a text that is a JSON object.
    Attributes(Holder),
    /// One attribute and its key.
    Attribute(Holder, String),
    /// Events or links: a list of structs, or a text that is a JSON list.
    Nested(Nested),
    /// Lists side by side, as ClickHouse flattens what is nested.
    Part(Nested, Part),
}

/// The nanoseconds of a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Nanos = 1,
    Micros = 1_000,
    Millis = 1_000_000,
    Seconds = 1_000_000_000,
}

/// Whose attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    Span,
    Resource,
    Scope,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nested {
    Events,
    Links,
}

/// A part of an event or a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Time,
    Name,
    TraceId,
    SpanId,
    TraceState,
    Attributes,
}

/// The names of fields that are one name.
const NAMES: &[(&str, Field)] = &[
    ("timestamp", Field::Start(Unit::Nanos)),
    ("timestamp_ns", Field::Start(Unit::Nanos)),
    ("timestamp_us", Field::Start(Unit::Micros)),
    ("timestamp_ms", Field::Start(Unit::Millis)),
    ("timestamp_s", Field::Start(Unit::Seconds)),
    ("end_timestamp", Field::End(Unit::Nanos)),
    ("end_timestamp_ns", Field::End(Unit::Nanos)),
    ("end_timestamp_us", Field::End(Unit::Micros)),
    ("end_timestamp_ms", Field::End(Unit::Millis)),
    ("end_timestamp_s", Field::End(Unit::Seconds)),
    ("duration_ns", Field::Duration(Unit::Nanos)),
    ("duration_us", Field::Duration(Unit::Micros)),
    ("duration_ms", Field::Duration(Unit::Millis)),
    ("duration_s", Field::Duration(Unit::Seconds)),
    ("trace_id", Field::TraceId),
    ("span_id", Field::SpanId),
    ("parent_span_id", Field::ParentSpanId),
    ("trace_state", Field::TraceState),
    ("flags", Field::Flags),
    ("span_name", Field::Name),
    ("service_name", Field::Service),
    ("span_kind", Field::Kind),
    ("status_code", Field::StatusCode),
    ("status_message", Field::StatusMessage),
    ("scope_name", Field::ScopeName),
    ("scope_version", Field::ScopeVersion),
    ("schema_url", Field::SchemaUrl),
    ("attributes", Field::Attributes(Holder::Span)),
    ("resource_attributes", Field::Attributes(Holder::Resource)),
    ("scope_attributes", Field::Attributes(Holder::Scope)),
    ("events", Field::Nested(Nested::Events)),
    ("events.timestamp", Field::Part(Nested::Events, Part::Time)),
    ("events.name", Field::Part(Nested::Events, Part::Name)),
    ("events.attributes", Field::Part(Nested::Events, Part::Attributes)),
    ("links", Field::Nested(Nested::Links)),
    ("links.trace_id", Field::Part(Nested::Links, Part::TraceId)),
    ("links.span_id", Field::Part(Nested::Links, Part::SpanId)),
    ("links.trace_state", Field::Part(Nested::Links, Part::TraceState)),
    ("links.attributes", Field::Part(Nested::Links, Part::Attributes)),
];

impl Field {
    /// Reads a field's name: one of [`NAMES`], or `attributes.KEY` with the key of one attribute.
    pub fn parse(name: &str) -> Result<Self, String> {
        if let Some((_, field)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Ok(field.clone());
        }
        let holders = [
            ("attributes.", Holder::Span),
            ("resource_attributes.", Holder::Resource),
            ("scope_attributes.", Holder::Scope),
        ];
        for (prefix, holder) in holders {
            if let Some(key) = name.strip_prefix(prefix).filter(|key| !key.is_empty()) {
                return Ok(Self::Attribute(holder, key.to_owned()));
            }
        }
        let near = nearest(name, NAMES.iter().map(|(known, _)| *known));
        Err(match near {
            Some(near) => format!("a span has no {name:?}: did you mean {near}?"),
            None => format!(
                "a span has no {name:?}: docs/formats.md lists what it has, such as span_name or attributes.KEY"
            ),
        })
    }

    /// Whether a span can have several columns of this.
    pub fn may_repeat(&self) -> bool {
        matches!(self, Self::Attributes(_) | Self::Attribute(..))
    }
}
