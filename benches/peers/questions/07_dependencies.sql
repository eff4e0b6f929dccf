-- title: who calls whom (self-join), over everything
-- engine: spanhouse
SELECT
    parent.service_name AS caller, child.service_name AS callee, count(*) AS calls,
    count(*) FILTER (WHERE child.status_code = 'ERROR') AS errors, avg(child.duration_ms) AS avg_ms
FROM spans AS child
JOIN spans AS parent ON child.trace_id = parent.trace_id AND child.parent_span_id = parent.span_id
WHERE child.service_name <> parent.service_name
GROUP BY caller, callee
ORDER BY caller, callee

-- engine: duckdb
SELECT
    parent.service_name AS caller, child.service_name AS callee, count(*) AS calls,
    count(*) FILTER (WHERE child.status_code = 'ERROR') AS errors, avg(child.duration_ns) / 1e6 AS avg_ms
FROM spans AS child
JOIN spans AS parent ON child.trace_id = parent.trace_id AND child.parent_span_id = parent.span_id
WHERE child.service_name <> parent.service_name
GROUP BY caller, callee
ORDER BY caller, callee

-- engine: clickhouse
SELECT
    parent.ServiceName AS caller, child.ServiceName AS callee, count() AS calls,
    countIf(child.StatusCode = 'Error') AS errors, avg(child.Duration) / 1e6 AS avg_ms
FROM otel_traces AS child
JOIN otel_traces AS parent ON child.TraceId = parent.TraceId AND child.ParentSpanId = parent.SpanId
WHERE child.ServiceName != parent.ServiceName
GROUP BY caller, callee
ORDER BY caller, callee
