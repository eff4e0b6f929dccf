-- title = "Rate, errors and latency over the day"
-- description = "How the load, the errors and the latency of each service went in a day, interval by interval."
-- schedule = { cron = "25 0 * * *", time_zone = "UTC" }
-- window = { length = "1 day", delay = "25m" }
-- [parameters.width]
-- type = "text"
-- default = "15 minutes"
-- description = "how long an interval is; the first and the last may be cut by the window"
-- [parameters.service]
-- type = "text"
-- default = "%"
-- description = "services whose name is LIKE this"
-- [[charts]]
-- kind = "line"
-- title = "Requests a second"
-- x = "time"
-- y = ["rate"]
-- series = "service_name"
-- [[charts]]
-- kind = "line"
-- title = "Errors as a share of requests"
-- x = "time"
-- y = ["error_rate"]
-- series = "service_name"
-- [[charts]]
-- kind = "line"
-- title = "95th percentile of the duration"
-- x = "time"
-- y = ["p95_ms"]
-- series = "service_name"
-- unit = "ms"
SELECT
    date_bin(CAST(:width AS INTERVAL), timestamp) AS time,
    service_name,
    count(*) AS requests,
    count(*) / extract(epoch FROM CAST(:width AS INTERVAL)) AS rate,
    count(*) FILTER (WHERE status_code = 'ERROR') AS errors,
    count(*) FILTER (WHERE status_code = 'ERROR') / count(*) AS error_rate,
    quantile(0.5)(duration_ms) AS p50_ms,
    quantile(0.95)(duration_ms) AS p95_ms
FROM spans
WHERE timestamp >= :from AND timestamp < :to
    AND (span_kind IN ('SERVER', 'CONSUMER') OR parent_span_id IS NULL)
    AND service_name LIKE :service
GROUP BY time, service_name
ORDER BY time, service_name
