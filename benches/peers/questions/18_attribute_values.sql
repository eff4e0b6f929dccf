-- title: distinct values of an attribute
-- engine: spanhouse
SELECT DISTINCT attributes['{group_key}'] AS value
FROM spans
WHERE attributes['{group_key}'] IS NOT NULL
ORDER BY value

-- engine: duckdb
SELECT DISTINCT attributes['{group_key}']::VARCHAR AS value
FROM spans
WHERE value IS NOT NULL
ORDER BY value

-- engine: clickhouse
SELECT DISTINCT SpanAttributes['{group_key}'] AS value
FROM otel_traces
WHERE value != ''
ORDER BY value
