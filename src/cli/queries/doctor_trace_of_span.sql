SELECT DISTINCT trace_id FROM traces.spans WHERE span_id = $1 LIMIT 5
