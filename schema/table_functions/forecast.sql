-- How many requests each service will take, and how long they will take it, with what 95 of 100 values lie within. A request is a
-- span that a caller waits for or a message starts, or one without a parent. The first and the last interval, which may be filled in part, are
-- left out, and so are intervals in which no service has a request.
CREATE FUNCTION forecast(
    width interval DEFAULT '1 hour',
    steps int DEFAULT 24,
    season interval DEFAULT '1 day',
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL
) RETURN (
    WITH requests AS (
        SELECT date_bin(bucket_width(width), timestamp) AS time, service_name, count(*) AS calls, quantile(duration_ms, 0.95) AS p95_ms
        FROM traces.spans
        WHERE (span_kind IN ('SERVER', 'CONSUMER') OR parent_span_id IS NULL)
            AND (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
        GROUP BY time, service_name
    ),
    intervals AS (
        SELECT time FROM (SELECT DISTINCT time FROM requests) AS times
        WHERE time > (SELECT min(time) FROM requests) AND time < (SELECT max(time) FROM requests)
    )
    SELECT
        service_name,
        get_field(rate, 'time') AS time,
        -- None of them can be less than nothing.
        CASE WHEN get_field(rate, 'value') < 0.0 THEN 0.0 ELSE get_field(rate, 'value') END AS rate,
        CASE WHEN get_field(rate, 'low') < 0.0 THEN 0.0 ELSE get_field(rate, 'low') END AS rate_low,
        CASE WHEN get_field(rate, 'high') < 0.0 THEN 0.0 ELSE get_field(rate, 'high') END AS rate_high,
        CASE WHEN get_field(p95_ms, 'value') < 0.0 THEN 0.0 ELSE get_field(p95_ms, 'value') END AS p95_ms,
        CASE WHEN get_field(p95_ms, 'low') < 0.0 THEN 0.0 ELSE get_field(p95_ms, 'low') END AS p95_low_ms,
        CASE WHEN get_field(p95_ms, 'high') < 0.0 THEN 0.0 ELSE get_field(p95_ms, 'high') END AS p95_high_ms
    FROM (
        SELECT service_name, unnest(rates) AS rate, unnest(p95s_ms) AS p95_ms
        FROM (
            SELECT
                services.service_name,
                forecast_series(intervals.time, coalesce(calls, 0) / extract(epoch FROM bucket_width(width)), width, CAST(within(steps, 1, 10080, 'the steps of a forecast') AS BIGINT), season) AS rates,
                forecast_series(intervals.time, p95_ms, width, CAST(within(steps, 1, 10080, 'the steps of a forecast') AS BIGINT), season) AS p95s_ms
            FROM intervals
            CROSS JOIN (SELECT DISTINCT service_name FROM requests) AS services
            LEFT JOIN requests ON requests.time = intervals.time AND requests.service_name = services.service_name
            GROUP BY services.service_name
        ) AS series
    ) AS expected
    ORDER BY service_name, time
)
