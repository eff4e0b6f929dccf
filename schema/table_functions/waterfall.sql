-- A trace's spans, parents before their children, each with a bar for its time: 60 characters are the trace.
CREATE FUNCTION waterfall(id text) RETURN (
    SELECT
        span,
        service_name,
        start_ms,
        duration_ms,
        nset_left,
        repeat(' ', CAST(floor(least(start_ms * 60.0 / nullif(total_ms, 0.0), 59.0)) AS BIGINT))
            || repeat('█', greatest(CAST(round(duration_ms * 60.0 / nullif(total_ms, 0.0)) AS BIGINT), 1)) AS bar
    FROM (
        SELECT
            repeat('  ', least(depth, 40)) || span_name AS span,
            service_name,
            nset_left,
            CAST(start_ns - trace_start_ns AS DOUBLE) / 1000000.0 AS start_ms,
            CAST(duration_ns AS DOUBLE) / 1000000.0 AS duration_ms,
            CAST(trace_end_ns - trace_start_ns AS DOUBLE) / 1000000.0 AS total_ms
        FROM internal.span_tree
        WHERE id_text(trace_id) = id
    )
    ORDER BY nset_left
);
