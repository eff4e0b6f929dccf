-- title: count in an hour
-- engine: spanhouse
SELECT count(*) AS spans
FROM spans
WHERE timestamp >= '{hour_from}' AND timestamp < '{hour_to}'

-- engine: duckdb
SELECT count(*) AS spans
FROM spans
WHERE timestamp >= '{hour_from}' AND timestamp < '{hour_to}'

-- engine: clickhouse
SELECT count() AS spans
FROM otel_traces
WHERE Timestamp >= '{hour_from}' AND Timestamp < '{hour_to}'
