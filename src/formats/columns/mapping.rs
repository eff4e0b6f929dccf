//! Which column of a table is what.

use datafusion::arrow::datatypes::Schema;

use super::fields::Field;
use crate::error::{Error, Result};
use crate::typed::nearest;

/// Which column of a table is what of a span.
#[derive(Debug, Clone)]
pub struct Mapping {
    entries: Vec<Entry>,
    /// Whether the user named the columns, so that each must be there.
    is_given: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    /// A name, or the beginning of names before a `*`.
    column: String,
    field: String,
}

/// The Collector's ClickHouse exporter, `otel_traces`.
const CLICKHOUSE: &[(&str, &str)] = &[
    ("Timestamp", "timestamp"),
    ("TraceId", "trace_id"),
    ("SpanId", "span_id"),
    ("ParentSpanId", "parent_span_id"),
    ("TraceState", "trace_state"),
    ("SpanName", "span_name"),
    ("SpanKind", "span_kind"),
    ("ServiceName", "service_name"),
    ("ResourceAttributes", "resource_attributes"),
    ("ScopeName", "scope_name"),
    ("ScopeVersion", "scope_version"),
    ("SpanAttributes", "attributes"),
    ("Duration", "duration_ns"),
    ("StatusCode", "status_code"),
    ("StatusMessage", "status_message"),
    ("Events", "events"),
    ("Events.Timestamp", "events.timestamp"),
    ("Events.Name", "events.name"),
    ("Events.Attributes", "events.attributes"),
    ("Links", "links"),
    ("Links.TraceId", "links.trace_id"),
    ("Links.SpanId", "links.span_id"),
    ("Links.TraceState", "links.trace_state"),
    ("Links.Attributes", "links.attributes"),
];

/// GreptimeDB, `opentelemetry_traces` of either model: attributes in columns of their own, or in one that is JSON.
const GREPTIME: &[(&str, &str)] = &[
    ("timestamp", "timestamp"),
    ("timestamp_end", "end_timestamp"),
    ("duration_nano", "duration_ns"),
    ("trace_id", "trace_id"),
    ("span_id", "span_id"),
    ("parent_span_id", "parent_span_id"),
    ("trace_state", "trace_state"),
    ("span_name", "span_name"),
    ("service_name", "service_name"),
    ("span_kind", "span_kind"),
    ("span_status_code", "status_code"),
    ("span_status_message", "status_message"),
    ("scope_name", "scope_name"),
    ("scope_version", "scope_version"),
    ("span_attributes", "attributes"),
    ("span_attributes.*", "attributes.*"),
    ("resource_attributes", "resource_attributes"),
    ("resource_attributes.*", "resource_attributes.*"),
    ("scope_attributes", "scope_attributes"),
    ("scope_attributes.*", "scope_attributes.*"),
    ("span_events", "events"),
    ("span_links", "links"),
];

/// The mapping of a table that is known by its columns, and what the table is.
pub fn known_mapping(schema: &Schema) -> Option<(Mapping, &'static str)> {
    let has = |names: &[&str]| names.iter().all(|name| schema.column_with_name(name).is_some());
    if has(&["Timestamp", "TraceId", "SpanId", "SpanAttributes", "Duration"]) {
        return Some((Mapping::clickhouse(), "an otel_traces table of ClickHouse"));
    }
    if has(&["timestamp", "duration_nano", "trace_id", "span_id", "span_kind"]) {
        return Some((Mapping::greptime(), "an opentelemetry_traces table of GreptimeDB"));
    }
    None
}

impl Mapping {
    pub fn clickhouse() -> Self {
        Self::built_in(CLICKHOUSE)
    }

    pub fn greptime() -> Self {
        Self::built_in(GREPTIME)
    }

    fn built_in(entries: &[(&str, &str)]) -> Self {
        let entry = |(column, field): &(&str, &str)| Entry { column: (*column).to_owned(), field: (*field).to_owned() };
        Self { entries: entries.iter().map(entry).collect(), is_given: false }
    }

    /// Takes the pairs of column and field that a user gave. A `*` at the end of both stands for the rest of names.
    ///
    /// # Errors
    /// [`crate::error::Kind::BadInput`] for a field that a span does not have, or that two columns would be.
    pub fn given(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut entries: Vec<Entry> = Vec::new();
        for (column, field) in pairs {
            match (column.strip_suffix('*'), field.strip_suffix('*')) {
                (Some(_), Some(prefix)) => Field::parse(&format!("{prefix}key")).map_err(Error::bad_input)?,
                (None, None) => Field::parse(&field).map_err(Error::bad_input)?,
                _ => {
                    return Err(Error::bad_input(format!(
                        "{column}={field}: a * belongs at the end of both or of none"
                    )));
                }
            };
            entries.push(Entry { column, field });
        }
        Ok(Self { entries, is_given: true })
    }

    /// The columns of a table that are something, by their places.
    ///
    /// # Errors
    /// [`crate::error::Kind::BadInput`] when a column is not there, two are the same, or what a span must have is missing.
    pub(super) fn resolve(&self, schema: &Schema) -> Result<Vec<(usize, Field)>> {
        let mut found: Vec<(usize, Field)> = Vec::new();
        for entry in &self.entries {
            let before = found.len();
            for (place, column) in schema.fields().iter().enumerate() {
                let field = match entry.column.strip_suffix('*') {
                    Some(prefix) => column
                        .name()
                        .strip_prefix(prefix)
                        .filter(|rest| !rest.is_empty())
                        .map(|rest| format!("{}{rest}", entry.field.trim_end_matches('*'))),
                    None => (*column.name() == entry.column).then(|| entry.field.clone()),
                };
                if let Some(field) = field {
                    found.push((place, Field::parse(&field).map_err(Error::bad_input)?));
                }
            }
            if self.is_given && found.len() == before {
                return Err(no_column(&entry.column, schema));
            }
        }
        let twice = found
            .iter()
            .enumerate()
            .find(|(at, (_, field))| !field.may_repeat() && found[..*at].iter().any(|(_, earlier)| earlier == field));
        if let Some((_, (place, _))) = twice {
            let name = schema.field(*place).name();
            return Err(Error::bad_input(format!("the column {name:?} would be what another column is already")));
        }
        let is_there = |name: &str| {
            found.iter().any(|(_, field)| match name {
                "timestamp" => matches!(field, Field::Start(_)),
                "trace_id" => *field == Field::TraceId,
                _ => *field == Field::SpanId,
            })
        };
        match ["timestamp", "trace_id", "span_id"].iter().find(|name| !is_there(name)) {
            Some(name) => {
                Err(Error::bad_input(format!("no column is the {name} of its spans")).with_hint(columns_of(schema)))
            }
            None => Ok(found),
        }
    }
}

fn no_column(name: &str, schema: &Schema) -> Error {
    let near = nearest(name, schema.fields().iter().map(|field| field.name().as_str()));
    let hint = near.map_or_else(|| columns_of(schema), |near| format!("did you mean {near}?"));
    Error::bad_input(format!("there is no column {name:?}")).with_hint(hint)
}

fn columns_of(schema: &Schema) -> String {
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    format!("its columns are {}", names.join(", "))
}
