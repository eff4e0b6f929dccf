-- title: a whole trace by id, without a time range
-- engine: spanhouse
SELECT timestamp, span_id, parent_span_id, service_name, span_name, span_kind, duration_ns, status_code, attributes
FROM spans
WHERE trace_id = '{trace_id}'
ORDER BY timestamp, span_id

-- engine: duckdb
SELECT timestamp, span_id, parent_span_id, service_name, span_name, span_kind, duration_ns, status_code, attributes
FROM spans
WHERE trace_id = '{trace_id}'
ORDER BY timestamp, span_id

-- engine: clickhouse
-- The lookup table first, as Grafana's data source asks.
WITH
    '{trace_id}' AS id,
    (SELECT min(Start) FROM otel_traces_trace_id_ts WHERE TraceId = id) AS first,
    (SELECT max(End) + 1 FROM otel_traces_trace_id_ts WHERE TraceId = id) AS last
SELECT
    Timestamp AS timestamp, SpanId AS span_id, ParentSpanId AS parent_span_id, ServiceName AS service_name, SpanName AS span_name,
    upper(SpanKind) AS span_kind, Duration AS duration_ns, upper(StatusCode) AS status_code, SpanAttributes AS attributes
FROM otel_traces
WHERE TraceId = id AND Timestamp >= first AND Timestamp <= last
ORDER BY Timestamp, SpanId
