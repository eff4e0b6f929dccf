-- title = "Rate, errors and duration, hour by hour"
-- description = "Keeps what each operation did in an hour as reports.hourly_red, with sketches of its durations: the p95 of any months is SELECT sketch_quantile(sketch_merge(sketch), 0.95) FROM reports.hourly_red."
-- schedule = { cron = "10 * * * *", time_zone = "UTC" }
-- window = { length = "1h", delay = "10m" }
-- record = { table = "hourly_red", mode = "replace", column = "time" }
-- keep = "7 days"
-- [[charts]]
-- kind = "bar"
-- title = "Requests"
-- x = "service_name"
-- y = ["calls"]
-- series = "span_name"
SELECT
    date_trunc('hour', timestamp) AS time,
    service_name,
    span_name,
    span_kind,
    count(*) AS calls,
    count(*) FILTER (WHERE status_code = 'ERROR') AS errors,
    sum(duration_ms) AS total_ms,
    quantile(0.95)(duration_ms) AS p95_ms,
    quantile_sketch(duration_ms) AS sketch
FROM spans
WHERE timestamp >= :from AND timestamp < :to
    AND (span_kind IN ('SERVER', 'CONSUMER') OR parent_span_id IS NULL)
GROUP BY time, service_name, span_name, span_kind
ORDER BY time, service_name, span_name, span_kind
