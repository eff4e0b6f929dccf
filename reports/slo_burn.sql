-- title = "SLO burn"
-- description = "How fast each service uses up its error budget, over several windows that end when the run is due. 1 uses it up exactly by the end of the SLO's period. A burn counts when a long window and a short one have it, so that it is worth waking somebody and still goes on: 14.4 over 1 hour and 5 minutes, 6 over 6 hours and 30 minutes, 1 over 3 days and 6 hours (The Site Reliability Workbook, chapter 5)."
-- schedule = { every = "5m" }
-- window = "3 days"
-- timeout = "4m"
-- keep = "30 days"
-- [parameters.objective]
-- type = "double"
-- default = "0.999"
-- description = "the share of requests that have to be good, below 1"
-- [parameters.slow_ms]
-- type = "double"
-- default = "0"
-- description = "a request that takes longer is not good, as one that failed; 0 lets requests take as long as they like"
-- [parameters.service]
-- type = "text"
-- default = "%"
-- description = "services whose name is LIKE this"
-- [[charts]]
-- kind = "bar"
-- title = "Burn rates"
-- x = "service_name"
-- y = ["burn_1h", "burn_6h", "burn_3d"]
-- [[alerts]]
-- name = "fast_burn"
-- column = "fast_burn"
-- above = 14.4
-- group_by = ["service_name"]
-- severity = "page"
-- repeat_every = "4h"
-- exemplars = "example_trace_id"
-- summary = "2 % of the budget of 30 days are used up in an hour"
-- [[alerts]]
-- name = "slow_burn"
-- column = "slow_burn"
-- above = 6.0
-- group_by = ["service_name"]
-- severity = "page"
-- repeat_every = "12h"
-- exemplars = "example_trace_id"
-- summary = "5 % of the budget of 30 days are used up in six hours"
-- [[alerts]]
-- name = "budget"
-- column = "long_burn"
-- above = 1.0
-- group_by = ["service_name"]
-- severity = "ticket"
-- repeat_every = "1 day"
-- exemplars = "example_trace_id"
-- summary = "10 % of the budget of 30 days are used up in three days"
SELECT
    service_name,
    -- Both windows of a pair have at least this burn. A window without requests burns nothing.
    least(coalesce(burn_1h, 0), coalesce(burn_5m, 0)) AS fast_burn,
    least(coalesce(burn_6h, 0), coalesce(burn_30m, 0)) AS slow_burn,
    least(coalesce(burn_3d, 0), coalesce(burn_6h, 0)) AS long_burn,
    burn_5m,
    burn_30m,
    burn_1h,
    burn_6h,
    burn_3d,
    requests_3d,
    bad_3d,
    bad_3d / requests_3d AS bad_share_3d,
    example_trace_id
FROM (
    SELECT
        service_name,
        avg(is_bad) FILTER (WHERE timestamp >= :to - INTERVAL '5 minutes') / nullif(1 - :objective, 0) AS burn_5m,
        avg(is_bad) FILTER (WHERE timestamp >= :to - INTERVAL '30 minutes') / nullif(1 - :objective, 0) AS burn_30m,
        avg(is_bad) FILTER (WHERE timestamp >= :to - INTERVAL '1 hour') / nullif(1 - :objective, 0) AS burn_1h,
        avg(is_bad) FILTER (WHERE timestamp >= :to - INTERVAL '6 hours') / nullif(1 - :objective, 0) AS burn_6h,
        avg(is_bad) / nullif(1 - :objective, 0) AS burn_3d,
        count(*) AS requests_3d,
        sum(is_bad) AS bad_3d,
        first_value(trace_id ORDER BY timestamp DESC) FILTER (WHERE is_bad = 1) AS example_trace_id
    FROM (
        SELECT
            service_name,
            timestamp,
            trace_id,
            CASE WHEN status_code = 'ERROR' OR :slow_ms > 0 AND duration_ms > :slow_ms THEN 1 ELSE 0 END AS is_bad
        FROM spans
        WHERE (span_kind IN ('SERVER', 'CONSUMER') OR parent_span_id IS NULL)
            AND service_name LIKE :service
            AND timestamp >= :to - INTERVAL '3 days' AND timestamp < :to
    ) AS judged
    GROUP BY service_name
) AS burning
ORDER BY burn_3d DESC NULLS LAST, service_name
