-- title: find a rare attribute value
-- engine: spanhouse
SELECT timestamp, trace_id, span_id, service_name, span_name, duration_ns
FROM spans
WHERE attributes['{rare_key}'] = '{rare_value}'
ORDER BY timestamp, span_id
LIMIT 100

-- engine: duckdb
SELECT timestamp, trace_id, span_id, service_name, span_name, duration_ns
FROM spans
WHERE attributes['{rare_key}']::VARCHAR = '{rare_value}'
ORDER BY timestamp, span_id
LIMIT 100

-- engine: clickhouse
SELECT
    Timestamp AS timestamp, TraceId AS trace_id, SpanId AS span_id, ServiceName AS service_name, SpanName AS span_name,
    Duration AS duration_ns
FROM otel_traces
WHERE SpanAttributes['{rare_key}'] = '{rare_value}'
ORDER BY Timestamp, SpanId
LIMIT 100
