-- Whose time traces waited for: the time on their critical paths by service and operation, of all traces with a span of which a condition on the
-- columns of span_tree is true.
CREATE FUNCTION critical_path(predicate boolean DEFAULT true) RETURN (
    SELECT
        service_name,
        span_name,
        count(*) AS traces,
        CAST(sum(of_trace_ns) AS DOUBLE) / 1000000.0 AS critical_ms,
        sum(of_trace_ns) / sum(sum(of_trace_ns)) OVER () AS share,
        CAST(sum(of_trace_ns) AS DOUBLE) / count(*) / 1000000.0 AS avg_ms,
        quantile(CAST(of_trace_ns AS DOUBLE) / 1000000.0, 0.95) AS p95_ms
    FROM (
        -- Whole nanoseconds have one sum, in whatever order they come.
        SELECT trace_id, service_name, span_name, sum(CAST(round(critical_ms * 1000000.0) AS BIGINT)) AS of_trace_ns
        FROM (
            SELECT trace_id, service_name, span_name, critical_ms
            FROM traces.span_tree
            WHERE traces_with(predicate)
            QUALIFY is_in_trace(predicate) OVER (PARTITION BY trace_id)
        ) AS chosen
        WHERE critical_ms > 0
        GROUP BY trace_id, service_name, span_name
    ) AS of_traces
    GROUP BY service_name, span_name
    ORDER BY critical_ms DESC, service_name, span_name
);
