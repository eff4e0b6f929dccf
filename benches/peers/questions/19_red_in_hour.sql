-- title: requests, errors and p95 by service, in an hour
-- growth only
-- quantiles: p95_ms=0.95
-- engine: spanhouse
SELECT service_name, count(*) AS requests, count(*) FILTER (WHERE status_code = 'ERROR') AS errors, quantile(0.95)(duration_ms) AS p95_ms
FROM spans
WHERE timestamp >= '{hour_from}' AND timestamp < '{hour_to}'
GROUP BY service_name
ORDER BY service_name

-- engine: duckdb
SELECT
    service_name, count(*) AS requests, count(*) FILTER (WHERE status_code = 'ERROR') AS errors,
    quantile_cont(duration_ns, 0.95) / 1e6 AS p95_ms
FROM spans
WHERE timestamp >= '{hour_from}' AND timestamp < '{hour_to}'
GROUP BY service_name
ORDER BY service_name

-- engine: clickhouse
SELECT ServiceName AS service_name, count() AS requests, countIf(StatusCode = 'Error') AS errors, quantileBFloat16(0.95)(Duration) / 1e6 AS p95_ms
FROM otel_traces
WHERE Timestamp >= '{hour_from}' AND Timestamp < '{hour_to}'
GROUP BY ServiceName
ORDER BY ServiceName

-- engine: ranks
SELECT service_name, list_sort(list(duration_ns / 1e6)) AS p95_ms
FROM spans
WHERE timestamp >= '{hour_from}' AND timestamp < '{hour_to}'
GROUP BY service_name
