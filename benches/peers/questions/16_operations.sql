-- title: distinct operations
-- engine: spanhouse
SELECT DISTINCT service_name, span_name FROM spans ORDER BY service_name, span_name

-- engine: duckdb
SELECT DISTINCT service_name, span_name FROM spans ORDER BY service_name, span_name

-- engine: clickhouse
SELECT DISTINCT ServiceName AS service_name, SpanName AS span_name FROM otel_traces ORDER BY service_name, span_name
