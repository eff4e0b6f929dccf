-- title = "Latency over the day"
-- description = "How many requests took how long, when: two ways to be answered, a slow hour and a timeout show here and in no average."
-- schedule = { cron = "20 0 * * *", time_zone = "UTC" }
-- window = { length = "1 day", delay = "20m" }
-- [parameters.width]
-- type = "text"
-- default = "15 minutes"
-- description = "how long an interval is"
-- [parameters.service]
-- type = "text"
-- default = "%"
-- description = "services whose name is LIKE this"
-- [[charts]]
-- kind = "heatmap"
-- title = "Requests by duration"
-- x = "time"
-- y = ["le_ms"]
-- value = "requests"
-- unit = "ms"
SELECT
    date_bin(CAST(:width AS INTERVAL), timestamp) AS time,
    -- The duration that no request of the row exceeds; every other row has twice as much.
    log_bucket(duration_ms, 2) AS le_ms,
    count(*) AS requests
FROM spans
WHERE timestamp >= :from AND timestamp < :to
    AND (span_kind IN ('SERVER', 'CONSUMER') OR parent_span_id IS NULL)
    AND service_name LIKE :service
GROUP BY time, le_ms
ORDER BY time, le_ms
