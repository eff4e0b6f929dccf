-- Calls, a row each: from one service to another, to a database, a broker or a third party that sends no spans, from a broker, and links between services.
-- Time, duration and status are those of the span that a call was seen by: the callee's, the caller's where no span of the callee has come, and the one
-- that has the link.
CREATE FUNCTION service_calls(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURN (
    SELECT
        timestamp,
        id_text(trace_id) AS trace_id,
        id_text(span_id) AS span_id,
        caller,
        callee,
        caller_type,
        callee_type,
        connection,
        span_name,
        status_code,
        CAST(duration_ns AS DOUBLE) / 1000000.0 AS duration_ms,
        CAST(critical_ns AS DOUBLE) / 1000000.0 AS critical_ms,
        adjusted_count(trace_state) AS adjusted_count
    FROM (
        SELECT
            timestamp,
            trace_id,
            span_id,
            CASE WHEN is_out THEN service_name ELSE caller END AS caller,
            CASE WHEN is_out THEN callee ELSE service_name END AS callee,
            CASE WHEN is_out THEN 'service' ELSE caller_type END AS caller_type,
            CASE WHEN is_out THEN callee_type ELSE 'service' END AS callee_type,
            'call' AS connection,
            span_name,
            status_code,
            duration_ns,
            critical_ns,
            trace_state
        FROM (SELECT * FROM internal.span_calls WHERE caller_service IS NOT NULL OR lacks_callee OR lacks_caller) AS span_calls
        -- A span may be called, and itself call somebody who sends no spans.
        CROSS JOIN (VALUES (false), (true)) AS ways(is_out)
        WHERE CASE WHEN is_out THEN callee ELSE caller END IS NOT NULL
        UNION ALL
        SELECT timestamp, trace_id, span_id, caller, callee, 'service', 'service', 'link', span_name, status_code, duration_ns, NULL, trace_state
        FROM internal.service_links
    ) AS calls
    WHERE (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
)
