-- The trace ids between $1 and $2, enough of them to tell one from several.
SELECT DISTINCT trace_id
FROM traces.spans
WHERE trace_id BETWEEN $1 AND $2
ORDER BY trace_id
LIMIT 6
