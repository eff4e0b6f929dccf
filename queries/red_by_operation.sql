-- Rate, errors and duration of each operation
--
-- What each service serves: requests, errors and latency of its server and consumer spans, by operation.
--
-- param from timestamp '1970-01-01' spans from this time on
-- param to timestamp '2100-01-01' spans before this time
-- param service text '%' services whose name is LIKE this
SELECT
    service_name,
    span_name AS operation,
    count(*) AS requests,
    count(*) / greatest((extract(epoch FROM max(timestamp)) - extract(epoch FROM min(timestamp))), 1) AS requests_per_second,
    count(*) FILTER (WHERE status_code = 'ERROR') AS errors,
    count(*) FILTER (WHERE status_code = 'ERROR') / count(*) AS error_rate,
    quantile(0.5)(duration_ms) AS p50_ms,
    quantile(0.95)(duration_ms) AS p95_ms,
    quantile(0.99)(duration_ms) AS p99_ms
FROM spans
WHERE span_kind IN ('SERVER', 'CONSUMER')
    AND service_name LIKE :service
    AND timestamp >= :from AND timestamp < :to
GROUP BY service_name, span_name
ORDER BY requests DESC, service_name, operation
