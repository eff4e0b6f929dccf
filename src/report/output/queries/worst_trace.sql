-- The spans of the trace $1 that a waterfall is chosen from, parents before their children, each beside how many the trace has.
SELECT
    depth,
    service_name,
    -- trace_tree indents names by two characters a step, up to forty steps.
    substr(span, 2 * least(depth, 40) + 1) AS name,
    start_ms,
    duration_ms,
    critical_ms,
    status_code = 'ERROR' AS is_error,
    count(*) OVER () AS span_count
FROM trace_tree($1)
ORDER BY nset_left
LIMIT 5000
