-- traces.service_edges: a row is a caller → callee pair of services, over all spans. A call is a span whose parent belongs to
-- another service; its duration and status are the callee's. Spans whose parent has not come are in no edge.
SELECT
    caller,
    callee,
    count(*) AS calls,
    count(*) FILTER (WHERE status_code = 'ERROR') AS errors,
    count(*) FILTER (WHERE status_code = 'ERROR') / count(*) AS error_rate,
    avg(duration_ms) AS avg_ms,
    quantile(duration_ms, 0.5) AS p50_ms,
    quantile(duration_ms, 0.95) AS p95_ms,
    quantile(duration_ms, 0.99) AS p99_ms
FROM (
    SELECT
        parent.service_name AS caller,
        child.service_name AS callee,
        child.status_code AS status_code,
        CAST(child.duration_ns AS DOUBLE) / 1000000.0 AS duration_ms
    FROM internal.spans AS child
    JOIN internal.spans AS parent ON child.trace_id = parent.trace_id AND child.parent_span_id = parent.span_id
    WHERE child.service_name <> parent.service_name
)
GROUP BY caller, callee
