-- What `spanhouse export` lays out along time: what lies inside another span comes after it.
SELECT * FROM traces.spans
WHERE
:predicate
ORDER BY timestamp, duration_ns DESC, trace_id, span_id
