-- title: N+1 suspects: the same call many times under one parent
-- engine: spanhouse
SELECT service_name, span_name, count(*) AS parents, max(calls) AS most_calls, sum(total_ns) AS total_ns
FROM (
    SELECT trace_id, parent_span_id, service_name, span_name, count(*) AS calls, sum(duration_ns) AS total_ns
    FROM spans
    WHERE span_kind = 'CLIENT' AND parent_span_id IS NOT NULL
    GROUP BY trace_id, parent_span_id, service_name, span_name
    HAVING count(*) >= {repeats}
) AS repeated
GROUP BY service_name, span_name
ORDER BY total_ns DESC
LIMIT 20

-- engine: duckdb
-- Parents with enough calls of any kind first, as groups by numbers cost less than groups by text.
SELECT service_name, span_name, count(*) AS parents, max(calls) AS most_calls, sum(total_ns) AS total_ns
FROM (
    SELECT trace_id, parent_span_id, service_name, span_name, count(*) AS calls, sum(duration_ns) AS total_ns
    FROM spans
    WHERE span_kind = 'CLIENT' AND parent_span_id IN (
        SELECT parent_span_id FROM spans WHERE span_kind = 'CLIENT' GROUP BY parent_span_id HAVING count(*) >= {repeats}
    )
    GROUP BY trace_id, parent_span_id, service_name, span_name
    HAVING count(*) >= {repeats}
) AS repeated
GROUP BY service_name, span_name
ORDER BY total_ns DESC
LIMIT 20

-- engine: clickhouse
SELECT service_name, span_name, count() AS parents, max(calls) AS most_calls, sum(total_ns) AS total_ns
FROM (
    SELECT
        TraceId, ParentSpanId, ServiceName AS service_name, SpanName AS span_name, count() AS calls, sum(Duration) AS total_ns
    FROM otel_traces
    WHERE SpanKind = 'Client' AND ParentSpanId != ''
    GROUP BY TraceId, ParentSpanId, ServiceName, SpanName
    HAVING calls >= {repeats}
)
GROUP BY service_name, span_name
ORDER BY total_ns DESC
LIMIT 20
