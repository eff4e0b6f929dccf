-- title = "N+1 suspects"
-- description = "Spans that make the same call again and again where one call might do, by the time that this costs; each with a trace to look at."
-- schedule = { cron = "50 0 * * 1", time_zone = "UTC" }
-- window = { length = "1 week", delay = "50m" }
-- [parameters.times]
-- type = "integer"
-- default = "5"
-- description = "the least number of equal calls under one parent"
-- [parameters.service]
-- type = "text"
-- default = "%"
-- description = "callers whose name is LIKE this"
-- [parameters.limit]
-- type = "integer"
-- default = "20"
-- description = "how many suspects"
-- [[charts]]
-- kind = "bar"
-- title = "Time that repeated calls cost"
-- x = "call"
-- y = ["wasted_ms"]
-- series = "service_name"
-- unit = "ms"
-- [[charts]]
-- kind = "waterfall"
-- title = "Traces with repeated calls"
-- x = "example_trace_id"
SELECT
    service_name,
    parent_name,
    call,
    system,
    wasted_ms,
    wasted_ms / traces AS wasted_ms_a_trace,
    traces,
    parents,
    max_repeats,
    calls,
    sequential,
    total_ms,
    example_trace_id
FROM n_plus_one(:times, :from, :to)
WHERE service_name LIKE :service
ORDER BY wasted_ms DESC, service_name, parent_name, call, system
LIMIT :limit
