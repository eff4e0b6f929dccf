-- title: a numeric attribute: status 500 and more by service
-- engine: spanhouse
SELECT service_name, count(*) AS spans
FROM spans
WHERE attributes['{numeric_key}'] >= 500
GROUP BY service_name
ORDER BY service_name

-- engine: duckdb
SELECT service_name, count(*) AS spans
FROM spans
WHERE attributes['{numeric_key}']::BIGINT >= 500
GROUP BY service_name
ORDER BY service_name

-- engine: clickhouse
SELECT ServiceName AS service_name, count() AS spans
FROM otel_traces
WHERE toInt64OrZero(SpanAttributes['{numeric_key}']) >= 500
GROUP BY ServiceName
ORDER BY ServiceName
