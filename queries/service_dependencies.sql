-- Service dependencies
--
-- Which service calls which, how often, how often it fails, and how slow it is.
--
-- param from timestamp '1970-01-01' calls from this time on
-- param to timestamp '2100-01-01' calls before this time
SELECT
    caller.service_name AS caller,
    callee.service_name AS callee,
    count(*) AS calls,
    count(*) FILTER (WHERE callee.status_code = 'ERROR') AS errors,
    count(*) FILTER (WHERE callee.status_code = 'ERROR') / count(*) AS error_rate,
    quantile(0.5)(callee.duration_ms) AS p50_ms,
    quantile(0.95)(callee.duration_ms) AS p95_ms
FROM spans AS callee
JOIN spans AS caller ON callee.trace_id = caller.trace_id AND callee.parent_span_id = caller.span_id
WHERE callee.service_name <> caller.service_name
    AND callee.timestamp >= :from AND callee.timestamp < :to
GROUP BY caller.service_name, callee.service_name
ORDER BY calls DESC, caller, callee
