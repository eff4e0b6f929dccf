-- title = "Slowest operations"
-- description = "Which requests take longest, by the 95th percentile of their duration, beside the same time of the week before; each with its slowest trace."
-- schedule = { cron = "35 0 * * *", time_zone = "UTC" }
-- window = { length = "1 day", delay = "35m" }
-- [parameters.service]
-- type = "text"
-- default = "%"
-- description = "services whose name is LIKE this"
-- [parameters.ago]
-- type = "text"
-- default = "7 days"
-- description = "how long ago the time lies that is compared with, by the calendar of the zone; of a longer window, so many times as long as it takes"
-- [parameters.least_requests]
-- type = "integer"
-- default = "5"
-- description = "operations with fewer requests are left out"
-- [parameters.limit]
-- type = "integer"
-- default = "20"
-- description = "how many operations"
-- [[charts]]
-- kind = "bar"
-- title = "95th percentile of the duration, now and before"
-- x = "operation"
-- y = ["p95_ms", "p95_before_ms"]
-- unit = "ms"
-- [[charts]]
-- kind = "waterfall"
-- title = "The slowest traces"
-- x = "trace_id"
-- [[alerts]]
-- name = "slower"
-- column = "p95_change"
-- above = 1.0
-- clear_below = 0.5
-- group_by = ["operation"]
-- exemplars = "trace_id"
-- summary = "an operation is more than twice as slow as it was"
SELECT
    operation,
    requests,
    errors / requests AS error_rate,
    p50_ms,
    p95_ms,
    p95_before_ms,
    -- Of fewer requests the slowest of all is the p95.
    CASE WHEN least(requests, requests_before) >= 20 THEN p95_ms / nullif(p95_before_ms, 0) - 1 END AS p95_change,
    p99_ms,
    max_ms,
    total_ms,
    trace_id
FROM (
    SELECT
        service_name || ': ' || span_name AS operation,
        count(*) FILTER (WHERE is_now) AS requests,
        count(*) FILTER (WHERE NOT is_now) AS requests_before,
        count(*) FILTER (WHERE is_now AND status_code = 'ERROR') AS errors,
        quantile(0.5)(duration_ms) FILTER (WHERE is_now) AS p50_ms,
        quantile(0.95)(duration_ms) FILTER (WHERE is_now) AS p95_ms,
        quantile(0.95)(duration_ms) FILTER (WHERE NOT is_now) AS p95_before_ms,
        quantile(0.99)(duration_ms) FILTER (WHERE is_now) AS p99_ms,
        max(duration_ms) FILTER (WHERE is_now) AS max_ms,
        sum(duration_ms) FILTER (WHERE is_now) AS total_ms,
        first_value(trace_id ORDER BY duration_ns DESC) FILTER (WHERE is_now) AS trace_id
    FROM (
        SELECT service_name, span_name, status_code, duration_ms, duration_ns, trace_id, timestamp >= :from AS is_now
        FROM spans
        WHERE (span_kind IN ('SERVER', 'CONSUMER') OR parent_span_id IS NULL)
            AND service_name LIKE :service
            AND (
                timestamp >= :from AND timestamp < :to
                OR timestamp >= ((:from AT TIME ZONE :zone) - CAST(:ago AS INTERVAL) * ceil(extract(epoch FROM (:to AT TIME ZONE :zone) - (:from AT TIME ZONE :zone)) / extract(epoch FROM CAST(:ago AS INTERVAL)))) AT TIME ZONE :zone
                AND timestamp < ((:to AT TIME ZONE :zone) - CAST(:ago AS INTERVAL) * ceil(extract(epoch FROM (:to AT TIME ZONE :zone) - (:from AT TIME ZONE :zone)) / extract(epoch FROM CAST(:ago AS INTERVAL)))) AT TIME ZONE :zone
            )
    ) AS asked
    GROUP BY service_name, span_name
) AS operations
WHERE requests >= greatest(:least_requests, 1)
ORDER BY p95_ms DESC, operation
LIMIT :limit
