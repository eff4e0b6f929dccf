//! The messages of an export as OTLP JSON names them.

/// A message's fields.
#[derive(Debug)]
pub(super) struct Message {
    pub fields: &'static [Field],
}

/// A field: its name in lowerCamelCase and in the proto file, its number, and what it holds.
#[derive(Debug)]
pub(super) struct Field {
    pub camel: &'static str,
    pub snake: &'static str,
    pub number: u32,
    pub kind: Kind,
}

/// What a field holds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    One(&'static Message),
    Many(&'static Message),
    /// An id: bytes, but in hex and not in base64.
    Id,
    String,
    Bool,
    Int64,
    Double,
    Base64,
    Fixed64,
    Fixed32,
    Uint32,
    /// The names of an enum's numbers from 0, which share a prefix.
    Enum(&'static [&'static str]),
}

const fn field(camel: &'static str, snake: &'static str, number: u32, kind: Kind) -> Field {
    Field { camel, snake, number, kind }
}

const SPAN_KINDS: &[&str] = &[
    "SPAN_KIND_UNSPECIFIED",
    "SPAN_KIND_INTERNAL",
    "SPAN_KIND_SERVER",
    "SPAN_KIND_CLIENT",
    "SPAN_KIND_PRODUCER",
    "SPAN_KIND_CONSUMER",
];

const STATUS_CODES: &[&str] = &["STATUS_CODE_UNSET", "STATUS_CODE_OK", "STATUS_CODE_ERROR"];

/// `ExportTraceServiceRequest`.
pub(super) static REQUEST: Message =
    Message { fields: &[field("resourceSpans", "resource_spans", 1, Kind::Many(&RESOURCE_SPANS))] };

static RESOURCE_SPANS: Message = Message {
    fields: &[
        field("resource", "resource", 1, Kind::One(&RESOURCE)),
        field("scopeSpans", "scope_spans", 2, Kind::Many(&SCOPE_SPANS)),
        field("schemaUrl", "schema_url", 3, Kind::String),
    ],
};

static RESOURCE: Message = Message {
    fields: &[
        field("attributes", "attributes", 1, Kind::Many(&KEY_VALUE)),
        field("droppedAttributesCount", "dropped_attributes_count", 2, Kind::Uint32),
    ],
};

static SCOPE_SPANS: Message = Message {
    fields: &[
        field("scope", "scope", 1, Kind::One(&SCOPE)),
        field("spans", "spans", 2, Kind::Many(&SPAN)),
        field("schemaUrl", "schema_url", 3, Kind::String),
    ],
};

static SCOPE: Message = Message {
    fields: &[
        field("name", "name", 1, Kind::String),
        field("version", "version", 2, Kind::String),
        field("attributes", "attributes", 3, Kind::Many(&KEY_VALUE)),
        field("droppedAttributesCount", "dropped_attributes_count", 4, Kind::Uint32),
    ],
};

static SPAN: Message = Message {
    fields: &[
        field("traceId", "trace_id", 1, Kind::Id),
        field("spanId", "span_id", 2, Kind::Id),
        field("traceState", "trace_state", 3, Kind::String),
        field("parentSpanId", "parent_span_id", 4, Kind::Id),
        field("name", "name", 5, Kind::String),
        field("kind", "kind", 6, Kind::Enum(SPAN_KINDS)),
        field("startTimeUnixNano", "start_time_unix_nano", 7, Kind::Fixed64),
        field("endTimeUnixNano", "end_time_unix_nano", 8, Kind::Fixed64),
        field("attributes", "attributes", 9, Kind::Many(&KEY_VALUE)),
        field("droppedAttributesCount", "dropped_attributes_count", 10, Kind::Uint32),
        field("events", "events", 11, Kind::Many(&EVENT)),
        field("droppedEventsCount", "dropped_events_count", 12, Kind::Uint32),
        field("links", "links", 13, Kind::Many(&LINK)),
        field("droppedLinksCount", "dropped_links_count", 14, Kind::Uint32),
        field("status", "status", 15, Kind::One(&STATUS)),
        field("flags", "flags", 16, Kind::Fixed32),
    ],
};

static STATUS: Message = Message {
    fields: &[field("message", "message", 2, Kind::String), field("code", "code", 3, Kind::Enum(STATUS_CODES))],
};

static EVENT: Message = Message {
    fields: &[
        field("timeUnixNano", "time_unix_nano", 1, Kind::Fixed64),
        field("name", "name", 2, Kind::String),
        field("attributes", "attributes", 3, Kind::Many(&KEY_VALUE)),
        field("droppedAttributesCount", "dropped_attributes_count", 4, Kind::Uint32),
    ],
};

static LINK: Message = Message {
    fields: &[
        field("traceId", "trace_id", 1, Kind::Id),
        field("spanId", "span_id", 2, Kind::Id),
        field("traceState", "trace_state", 3, Kind::String),
        field("attributes", "attributes", 4, Kind::Many(&KEY_VALUE)),
        field("droppedAttributesCount", "dropped_attributes_count", 5, Kind::Uint32),
        field("flags", "flags", 6, Kind::Fixed32),
    ],
};

static KEY_VALUE: Message =
    Message { fields: &[field("key", "key", 1, Kind::String), field("value", "value", 2, Kind::One(&ANY_VALUE))] };

/// `AnyValue`; also what the text of an attribute of type `o` is.
pub(super) static ANY_VALUE: Message = Message {
    fields: &[
        field("stringValue", "string_value", 1, Kind::String),
        field("boolValue", "bool_value", 2, Kind::Bool),
        field("intValue", "int_value", 3, Kind::Int64),
        field("doubleValue", "double_value", 4, Kind::Double),
        field("arrayValue", "array_value", 5, Kind::One(&ARRAY_VALUE)),
        field("kvlistValue", "kvlist_value", 6, Kind::One(&KEY_VALUE_LIST)),
        field("bytesValue", "bytes_value", 7, Kind::Base64),
    ],
};

static ARRAY_VALUE: Message = Message { fields: &[field("values", "values", 1, Kind::Many(&ANY_VALUE))] };

static KEY_VALUE_LIST: Message = Message { fields: &[field("values", "values", 1, Kind::Many(&KEY_VALUE))] };
