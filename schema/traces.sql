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
    root_name IS NOT NULL AND orphan_count = 0 AS complete,
    -- The services on the critical path, in the order in which it first comes to them.
    critical_path,
    -- The time of all spans over the trace's own; NULL of one that takes none.
    span_ns / NULLIF(CAST(last_ns - first_ns AS DOUBLE), 0.0) AS parallelism,
    max_depth,
    -- The service of the deepest error, of those that are as deep the earliest: no span below it failed.
    error_origin_service,
    -- Calls from a service to another one, which are spans whose parent is of another service, and the pairs of these.
    hops,
    edges,
    CAST(longest_ns AS DOUBLE) / 1000000.0 AS longest_ms,
    error_services
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
        distinct_texts(service_name) AS services,
        texts_by_first(service_name, critical_from_ns) FILTER (WHERE critical_from_ns IS NOT NULL) AS critical_path,
        sum(CAST(duration_ns AS DOUBLE)) AS span_ns,
        max(depth) AS max_depth,
        first_value(service_name ORDER BY depth DESC, start_ns, span_id) FILTER (WHERE status_code = 'ERROR') AS error_origin_service,
        count(*) FILTER (WHERE parent_service <> service_name) AS hops,
        distinct_texts(parent_service || ' → ' || service_name) FILTER (WHERE parent_service <> service_name) AS edges,
        max(duration_ns) AS longest_ns,
        distinct_texts(service_name) FILTER (WHERE status_code = 'ERROR') AS error_services
    -- Where nothing of a tree is asked for, this is internal.spans.
    FROM internal.span_tree
    GROUP BY trace_id
)
