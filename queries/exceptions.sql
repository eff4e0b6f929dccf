-- Exceptions
--
-- Which exceptions were recorded, by type and service, with a message and a trace to look at.
--
-- param from timestamp '1970-01-01' exceptions from this time on
-- param to timestamp '2100-01-01' exceptions before this time
-- param limit integer 20 how many types
SELECT
    service_name,
    attributes['exception.type'] AS exception_type,
    count(*) AS exceptions,
    max(timestamp) AS last_seen,
    max(attributes['exception.message']) AS example_message,
    max(trace_id) AS example_trace_id
FROM events
WHERE event_name = 'exception' AND timestamp >= :from AND timestamp < :to
GROUP BY service_name, exception_type
ORDER BY exceptions DESC, service_name, exception_type
LIMIT :limit
