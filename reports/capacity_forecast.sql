-- title = "Capacity forecast"
-- description = "How many requests a second each service will get, and how long they will take, with what 95 of 100 values are expected within. Services with too few intervals to tell are left out."
-- schedule = { cron = "0 1 * * 1", time_zone = "UTC" }
-- window = { length = "4 weeks", delay = "1h" }
-- [parameters.width]
-- type = "text"
-- default = "1 hour"
-- description = "how long an interval is"
-- [parameters.steps]
-- type = "integer"
-- default = "168"
-- description = "how many intervals ahead"
-- [parameters.season]
-- type = "text"
-- default = "1 day"
-- description = "after how long it is the same again"
-- [parameters.service]
-- type = "text"
-- default = "%"
-- description = "services whose name is LIKE this"
-- [[charts]]
-- kind = "line"
-- title = "Expected requests a second"
-- x = "time"
-- y = ["rate"]
-- series = "service_name"
-- [[charts]]
-- kind = "line"
-- title = "Expected 95th percentile of the duration"
-- x = "time"
-- y = ["p95_ms"]
-- series = "service_name"
-- unit = "ms"
SELECT service_name, time, rate, rate_low, rate_high, p95_ms, p95_low_ms, p95_high_ms
FROM forecast(:width, :steps, :season, :from, :to)
WHERE service_name LIKE :service
ORDER BY service_name, time
