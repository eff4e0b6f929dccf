-- How each operation differs in a range of time from the same range of the weeks before. Operations that no longer come are there
-- too, and those that never came before. A week counts when any span has come in its range.
CREATE FUNCTION deviations(
    since timestamptz DEFAULT now() - INTERVAL '1 hour',
    until timestamptz DEFAULT now(),
    weeks int DEFAULT 4
) RETURN (
    WITH ranged AS (
        SELECT week, service_name, span_name, span_kind, status_code, duration_ms
        FROM (
            SELECT
                CAST(ceil(extract(epoch FROM since - timestamp) / 604800.0) AS BIGINT) AS week,
                extract(epoch FROM since - timestamp) AS before_s,
                service_name,
                span_name,
                span_kind,
                status_code,
                duration_ms
            FROM traces.spans
            WHERE timestamp >= since - INTERVAL '7 days' * within(weeks, 1, 520, 'the weeks of deviations') AND timestamp < until
        ) AS numbered
        -- Weeks may be cut short only by others, so that a range has a week at most.
        WHERE week * 604800.0 - before_s < within(extract(epoch FROM until - since), 0.001, 604800, 'the seconds from since until the end of deviations')
    )
    SELECT
        service_name,
        span_name,
        span_kind,
        past_weeks,
        calls,
        calls / length_s AS rate,
        usual / length_s AS expected_rate,
        calls / nullif(usual, 0.0) AS rate_ratio,
        -- Calls are counted, so that they vary by their root at least, and from week to week. NULL where weeks are too few to tell.
        CASE WHEN past_weeks >= 3 THEN
            (calls - usual) / sqrt(greatest(usual + greatest(squares - past_weeks * usual * usual, 0.0) / (past_weeks - 1), 1.0))
        END AS rate_z,
        errors / nullif(calls, 0) AS error_rate,
        past_errors / nullif(past_calls, 0) AS expected_error_rate,
        sketch_quantile(sketch, 0.95) AS p95_ms,
        past_p95_ms AS expected_p95_ms,
        sketch_quantile(sketch, 0.95) / nullif(past_p95_ms, 0.0) AS p95_ratio,
        -- Of 100 calls 5 are slower than the expected p95: how far more than that is from chance. NULL where calls are too few to tell.
        CASE WHEN calls >= 20 AND past_calls >= 20 THEN
            (0.95 - sketch_share(sketch, past_p95_ms)) / sqrt(0.95 * 0.05 / calls)
        END AS p95_z
    FROM (
        SELECT
            *,
            extract(epoch FROM until - since) AS length_s,
            past_calls / nullif(CAST(past_weeks AS DOUBLE), 0.0) AS usual,
            sketch_quantile(past_sketch, 0.95) AS past_p95_ms
        FROM (
            SELECT
                service_name,
                span_name,
                span_kind,
                coalesce(sum(calls) FILTER (WHERE week = 0), 0) AS calls,
                coalesce(sum(errors) FILTER (WHERE week = 0), 0) AS errors,
                sketch_merge(sketch) FILTER (WHERE week = 0) AS sketch,
                coalesce(sum(calls) FILTER (WHERE week > 0), 0) AS past_calls,
                coalesce(sum(errors) FILTER (WHERE week > 0), 0) AS past_errors,
                coalesce(sum(CAST(calls AS DOUBLE) * calls) FILTER (WHERE week > 0), 0.0) AS squares,
                sketch_merge(sketch) FILTER (WHERE week > 0) AS past_sketch
            FROM (
                SELECT
                    week,
                    service_name,
                    span_name,
                    span_kind,
                    count(*) AS calls,
                    count(*) FILTER (WHERE status_code = 'ERROR') AS errors,
                    quantile_sketch(duration_ms) AS sketch
                FROM ranged
                GROUP BY week, service_name, span_name, span_kind
            ) AS of_weeks
            GROUP BY service_name, span_name, span_kind
        ) AS operations
        CROSS JOIN (SELECT count(DISTINCT week) AS past_weeks FROM ranged WHERE week > 0) AS seen
    ) AS compared
    ORDER BY service_name, span_name, span_kind
)
