-- A trace's spans, parents before their children.
CREATE FUNCTION trace_tree(id text) RETURN (
    SELECT
        repeat('  ', least(depth, 40)) || span_name AS span,
        service_name,
        span_kind,
        CAST(start_ns - trace_start_ns AS DOUBLE) / 1000000.0 AS start_ms,
        CAST(duration_ns AS DOUBLE) / 1000000.0 AS duration_ms,
        CAST(self_ns AS DOUBLE) / 1000000.0 AS self_ms,
        CAST(critical_ns AS DOUBLE) / 1000000.0 AS critical_ms,
        status_code,
        is_orphan,
        depth,
        nset_left,
        id_text(span_id) AS span_id,
        id_text(parent_span_id) AS parent_span_id
    FROM internal.span_tree
    WHERE id_text(trace_id) = id
    ORDER BY nset_left
);
