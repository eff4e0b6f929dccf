-- Two populations of traces, those with a span of which the first condition is true and those with one of which the second is,
-- step by step: a row a path of services and names from the root. The p-values, of equal durations and of equal shares of errors, are corrected for
-- all paths by Benjamini and Hochberg (1995). Where a population has no trace there are no rows.
CREATE FUNCTION trace_diff(
    a boolean,
    b boolean,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL
) RETURN (
    SELECT
        repeat('  ', least(depth, 40)) || path[CAST(cardinality(path) AS BIGINT)] AS span,
        path_services[CAST(cardinality(path_services) AS BIGINT)] AS service_name,
        CASE WHEN b_spans = 0 THEN 'gone' WHEN a_spans = 0 THEN 'added' ELSE 'both' END AS change,
        a_spans / a_traces AS a_calls,
        b_spans / b_traces AS b_calls,
        sketch_quantile(a_ms, 0.5) AS a_p50_ms,
        sketch_quantile(b_ms, 0.5) AS b_p50_ms,
        sketch_quantile(b_ms, 0.5) - sketch_quantile(a_ms, 0.5) AS latency_shift_ms,
        CASE WHEN latency_p IS NOT NULL THEN
            least(min(latency_p * latency_tests / latency_rank) OVER (ORDER BY latency_rank DESC ROWS UNBOUNDED PRECEDING), 1.0)
        END AS latency_p_adjusted,
        a_errors / nullif(a_spans, 0) AS a_error_rate,
        b_errors / nullif(b_spans, 0) AS b_error_rate,
        CASE WHEN error_p IS NOT NULL THEN
            least(min(error_p * error_tests / error_rank) OVER (ORDER BY error_rank DESC ROWS UNBOUNDED PRECEDING), 1.0)
        END AS error_p_adjusted,
        depth,
        path,
        path_services
    FROM (
        SELECT
            *,
            count(latency_p) OVER () AS latency_tests,
            row_number() OVER (ORDER BY latency_p NULLS LAST) AS latency_rank,
            count(error_p) OVER () AS error_tests,
            row_number() OVER (ORDER BY error_p NULLS LAST) AS error_rank
        FROM (
            SELECT
                *,
                mann_whitney_test(a_ms, b_ms) AS latency_p,
                CASE WHEN a_spans > 0 AND b_spans > 0 THEN proportion_test(a_errors, a_spans, b_errors, b_spans) END AS error_p
            FROM (
                SELECT
                    path,
                    path_services,
                    min(depth) AS depth,
                    count(*) FILTER (WHERE in_a) AS a_spans,
                    count(*) FILTER (WHERE in_b) AS b_spans,
                    count(*) FILTER (WHERE in_a AND status_code = 'ERROR') AS a_errors,
                    count(*) FILTER (WHERE in_b AND status_code = 'ERROR') AS b_errors,
                    quantile_sketch(duration_ms) FILTER (WHERE in_a) AS a_ms,
                    quantile_sketch(duration_ms) FILTER (WHERE in_b) AS b_ms
                FROM traces.span_tree AS spans
                JOIN (
                    SELECT trace_id AS chosen_id, bool_or(a IS TRUE) AS in_a, bool_or(b IS TRUE) AS in_b
                    FROM traces.span_tree
                    WHERE (a OR b) AND (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
                    GROUP BY trace_id
                ) AS chosen ON spans.trace_id = chosen_id
                GROUP BY path, path_services
            ) AS steps
        ) AS tested
    ) AS ranked
    CROSS JOIN (
        SELECT count(*) FILTER (WHERE in_a) AS a_traces, count(*) FILTER (WHERE in_b) AS b_traces
        FROM (
            SELECT bool_or(a IS TRUE) AS in_a, bool_or(b IS TRUE) AS in_b
            FROM traces.span_tree
            WHERE (a OR b) AND (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
            GROUP BY trace_id
        ) AS chosen
    ) AS populations
    WHERE a_traces > 0 AND b_traces > 0
    ORDER BY path, path_services
);
