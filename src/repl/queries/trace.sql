-- The spans of the trace $1 as its drawing needs them: the first hundred thousand and one.
SELECT span_id, parent_span_id, service_name, span_name, "timestamp" AS started, duration_ns, status_code = 'ERROR' AS is_error
FROM traces.spans
WHERE trace_id = $1
ORDER BY "timestamp", span_id
LIMIT 100001
