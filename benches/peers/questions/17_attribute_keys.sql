-- title: distinct attribute keys
-- engine: spanhouse
SELECT DISTINCT unnest(map_keys(attributes)) AS key FROM spans ORDER BY key

-- engine: duckdb
SELECT DISTINCT unnest(variant_keys(attributes)) AS key FROM spans ORDER BY key

-- engine: clickhouse
SELECT DISTINCT arrayJoin(SpanAttributes.keys) AS key FROM otel_traces ORDER BY key
