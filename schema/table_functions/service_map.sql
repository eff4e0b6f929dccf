-- Who calls whom, how often, failing how often and how slowly: the calls of service_calls, counted. Where it is asked for, sampled calls count as many
-- as they stand for.
CREATE FUNCTION service_map(
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    extrapolate boolean DEFAULT false
) RETURN (
    SELECT
        caller,
        callee,
        CASE WHEN extrapolate THEN CAST(round(sum(adjusted_count)) AS BIGINT) ELSE count(*) END AS calls,
        CASE
            WHEN extrapolate THEN CAST(round(coalesce(sum(adjusted_count) FILTER (WHERE status_code = 'ERROR'), 0.0)) AS BIGINT)
            ELSE count(*) FILTER (WHERE status_code = 'ERROR')
        END AS errors,
        CASE
            WHEN extrapolate THEN coalesce(sum(adjusted_count) FILTER (WHERE status_code = 'ERROR'), 0.0) / nullif(sum(adjusted_count), 0.0)
            ELSE count(*) FILTER (WHERE status_code = 'ERROR') / count(*)
        END AS error_rate,
        CASE WHEN extrapolate THEN sum(duration_ms * adjusted_count) / nullif(sum(adjusted_count), 0.0) ELSE avg(duration_ms) END AS avg_ms,
        quantile(duration_ms, 0.5) AS p50_ms,
        quantile(duration_ms, 0.95) AS p95_ms,
        quantile(duration_ms, 0.99) AS p99_ms,
        caller_type,
        callee_type,
        connection,
        -- Horvitz and Thompson: the variance of a sum of weights, of calls that are sampled independently.
        CASE WHEN extrapolate THEN 1.96 * sqrt(sum(adjusted_count * (adjusted_count - 1.0))) END AS calls_error
    FROM traces.service_calls(since, until)
    GROUP BY caller, callee, caller_type, callee_type, connection
)
