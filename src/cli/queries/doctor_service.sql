SELECT
    count(*) AS spans,
    min(timestamp) AS oldest,
    max(timestamp) AS newest,
    -- The most spans that one of them stands for, where a sampler has said so.
    max(adjusted_count(trace_state)) AS stands_for
FROM traces.spans
WHERE service_name = $1
