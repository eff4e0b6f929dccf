SELECT service_name, span_name, linked_flags, linked_trace_state
FROM traces.links
WHERE linked_trace_id = $1
LIMIT 20
