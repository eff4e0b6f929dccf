-- How many spans of each operation took how long in each interval: a cell is an interval of time and a power of two, or a
-- fraction of it, that durations in milliseconds do not exceed.
CREATE FUNCTION heatmap(width interval DEFAULT '5 minutes', per_octave int DEFAULT 2) RETURN (
    SELECT
        time,
        service_name,
        span_name,
        span_kind,
        status_code,
        le_ms,
        count(*) AS spans
    FROM (
        SELECT
            date_bin(bucket_width(width), timestamp) AS time,
            service_name,
            span_name,
            span_kind,
            status_code,
            log_bucket(duration_ms, per_octave) AS le_ms
        FROM traces.spans
    ) AS binned
    GROUP BY time, service_name, span_name, span_kind, status_code, le_ms
);
