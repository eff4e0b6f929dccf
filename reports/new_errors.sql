-- title = "New errors since yesterday"
-- description = "Errors that began somewhere in the last day and did not begin there in the time before: who failed first and with what, how far it went, and when it was first seen. Ids and numbers in messages do not count."
-- schedule = { cron = "40 0 * * *", time_zone = "UTC" }
-- window = { length = "1 day", delay = "40m" }
-- [parameters.service]
-- type = "text"
-- default = "%"
-- description = "errors that began in services whose name is LIKE this"
-- [parameters.lookback]
-- type = "text"
-- default = "7 days"
-- description = "how long before the window an error must not have been seen to be new"
-- [parameters.limit]
-- type = "integer"
-- default = "100"
-- description = "how many errors"
-- [[charts]]
-- kind = "bar"
-- title = "Traces with a new error, by the service that it began in"
-- x = "origin_service"
-- y = ["traces"]
-- series = "origin_name"
-- [[charts]]
-- kind = "waterfall"
-- title = "Traces with a new error"
-- x = "example_trace_id"
-- [[alerts]]
-- name = "new"
-- column = "traces"
-- above = 0.0
-- group_by = ["origin_service", "origin_name", "error"]
-- exemplars = "example_trace_id"
-- summary = "an error that was not there before"
SELECT
    origin_service,
    origin_name,
    error,
    traces,
    origins,
    requests AS failed_requests,
    services,
    chain,
    stopped_at,
    first_seen,
    last_seen,
    example_trace_id
FROM error_propagation(status_code = 'ERROR', since => :from - CAST(:lookback AS INTERVAL), until => :to)
WHERE first_seen >= :from AND origin_service LIKE :service
ORDER BY traces DESC, origin_service, origin_name, error
LIMIT :limit
