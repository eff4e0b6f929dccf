-- What OpenTelemetry's span metrics connector would have counted, a row a series. Its counter traces.span.metrics.calls is
-- calls, its histogram traces.span.metrics.duration has calls as its count and the columns that begin with duration. A dimension is the span's
-- attribute, else its resource's. The bounds are the connector's own, in milliseconds.
CREATE FUNCTION span_metrics(
    dimensions text[] DEFAULT '{}',
    buckets double precision[] DEFAULT '{2,4,6,8,10,50,100,200,400,800,1000,1400,2000,5000,10000,15000}',
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL
) RETURN (
    SELECT
        service_name,
        span_name,
        span_kind,
        status_code,
        dimensions,
        count(*) AS calls,
        sum(duration_ms) AS duration_sum_ms,
        min(duration_ms) AS duration_min_ms,
        max(duration_ms) AS duration_max_ms,
        buckets AS duration_bounds_ms,
        histogram(duration_ms, buckets) AS duration_buckets,
        min(timestamp) AS first_timestamp,
        max(timestamp) AS last_timestamp
    FROM (
        SELECT
            timestamp,
            service_name,
            span_name,
            span_kind,
            status_code,
            coalesce(attributes->>dimensions, resource_attributes->>dimensions),
            duration_ms
        FROM traces.spans
        WHERE (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
    ) AS measured
    GROUP BY service_name, span_name, span_kind, status_code, dimensions
);
