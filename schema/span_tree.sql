-- traces.span_tree: a row is a span with its place in the tree of its trace. The columns of traces.spans come first.
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
    scope_schema_url,
    -- Steps up to the top of the span's tree.
    depth,
    -- The numbers of all spans below lie between those of a span, and no others of the trace do.
    nset_left,
    nset_right,
    child_count,
    -- Own time, which no child covers.
    CAST(self_ns AS DOUBLE) / 1000000.0 AS self_ms,
    -- Time on the trace's critical path.
    CAST(critical_ns AS DOUBLE) / 1000000.0 AS critical_ms,
    -- Whether the span names a parent that has not come.
    is_orphan,
    -- The top of the span's tree when it has no parent, else the trace's root; NULL while it has not come.
    root_service,
    root_name,
    parent_service,
    parent_name,
    -- The names from the top of the span's tree down to the span.
    path,
    -- What has to be added to the span's times so that it lies inside its parent.
    CAST(clock_skew_ns AS DOUBLE) / 1000000.0 AS clock_skew_ms,
    -- The services of the spans on the path.
    path_services
FROM internal.span_tree
