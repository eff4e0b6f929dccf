SELECT
    span_count,
    orphan_count,
    array_to_string(services, ', ') AS services,
    timestamp AS first_start,
    (SELECT max(timestamp) FROM traces.spans WHERE trace_id = $1) AS last_start
FROM traces.traces
WHERE trace_id = $1
