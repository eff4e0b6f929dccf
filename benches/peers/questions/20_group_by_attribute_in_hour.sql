-- title: group by a frequent attribute, in an hour
-- growth only
-- engine: spanhouse
SELECT attributes['{group_key}'] AS value, count(*) AS spans, avg(duration_ms) AS avg_ms
FROM spans
WHERE timestamp >= '{hour_from}' AND timestamp < '{hour_to}'
GROUP BY value
ORDER BY spans DESC, value
LIMIT 50

-- engine: duckdb
SELECT attributes['{group_key}']::VARCHAR AS value, count(*) AS spans, avg(duration_ns) / 1e6 AS avg_ms
FROM spans
WHERE timestamp >= '{hour_from}' AND timestamp < '{hour_to}'
GROUP BY value
ORDER BY spans DESC, value
LIMIT 50

-- engine: clickhouse
SELECT SpanAttributes['{group_key}'] AS value, count() AS spans, avg(Duration) / 1e6 AS avg_ms
FROM otel_traces
WHERE Timestamp >= '{hour_from}' AND Timestamp < '{hour_to}'
GROUP BY value
ORDER BY spans DESC, value
LIMIT 50
