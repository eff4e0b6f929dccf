-- title: p99 by operation
-- quantiles: p99_ms=0.99
-- engine: spanhouse
SELECT service_name, span_name, count(*) AS spans, quantile(0.99)(duration_ms) AS p99_ms
FROM spans
GROUP BY service_name, span_name
ORDER BY service_name, span_name

-- engine: duckdb
SELECT service_name, span_name, count(*) AS spans, quantile_cont(duration_ns, 0.99) / 1e6 AS p99_ms
FROM spans
GROUP BY service_name, span_name
ORDER BY service_name, span_name

-- engine: clickhouse
SELECT ServiceName AS service_name, SpanName AS span_name, count() AS spans, quantileBFloat16(0.99)(Duration) / 1e6 AS p99_ms
FROM otel_traces
GROUP BY ServiceName, SpanName
ORDER BY ServiceName, SpanName

-- engine: ranks
SELECT service_name, span_name, list_sort(list(duration_ns / 1e6)) AS p99_ms
FROM spans
GROUP BY service_name, span_name
