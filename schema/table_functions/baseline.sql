-- What each operation is usually like in each hour of the week. Hour 0 begins on Monday at midnight, of UTC or the zone that is
-- asked for. An hour counts when any span has come in it, so that an operation without calls then had none.
CREATE FUNCTION baseline(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL, zone text DEFAULT 'UTC') RETURN (
    SELECT
        hour_of_week,
        service_name,
        span_name,
        span_kind,
        weeks,
        calls,
        calls / (weeks * 3600.0) AS rate,
        -- From week to week; NULL of one week.
        sqrt(greatest(squares - calls * (calls / weeks), 0.0) / nullif(weeks - 1, 0)) / 3600.0 AS rate_stddev,
        errors / calls AS error_rate,
        sketch_quantile(sketch, 0.5) AS p50_ms,
        sketch_quantile(sketch, 0.95) AS p95_ms,
        sketch_quantile(sketch, 0.99) AS p99_ms
    FROM (
        SELECT
            hour % 168 AS hour_of_week,
            service_name,
            span_name,
            span_kind,
            sum(calls) AS calls,
            sum(CAST(calls AS DOUBLE) * calls) AS squares,
            sum(errors) AS errors,
            sketch_merge(sketch) AS sketch
        FROM (
            SELECT
                -- The first of January 1970 was a Thursday.
                CAST(floor(extract(epoch FROM timezone(zone, timestamp)) / 3600.0) AS BIGINT) + 72 AS hour,
                service_name,
                span_name,
                span_kind,
                count(*) AS calls,
                count(*) FILTER (WHERE status_code = 'ERROR') AS errors,
                quantile_sketch(duration_ms) AS sketch
            FROM traces.spans
            WHERE (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
            GROUP BY hour, service_name, span_name, span_kind
        ) AS of_hours
        GROUP BY hour_of_week, service_name, span_name, span_kind
    ) AS of_weeks
    JOIN (
        SELECT hour % 168 AS hour_of_week, count(*) AS weeks
        FROM (
            SELECT DISTINCT CAST(floor(extract(epoch FROM timezone(zone, timestamp)) / 3600.0) AS BIGINT) + 72 AS hour
            FROM traces.spans
            WHERE (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
        ) AS hours
        GROUP BY hour_of_week
    ) AS seen USING (hour_of_week)
    ORDER BY service_name, span_name, span_kind, hour_of_week
)
