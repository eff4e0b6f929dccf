-- Two traces by their ids, step by step. One call of each is no sample: there are no p-values.
CREATE FUNCTION trace_diff(a text, b text) RETURN (
    SELECT
        span,
        service_name,
        change,
        CAST(a_calls AS BIGINT) AS a_calls,
        CAST(b_calls AS BIGINT) AS b_calls,
        a_p50_ms,
        b_p50_ms,
        latency_shift_ms,
        a_error_rate,
        b_error_rate,
        depth,
        path,
        path_services
    FROM trace_diff(trace_id = a, trace_id = b)
    ORDER BY path, path_services
);
