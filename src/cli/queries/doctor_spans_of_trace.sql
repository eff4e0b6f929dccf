SELECT count(*) AS spans FROM traces.spans WHERE trace_id = $1
