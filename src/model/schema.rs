//! The physical schema: what a fresh batch and a stored file hold, column by column.
//!
//! The columns that SQL shows are made from these by the view `schema/spans.sql`. Ids are bytes, times are nanoseconds since 1970 in
//! UTC as plain integers, top-level text is `Utf8View`, and text inside maps and lists is `Utf8`. Absent and empty are the same in
//! OTLP, so an empty text is NULL here, except names.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};

/// The partition column: the UTC date of the span's start, as `YYYY-MM-DD`. It lies in the files' paths and not in the files.
pub const DATE: &str = "date";

pub const START_NS: &str = "start_ns";
/// End minus start; never negative.
pub const DURATION_NS: &str = "duration_ns";
pub const TRACE_ID: &str = "trace_id";
pub const SPAN_ID: &str = "span_id";
pub const PARENT_SPAN_ID: &str = "parent_span_id";
pub const TRACE_STATE: &str = "trace_state";
/// OTLP's 32 bits, as they are.
pub const FLAGS: &str = "flags";
pub const SPAN_NAME: &str = "span_name";
pub const SERVICE_NAME: &str = "service_name";
/// `SERVER` and so on; a number that OTLP does not define stands as its decimal digits.
pub const SPAN_KIND: &str = "span_kind";
/// `UNSET`, `OK`, `ERROR`; a number that OTLP does not define stands as its decimal digits.
pub const STATUS_CODE: &str = "status_code";
pub const STATUS_MESSAGE: &str = "status_message";
/// The `exception.message` of the first event named `exception`, kept only for an error span without a status message.
pub const EXCEPTION_MESSAGE: &str = "exception_message";
pub const ATTRIBUTES: &str = "attributes";
/// See [`super::AttributeType`].
pub const ATTRIBUTE_TYPES: &str = "attribute_types";
pub const DROPPED_ATTRIBUTES_COUNT: &str = "dropped_attributes_count";
pub const RESOURCE_ATTRIBUTES: &str = "resource_attributes";
pub const RESOURCE_ATTRIBUTE_TYPES: &str = "resource_attribute_types";
pub const RESOURCE_DROPPED_ATTRIBUTES_COUNT: &str = "resource_dropped_attributes_count";
pub const RESOURCE_SCHEMA_URL: &str = "resource_schema_url";
pub const SCOPE_NAME: &str = "scope_name";
pub const SCOPE_VERSION: &str = "scope_version";
pub const SCOPE_ATTRIBUTES: &str = "scope_attributes";
pub const SCOPE_ATTRIBUTE_TYPES: &str = "scope_attribute_types";
pub const SCOPE_DROPPED_ATTRIBUTES_COUNT: &str = "scope_dropped_attributes_count";
pub const SCOPE_SCHEMA_URL: &str = "scope_schema_url";
pub const EVENTS: &str = "events";
pub const DROPPED_EVENTS_COUNT: &str = "dropped_events_count";
pub const LINKS: &str = "links";
pub const DROPPED_LINKS_COUNT: &str = "dropped_links_count";

/// The service of a span whose resource names none.
pub const UNKNOWN_SERVICE: &str = "unknown_service";

/// Whether a service's name is what the specification of resources has in the place of one: `unknown_service`, or that with the name of a process
/// after a colon.
pub fn is_unknown_service(name: &str) -> bool {
    name.strip_prefix(UNKNOWN_SERVICE).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// A trace id's Arrow type.
pub const TRACE_ID_TYPE: DataType = DataType::FixedSizeBinary(16);
/// A span id's Arrow type.
pub const SPAN_ID_TYPE: DataType = DataType::FixedSizeBinary(8);

/// The names of a map's parts, as Delta and Parquet have them.
pub const MAP_ENTRIES: &str = "key_value";
pub const MAP_KEY: &str = "key";
pub const MAP_VALUE: &str = "value";
/// The name of a list's element, as Delta and Parquet have it.
pub const LIST_ELEMENT: &str = "element";

/// The columns of a fresh batch and of a stored file, in order. [`DATE`] is not among them.
pub fn physical_schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| Arc::new(Schema::new(physical_fields())));
    SCHEMA.clone()
}

