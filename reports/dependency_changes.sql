-- title = "Dependency changes"
-- description = "Who calls whom, and what is different from the same time of the week before: calls that appeared, vanished or changed come first. Where nothing at all was called before, nothing is said to have appeared."
-- schedule = { cron = "45 0 * * *", time_zone = "UTC" }
-- window = { length = "1 day", delay = "45m" }
-- [parameters.ago]
-- type = "text"
-- default = "7 days"
-- description = "how long ago the time lies that is compared with, by the calendar of the zone; of a longer window, so many times as long as it takes"
-- [parameters.ratio]
-- type = "double"
-- default = "0.5"
-- description = "calls have changed when their number, or the 95th percentile of their duration, has by more than this share"
-- [parameters.points]
-- type = "double"
-- default = "0.05"
-- description = "they have also changed when so much more or less of them fail"
-- [parameters.least_calls]
-- type = "integer"
-- default = "20"
-- description = "fewer calls, now and before, have not changed"
-- [[charts]]
-- kind = "service_map"
-- title = "Who calls whom"
-- x = "caller"
-- y = ["callee"]
-- value = "calls"
-- [[alerts]]
-- name = "appeared"
-- column = "new_calls"
-- above = 0.0
-- group_by = ["caller", "callee", "callee_type"]
-- severity = "info"
-- exemplars = "example_trace_id"
-- summary = "a call that was not there before"
-- [[alerts]]
-- name = "vanished"
-- column = "lost_calls"
-- above = 0.0
-- group_by = ["caller", "callee", "callee_type"]
-- exemplars = "example_trace_id"
-- summary = "a call that is made no more"
SELECT
    change,
    caller,
    callee,
    callee_type,
    connection,
    calls,
    calls_before,
    calls / nullif(calls_before, 0) - 1 AS calls_change,
    error_rate,
    error_rate_before,
    p95_ms,
    p95_before_ms,
    p95_ms / nullif(p95_before_ms, 0) - 1 AS p95_change,
    CASE WHEN change = 'appeared' THEN calls ELSE 0 END AS new_calls,
    CASE WHEN change = 'vanished' THEN calls_before ELSE 0 END AS lost_calls,
    example_trace_id
FROM (
    SELECT
        *,
        CASE
            WHEN sum(calls_before) OVER () = 0 THEN 'nothing before'
            WHEN calls_before = 0 THEN 'appeared'
            WHEN calls = 0 THEN 'vanished'
            WHEN greatest(calls, calls_before) >= :least_calls
                AND (
                    abs(calls / calls_before - 1) > :ratio
                    OR abs(p95_ms / nullif(p95_before_ms, 0) - 1) > :ratio
                    OR abs(error_rate - error_rate_before) > :points
                )
                THEN 'changed'
            ELSE 'same'
        END AS change
    FROM (
        SELECT
            caller,
            callee,
            callee_type,
            connection,
            count(*) FILTER (WHERE is_now) AS calls,
            count(*) FILTER (WHERE NOT is_now) AS calls_before,
            count(*) FILTER (WHERE is_now AND status_code = 'ERROR') / nullif(count(*) FILTER (WHERE is_now), 0) AS error_rate,
            count(*) FILTER (WHERE NOT is_now AND status_code = 'ERROR') / nullif(count(*) FILTER (WHERE NOT is_now), 0) AS error_rate_before,
            quantile(0.95)(duration_ms) FILTER (WHERE is_now) AS p95_ms,
            quantile(0.95)(duration_ms) FILTER (WHERE NOT is_now) AS p95_before_ms,
            -- Of a call that vanished, one of those before.
            coalesce(min(trace_id) FILTER (WHERE is_now), min(trace_id)) AS example_trace_id
        FROM (
            SELECT *, timestamp >= :from AS is_now
            FROM service_calls(
                ((:from AT TIME ZONE :zone) - CAST(:ago AS INTERVAL) * ceil(extract(epoch FROM (:to AT TIME ZONE :zone) - (:from AT TIME ZONE :zone)) / extract(epoch FROM CAST(:ago AS INTERVAL)))) AT TIME ZONE :zone,
                :to
            )
            WHERE timestamp >= :from
                OR timestamp < ((:to AT TIME ZONE :zone) - CAST(:ago AS INTERVAL) * ceil(extract(epoch FROM (:to AT TIME ZONE :zone) - (:from AT TIME ZONE :zone)) / extract(epoch FROM CAST(:ago AS INTERVAL)))) AT TIME ZONE :zone
        ) AS both_times
        GROUP BY caller, callee, callee_type, connection
    ) AS edges
) AS compared
ORDER BY
    CASE change WHEN 'appeared' THEN 1 WHEN 'vanished' THEN 2 WHEN 'changed' THEN 3 ELSE 4 END,
    calls DESC, calls_before DESC, caller, callee, callee_type, connection
