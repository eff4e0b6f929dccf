-- The spans on a trace's critical path, in the order in which it first comes to them.
CREATE FUNCTION critical_path(id text) RETURN (
    SELECT
        service_name,
        span_name,
        CAST(critical_from_ns - trace_start_ns AS DOUBLE) / 1000000.0 AS from_ms,
        CAST(critical_ns AS DOUBLE) / 1000000.0 AS critical_ms,
        100.0 * critical_ns / sum(critical_ns) OVER () AS percent,
        CAST(duration_ns AS DOUBLE) / 1000000.0 AS duration_ms,
        depth,
        id_text(span_id) AS span_id
    FROM internal.span_tree
    WHERE id_text(trace_id) = id AND critical_ns > 0
    ORDER BY from_ms, depth
);
