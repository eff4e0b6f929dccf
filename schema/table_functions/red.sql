-- Rate, errors and duration of each operation in each interval, apart for each combination of the attributes that are asked for.
-- An attribute is the span's, else its resource's. Where it is asked for, sampled spans count as many as they stand for.
CREATE FUNCTION red(width interval DEFAULT '5 minutes', dimensions text[] DEFAULT '{}', extrapolate boolean DEFAULT false) RETURN (
    SELECT
        time,
        service_name,
        span_name,
        span_kind,
        dimensions,
        CASE WHEN extrapolate THEN CAST(sum("adjusted count") AS BIGINT) ELSE count(*) END AS calls,
        CASE WHEN extrapolate THEN sum("adjusted count") ELSE count(*) END / extract(epoch FROM bucket_width(width)) AS rate,
        CASE
            WHEN extrapolate THEN CAST(coalesce(sum("adjusted count") FILTER (WHERE status_code = 'ERROR'), 0.0) AS BIGINT)
            ELSE count(*) FILTER (WHERE status_code = 'ERROR')
        END AS errors,
        CASE
            WHEN extrapolate THEN coalesce(sum("adjusted count") FILTER (WHERE status_code = 'ERROR'), 0.0) / nullif(sum("adjusted count"), 0.0)
            ELSE count(*) FILTER (WHERE status_code = 'ERROR') / count(*)
        END AS error_rate,
        quantile(duration_ms, 0.5) AS p50_ms,
        quantile(duration_ms, 0.95) AS p95_ms,
        quantile(duration_ms, 0.99) AS p99_ms,
        -- Horvitz and Thompson: the variance of a sum of weights, of spans that are sampled independently.
        CASE WHEN extrapolate THEN 1.96 * sqrt(sum("adjusted count" * ("adjusted count" - 1.0))) END AS calls_error
    FROM (
        SELECT
            date_bin(bucket_width(width), timestamp) AS time,
            service_name,
            span_name,
            span_kind,
            coalesce(attributes->>dimensions, resource_attributes->>dimensions),
            status_code,
            duration_ms,
            CASE WHEN extrapolate THEN adjusted_count(trace_state) END AS "adjusted count"
        FROM traces.spans
    ) AS binned
    GROUP BY time, service_name, span_name, span_kind, dimensions
)
