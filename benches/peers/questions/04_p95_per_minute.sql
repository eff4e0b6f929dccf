-- title: p95 per minute of a service, in a tenth of the time
-- quantiles: p95_ms=0.95
-- engine: spanhouse
SELECT date_trunc('minute', timestamp) AS minute, count(*) AS spans, quantile(0.95)(duration_ms) AS p95_ms
FROM spans
WHERE service_name = '{service}' AND timestamp >= '{tenth_from}' AND timestamp < '{tenth_to}'
GROUP BY minute
ORDER BY minute

-- engine: duckdb
SELECT date_trunc('minute', timestamp) AS minute, count(*) AS spans, quantile_cont(duration_ns, 0.95) / 1e6 AS p95_ms
FROM spans
WHERE service_name = '{service}' AND timestamp >= '{tenth_from}' AND timestamp < '{tenth_to}'
GROUP BY minute
ORDER BY minute

-- engine: clickhouse
SELECT toStartOfMinute(Timestamp) AS minute, count() AS spans, quantileBFloat16(0.95)(Duration) / 1e6 AS p95_ms
FROM otel_traces
WHERE ServiceName = '{service}' AND Timestamp >= '{tenth_from}' AND Timestamp < '{tenth_to}'
GROUP BY minute
ORDER BY minute

-- engine: ranks
SELECT date_trunc('minute', timestamp) AS minute, list_sort(list(duration_ns / 1e6)) AS p95_ms
FROM spans
WHERE service_name = '{service}' AND timestamp >= '{tenth_from}' AND timestamp < '{tenth_to}'
GROUP BY minute
