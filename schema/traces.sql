-- traces.traces: a row is a trace, from the spans that have come so far.
SELECT
    id_text(trace_id) AS trace_id,
    -- The true extent: the first start and the last end of any span, whichever span that is.
    arrow_cast(first_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS timestamp,
    arrow_cast(last_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS end_timestamp,
    CAST(last_ns - first_ns AS DOUBLE) / 1000000.0 AS duration_ms,
    last_ns - first_ns AS duration_ns,
    -- The earliest span without a parent; NULL while it has not come.
    root_service,
    root_name,
    span_count,
    error_count,
    -- Spans whose parent is named and has not come.
    orphan_count,
    services,
    -- A root has come, and so has the parent of every other span. Spans below those that have come may still be missing: nobody names them.
    root_name IS NOT NULL AND orphan_count = 0 AS is_complete
FROM (
    SELECT
        trace_id,
        min(start_ns) AS first_ns,
        max(start_ns + duration_ns) AS last_ns,
        first_value(service_name ORDER BY start_ns, span_id) FILTER (WHERE parent_span_id IS NULL) AS root_service,
        first_value(span_name ORDER BY start_ns, span_id) FILTER (WHERE parent_span_id IS NULL) AS root_name,
        count(*) AS span_count,
        count(*) FILTER (WHERE status_code = 'ERROR') AS error_count,
        orphan_count(span_id, parent_span_id) AS orphan_count,
        distinct_texts(service_name) AS services
    FROM internal.spans
    GROUP BY trace_id
)
