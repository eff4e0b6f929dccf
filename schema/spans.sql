-- traces.spans: a row is a span. Ids are lower-case hex text, times are UTC with nanoseconds.
SELECT
    arrow_cast(start_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS timestamp,
    arrow_cast(start_ns + duration_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS end_timestamp,
    id_text(trace_id) AS trace_id,
    id_text(span_id) AS span_id,
    -- NULL for a root.
    id_text(parent_span_id) AS parent_span_id,
    trace_state,
    flags,
    span_name,
    service_name,
    span_kind,
    CAST(duration_ns AS DOUBLE) / 1000000.0 AS duration_ms,
    duration_ns,
    status_code,
    status_message,
    -- The status message, else the first exception event's message, when the span is an error.
    CASE WHEN status_code = 'ERROR' THEN coalesce(status_message, exception_message) END AS error_message,
    attributes,
    resource_attributes,
    scope_attributes,
    scope_name,
    scope_version,
    events_of(events) AS events,
    links_of(links) AS links,
    dropped_attributes_count,
    dropped_events_count,
    dropped_links_count,
    -- The scope's schema holds for its spans; without one, the resource's.
    coalesce(scope_schema_url, resource_schema_url) AS schema_url,
    -- What follows makes SQL lossless: the OTLP type of each attribute value as one letter in the map's order
    -- (s string, b bool, i int, d double, y bytes, a array, k key-value list, o OTLP JSON, n empty); NULL when all are strings.
    attribute_types,
    resource_attribute_types,
    scope_attribute_types,
    resource_dropped_attributes_count,
    scope_dropped_attributes_count,
    resource_schema_url,
    scope_schema_url
FROM internal.spans
