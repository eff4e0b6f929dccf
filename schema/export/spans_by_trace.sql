-- What `spanhouse export` writes in formats of whole traces.
SELECT * FROM traces.spans
WHERE
:predicate
ORDER BY trace_id, timestamp, span_id
