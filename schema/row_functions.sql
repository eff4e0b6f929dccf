-- Functions that stand in FROM: each call is the query behind RETURN, with the values of its parameters in the place of their names. What is selected of one
-- alone is in the order of its query, which is by columns that it gives.

-- A trace's spans, parents before their children.
CREATE FUNCTION trace_tree(id text) RETURN (
    SELECT
        repeat('  ', least(depth, 40)) || span_name AS span,
        service_name,
        span_kind,
        CAST(start_ns - min(start_ns) OVER () AS DOUBLE) / 1000000.0 AS start_ms,
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

-- The same with a bar for the time of each span, of 60 characters for the trace.
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
            CAST(start_ns - min(start_ns) OVER () AS DOUBLE) / 1000000.0 AS start_ms,
            CAST(duration_ns AS DOUBLE) / 1000000.0 AS duration_ms,
            CAST(max(start_ns + duration_ns) OVER () - min(start_ns) OVER () AS DOUBLE) / 1000000.0 AS total_ms
        FROM internal.span_tree
        WHERE id_text(trace_id) = id
    )
    ORDER BY nset_left
);

-- The spans on a trace's critical path, in the order in which it first comes to them.
CREATE FUNCTION critical_path(id text) RETURN (
    SELECT
        service_name,
        span_name,
        CAST(critical_from_ns - first_ns AS DOUBLE) / 1000000.0 AS from_ms,
        CAST(critical_ns AS DOUBLE) / 1000000.0 AS critical_ms,
        100.0 * critical_ns / sum(critical_ns) OVER () AS percent,
        CAST(duration_ns AS DOUBLE) / 1000000.0 AS duration_ms,
        depth,
        id_text(span_id) AS span_id
    FROM (SELECT *, min(start_ns) OVER () AS first_ns FROM internal.span_tree WHERE id_text(trace_id) = id)
    WHERE critical_ns > 0
    ORDER BY from_ms, depth
);

-- Where a trace's time goes: a row for each path of names in each service, however often it was called.
CREATE FUNCTION latency_breakdown(id text) RETURN (
    SELECT
        repeat('  ', least(depth, 40)) || span_name AS operation,
        service_name,
        calls,
        CAST(total_ns AS DOUBLE) / 1000000.0 AS duration_ms,
        CAST(own_ns AS DOUBLE) / 1000000.0 AS self_ms,
        100.0 * own_ns / nullif(sum(own_ns) OVER (), 0) AS self_percent,
        CAST(on_path_ns AS DOUBLE) / 1000000.0 AS critical_ms,
        depth,
        nset_left,
        path
    FROM (
        SELECT
            path,
            depth,
            service_name,
            min(span_name) AS span_name,
            count(*) AS calls,
            sum(duration_ns) AS total_ns,
            sum(self_ns) AS own_ns,
            sum(critical_ns) AS on_path_ns,
            min(nset_left) AS nset_left
        FROM internal.span_tree
        WHERE id_text(trace_id) = id
        GROUP BY path, depth, service_name
    )
    ORDER BY nset_left
);

-- Folded stacks of the spans of which a condition on the columns of span_tree is true, as viewers of flame graphs take them.
CREATE FUNCTION flamegraph(predicate boolean DEFAULT true) RETURN (
    SELECT stack, CAST(round(sum(self_ms) * 1000.0) AS BIGINT) AS self_us, count(*) AS spans
    FROM (
        -- A name's own semicolons would be steps.
        SELECT replace(replace(array_to_string(path, chr(1)), ';', ':'), chr(1), ';') AS stack, self_ms
        FROM traces.span_tree
        WHERE predicate
    )
    GROUP BY stack
    ORDER BY stack
);
