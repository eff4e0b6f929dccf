-- Rate, errors and duration of each operation in each interval, apart for each combination of the attributes that are asked for.
-- An attribute is the span's, else its resource's.
CREATE FUNCTION red(width interval DEFAULT '5 minutes', dimensions text[] DEFAULT '{}') RETURN (
    SELECT
        time,
        service_name,
        span_name,
        span_kind,
        dimensions,
        count(*) AS calls,
        count(*) / extract(epoch FROM bucket_width(width)) AS rate,
        count(*) FILTER (WHERE status_code = 'ERROR') AS errors,
        count(*) FILTER (WHERE status_code = 'ERROR') / count(*) AS error_rate,
        quantile(duration_ms, 0.5) AS p50_ms,
        quantile(duration_ms, 0.95) AS p95_ms,
        quantile(duration_ms, 0.99) AS p99_ms
    FROM (
        SELECT
            date_bin(bucket_width(width), timestamp) AS time,
            service_name,
            span_name,
            span_kind,
            coalesce(attributes->>dimensions, resource_attributes->>dimensions),
            status_code,
            duration_ms
        FROM traces.spans
    ) AS binned
    GROUP BY time, service_name, span_name, span_kind, dimensions
);
