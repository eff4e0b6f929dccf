-- Who calls whom, how often, failing how often and how slowly: the calls of service_calls, counted.
CREATE FUNCTION service_map(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURN (
    SELECT
        caller,
        callee,
        count(*) AS calls,
        count(*) FILTER (WHERE status_code = 'ERROR') AS errors,
        count(*) FILTER (WHERE status_code = 'ERROR') / count(*) AS error_rate,
        avg(duration_ms) AS avg_ms,
        quantile(duration_ms, 0.5) AS p50_ms,
        quantile(duration_ms, 0.95) AS p95_ms,
        quantile(duration_ms, 0.99) AS p99_ms,
        caller_type,
        callee_type,
        connection
    FROM traces.service_calls(since, until)
    GROUP BY caller, callee, caller_type, callee_type, connection
)
