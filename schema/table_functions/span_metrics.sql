-- What OpenTelemetry's span metrics connector would have counted, a row a series. Its counter traces.span.metrics.calls is
-- calls, its histogram traces.span.metrics.duration has calls as its count and the columns that begin with duration. A dimension is the span's
-- attribute, else its resource's. The bounds are the connector's own, in milliseconds. Where it is asked for, sampled spans count as many as they
-- stand for, and calls have a bound of their error.
CREATE FUNCTION span_metrics(
    dimensions text[] DEFAULT '{}',
    buckets double precision[] DEFAULT '{2,4,6,8,10,50,100,200,400,800,1000,1400,2000,5000,10000,15000}',
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL,
    extrapolate boolean DEFAULT false
) RETURN (
    SELECT
        service_name,
        span_name,
        span_kind,
        status_code,
        dimensions,
        CASE WHEN extrapolate THEN CAST(round(sum("adjusted count")) AS BIGINT) ELSE count(*) END AS calls,
        CASE WHEN extrapolate THEN sum(duration_ms * "adjusted count") ELSE sum(duration_ms) END AS duration_sum_ms,
        min(duration_ms) AS duration_min_ms,
        max(duration_ms) AS duration_max_ms,
        buckets AS duration_bounds_ms,
        CASE WHEN extrapolate THEN histogram(duration_ms, buckets, "adjusted count") ELSE histogram(duration_ms, buckets) END AS duration_buckets,
        min(timestamp) AS first_timestamp,
        max(timestamp) AS last_timestamp,
        -- Horvitz and Thompson: the variance of a sum of weights, of spans that are sampled independently.
        CASE WHEN extrapolate THEN 1.96 * sqrt(sum("adjusted count" * ("adjusted count" - 1.0))) END AS calls_error
    FROM (
        SELECT
            timestamp,
            service_name,
            span_name,
            span_kind,
            status_code,
            coalesce(attributes->>dimensions, resource_attributes->>dimensions),
            duration_ms,
            CASE WHEN extrapolate THEN adjusted_count(trace_state) END AS "adjusted count"
        FROM traces.spans
        WHERE (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
    ) AS measured
    GROUP BY service_name, span_name, span_kind, status_code, dimensions
);
