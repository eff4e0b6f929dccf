-- The newest spans of which :condition is true, which the shell's \tail compares with those that it saw before.
SELECT "timestamp", trace_id, span_id, service_name, span_name, span_kind, duration_ns, status_code = 'ERROR' AS is_error, error_message
FROM spans
WHERE :condition
ORDER BY "timestamp" DESC, trace_id, span_id
LIMIT 1000
