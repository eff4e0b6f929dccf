-- Where a trace's time goes: a row for each path of names in each service, however often it was called. Spans deeper than paths go have the row of
-- the last span that is named.
CREATE FUNCTION latency_breakdown(id text) RETURN (
    SELECT
        repeat('  ', least(depth, 40)) || path[CAST(cardinality(path) AS BIGINT)] AS operation,
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
            service_name,
            CAST(CAST(cardinality(path) AS BIGINT) - 1 AS INT) AS depth,
            count(*) AS calls,
            sum(duration_ns) AS total_ns,
            sum(self_ns) AS own_ns,
            sum(critical_ns) AS on_path_ns,
            min(nset_left) AS nset_left
        FROM internal.span_tree
        WHERE id_text(trace_id) = id
        GROUP BY path, service_name
    )
    ORDER BY nset_left
);
