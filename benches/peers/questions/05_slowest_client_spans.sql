-- title: slowest 20 client spans
-- engine: spanhouse
SELECT timestamp, trace_id, span_id, service_name, span_name, duration_ns
FROM spans
WHERE span_kind = 'CLIENT'
ORDER BY duration_ns DESC, span_id
LIMIT 20

-- engine: duckdb
SELECT timestamp, trace_id, span_id, service_name, span_name, duration_ns
FROM spans
WHERE span_kind = 'CLIENT'
ORDER BY duration_ns DESC, span_id
LIMIT 20

-- engine: clickhouse
SELECT
    Timestamp AS timestamp, TraceId AS trace_id, SpanId AS span_id, ServiceName AS service_name, SpanName AS span_name,
    Duration AS duration_ns
FROM otel_traces
WHERE SpanKind = 'Client'
ORDER BY Duration DESC, SpanId
LIMIT 20
