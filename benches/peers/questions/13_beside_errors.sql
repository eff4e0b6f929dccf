-- title: what else happened in traces with errors
-- engine: spanhouse
SELECT service_name, span_name, count(*) AS spans, count(DISTINCT trace_id) AS traces, avg(duration_ms) AS avg_ms
FROM spans
WHERE trace_id IN (SELECT trace_id FROM spans WHERE {error? status_code = 'ERROR' : duration_ns >= {slow_ns} })
GROUP BY service_name, span_name
ORDER BY spans DESC, service_name, span_name
LIMIT 50

-- engine: duckdb
SELECT service_name, span_name, count(*) AS spans, count(DISTINCT trace_id) AS traces, avg(duration_ns) / 1e6 AS avg_ms
FROM spans
WHERE trace_id IN (SELECT trace_id FROM spans WHERE {error? status_code = 'ERROR' : duration_ns >= {slow_ns} })
GROUP BY service_name, span_name
ORDER BY spans DESC, service_name, span_name
LIMIT 50

-- engine: clickhouse
SELECT
    ServiceName AS service_name, SpanName AS span_name, count() AS spans, uniqExact(TraceId) AS traces, avg(Duration) / 1e6 AS avg_ms
FROM otel_traces
WHERE TraceId IN (SELECT TraceId FROM otel_traces WHERE {error? StatusCode = 'Error' : Duration >= {slow_ns} })
GROUP BY ServiceName, SpanName
ORDER BY spans DESC, service_name, span_name
LIMIT 50
