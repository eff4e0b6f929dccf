-- title: group by a frequent attribute
-- engine: spanhouse
SELECT attributes['{group_key}'] AS value, count(*) AS spans, avg(duration_ms) AS avg_ms
FROM spans
GROUP BY value
ORDER BY spans DESC, value
LIMIT 50

-- engine: duckdb
SELECT attributes['{group_key}']::VARCHAR AS value, count(*) AS spans, avg(duration_ns) / 1e6 AS avg_ms
FROM spans
GROUP BY value
ORDER BY spans DESC, value
LIMIT 50

-- engine: clickhouse
SELECT SpanAttributes['{group_key}'] AS value, count() AS spans, avg(Duration) / 1e6 AS avg_ms
FROM otel_traces
GROUP BY value
ORDER BY spans DESC, value
LIMIT 50
