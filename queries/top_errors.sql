-- Top errors
--
-- Which errors occur most, by service, operation and message, and when they began and were last seen.
--
-- param from timestamp '1970-01-01' errors from this time on
-- param to timestamp '2100-01-01' errors before this time
-- param limit integer 20 how many errors
SELECT
    service_name,
    span_name AS operation,
    error_message,
    count(*) AS errors,
    min(timestamp) AS first_seen,
    max(timestamp) AS last_seen,
    max(trace_id) AS example_trace_id
FROM spans
WHERE status_code = 'ERROR' AND timestamp >= :from AND timestamp < :to
GROUP BY service_name, span_name, error_message
ORDER BY errors DESC, service_name, operation
LIMIT :limit