fn physical_fields() -> Vec<Field> {
    vec![
        Field::new(START_NS, DataType::Int64, false),
        Field::new(DURATION_NS, DataType::Int64, false),
        Field::new(TRACE_ID, TRACE_ID_TYPE, false),
        Field::new(SPAN_ID, SPAN_ID_TYPE, false),
        Field::new(PARENT_SPAN_ID, SPAN_ID_TYPE, true),
        Field::new(TRACE_STATE, DataType::Utf8View, true),
        Field::new(FLAGS, DataType::Int32, false),
        Field::new(SPAN_NAME, DataType::Utf8View, false),
        Field::new(SERVICE_NAME, DataType::Utf8View, false),
        Field::new(SPAN_KIND, DataType::Utf8View, false),
        Field::new(STATUS_CODE, DataType::Utf8View, false),
        Field::new(STATUS_MESSAGE, DataType::Utf8View, true),
        Field::new(EXCEPTION_MESSAGE, DataType::Utf8View, true),
        Field::new(ATTRIBUTES, attribute_map_type(), false),
        Field::new(ATTRIBUTE_TYPES, DataType::Utf8View, true),
        Field::new(DROPPED_ATTRIBUTES_COUNT, DataType::Int32, false),
        Field::new(RESOURCE_ATTRIBUTES, attribute_map_type(), false),
        Field::new(RESOURCE_ATTRIBUTE_TYPES, DataType::Utf8View, true),
        Field::new(RESOURCE_DROPPED_ATTRIBUTES_COUNT, DataType::Int32, false),
        Field::new(RESOURCE_SCHEMA_URL, DataType::Utf8View, true),
        Field::new(SCOPE_NAME, DataType::Utf8View, true),
        Field::new(SCOPE_VERSION, DataType::Utf8View, true),
        Field::new(SCOPE_ATTRIBUTES, attribute_map_type(), false),
        Field::new(SCOPE_ATTRIBUTE_TYPES, DataType::Utf8View, true),
        Field::new(SCOPE_DROPPED_ATTRIBUTES_COUNT, DataType::Int32, false),
        Field::new(SCOPE_SCHEMA_URL, DataType::Utf8View, true),
        Field::new(EVENTS, list_of(event_fields()), false),
        Field::new(DROPPED_EVENTS_COUNT, DataType::Int32, false),
        Field::new(LINKS, list_of(link_fields()), false),
        Field::new(DROPPED_LINKS_COUNT, DataType::Int32, false),
    ]
}

/// The parts of an element of [`EVENTS`].
pub fn event_fields() -> Fields {
    Fields::from(vec![
        Field::new("time_ns", DataType::Int64, false),
        Field::new("name", DataType::Utf8, false),
        Field::new(ATTRIBUTES, attribute_map_type(), false),
        Field::new(ATTRIBUTE_TYPES, DataType::Utf8, true),
        Field::new(DROPPED_ATTRIBUTES_COUNT, DataType::Int32, false),
    ])
}

/// The parts of an element of [`LINKS`].
pub fn link_fields() -> Fields {
    Fields::from(vec![
        Field::new(TRACE_ID, TRACE_ID_TYPE, false),
        Field::new(SPAN_ID, SPAN_ID_TYPE, false),
        Field::new(TRACE_STATE, DataType::Utf8, true),
        Field::new(FLAGS, DataType::Int32, false),
        Field::new(ATTRIBUTES, attribute_map_type(), false),
        Field::new(ATTRIBUTE_TYPES, DataType::Utf8, true),
        Field::new(DROPPED_ATTRIBUTES_COUNT, DataType::Int32, false),
    ])
}

/// A map from attribute key to the value's text.
pub fn attribute_map_type() -> DataType {
    let entries = Field::new_struct(
        MAP_ENTRIES,
        vec![Field::new(MAP_KEY, DataType::Utf8, false), Field::new(MAP_VALUE, DataType::Utf8, true)],
        false,
    );
    DataType::Map(Arc::new(entries), false)
}

fn list_of(fields: Fields) -> DataType {
    DataType::List(Arc::new(Field::new(LIST_ELEMENT, DataType::Struct(fields), false)))
}
