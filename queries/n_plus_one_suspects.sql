-- N+1 suspects
--
-- Spans that make the same call again and again, one by one or at the same time, where one call might do.
--
-- param from timestamp '1970-01-01' calls from this time on
-- param to timestamp '2100-01-01' calls before this time
-- param times integer 10 the least number of equal calls under one parent
-- param limit integer 20 how many suspects
SELECT
    service_name,
    call,
    count(*) AS parents,
    max(calls) AS most_calls,
    avg(calls) AS avg_calls,
    sum(total_ms) AS total_ms,
    min(trace_id) AS example_trace_id
FROM (
    SELECT
        trace_id,
        parent_span_id,
        service_name,
        coalesce(attributes['db.query.text'], attributes['db.statement'], span_name) AS call,
        count(*) AS calls,
        sum(duration_ms) AS total_ms
    FROM spans
    WHERE span_kind = 'CLIENT' AND parent_span_id IS NOT NULL
        AND timestamp >= :from AND timestamp < :to
    GROUP BY trace_id, parent_span_id, service_name, call
) AS groups
WHERE calls >= :times
GROUP BY service_name, call
ORDER BY total_ms DESC, service_name, call
LIMIT :limit
