-- title: distinct services
-- engine: spanhouse
SELECT DISTINCT service_name FROM spans ORDER BY service_name

-- engine: duckdb
SELECT DISTINCT service_name FROM spans ORDER BY service_name

-- engine: clickhouse
SELECT DISTINCT ServiceName AS service_name FROM otel_traces ORDER BY service_name
