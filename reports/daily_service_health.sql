-- title = "Daily service health"
-- description = "What each service was asked in a day, how often it failed and how long it took, beside the same day of the week before. What fails most comes first; a service that is asked no more has 0 requests."
-- schedule = { cron = "30 0 * * *", time_zone = "UTC" }
-- window = { length = "1 day", delay = "30m" }
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
-- default = "1"
-- description = "services with fewer requests, now and before, are left out"
-- [[charts]]
-- kind = "bar"
-- title = "Requests, now and before"
-- x = "service_name"
-- y = ["requests", "requests_before"]
-- [[charts]]
-- kind = "bar"
-- title = "Errors as a share of requests, now and before"
-- x = "service_name"
-- y = ["error_rate", "error_rate_before"]
-- [[charts]]
-- kind = "bar"
-- title = "95th percentile of the duration, now and before"
-- x = "service_name"
-- y = ["p95_ms", "p95_before_ms"]
-- unit = "ms"
-- [[charts]]
-- kind = "waterfall"
-- title = "The slowest request of a service"
-- x = "example_trace_id"
-- [[alerts]]
-- name = "errors"
-- column = "error_rate"
-- above = 0.05
-- clear_below = 0.02
-- group_by = ["service_name"]
-- exemplars = "example_trace_id"
-- summary = "more than 5 % of the requests of a service failed"
-- [[alerts]]
-- name = "latency"
-- column = "p95_change"
-- above = 1.0
-- clear_below = 0.5
-- group_by = ["service_name"]
-- exemplars = "example_trace_id"
-- summary = "a service is more than twice as slow as it was"
SELECT
    service_name,
    requests,
    requests_before,
    requests / nullif(requests_before, 0) - 1 AS requests_change,
    requests / nullif(extract(epoch FROM :to - :from), 0) AS requests_per_second,
    errors,
    errors / nullif(requests, 0) AS error_rate,
    errors_before / nullif(requests_before, 0) AS error_rate_before,
    p50_ms,
    p95_ms,
    p95_before_ms,
    -- Of fewer requests the slowest of all is the p95.
    CASE WHEN least(requests, requests_before) >= 20 THEN p95_ms / nullif(p95_before_ms, 0) - 1 END AS p95_change,
    p99_ms,
    example_trace_id
FROM (
    SELECT
        service_name,
        count(*) FILTER (WHERE is_now) AS requests,
        count(*) FILTER (WHERE NOT is_now) AS requests_before,
        count(*) FILTER (WHERE is_now AND status_code = 'ERROR') AS errors,
        count(*) FILTER (WHERE NOT is_now AND status_code = 'ERROR') AS errors_before,
        quantile(0.5)(duration_ms) FILTER (WHERE is_now) AS p50_ms,
        quantile(0.95)(duration_ms) FILTER (WHERE is_now) AS p95_ms,
        quantile(0.95)(duration_ms) FILTER (WHERE NOT is_now) AS p95_before_ms,
        quantile(0.99)(duration_ms) FILTER (WHERE is_now) AS p99_ms,
        -- A request that failed, else the slowest one.
        coalesce(
            first_value(trace_id ORDER BY duration_ns DESC) FILTER (WHERE is_now AND status_code = 'ERROR'),
            first_value(trace_id ORDER BY duration_ns DESC) FILTER (WHERE is_now)
        ) AS example_trace_id
    FROM (
        SELECT service_name, status_code, duration_ms, duration_ns, trace_id, timestamp >= :from AS is_now
        FROM spans
        WHERE (span_kind IN ('SERVER', 'CONSUMER') OR parent_span_id IS NULL)
            AND service_name LIKE :service
            AND (
                timestamp >= :from AND timestamp < :to
                OR timestamp >= ((:from AT TIME ZONE :zone) - CAST(:ago AS INTERVAL) * ceil(extract(epoch FROM (:to AT TIME ZONE :zone) - (:from AT TIME ZONE :zone)) / extract(epoch FROM CAST(:ago AS INTERVAL)))) AT TIME ZONE :zone
                AND timestamp < ((:to AT TIME ZONE :zone) - CAST(:ago AS INTERVAL) * ceil(extract(epoch FROM (:to AT TIME ZONE :zone) - (:from AT TIME ZONE :zone)) / extract(epoch FROM CAST(:ago AS INTERVAL)))) AT TIME ZONE :zone
            )
    ) AS asked
    GROUP BY service_name
) AS services
WHERE greatest(requests, requests_before) >= :least_requests
ORDER BY error_rate DESC NULLS LAST, requests DESC, requests_before DESC, service_name
