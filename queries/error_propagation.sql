-- Error propagation
--
-- For each error span: where the error started (the deepest error below it, or itself), and what it took down (the errors above it,
-- up to the topmost span that is there).
--
-- param from timestamp '1970-01-01' errors from this time on
-- param to timestamp '2100-01-01' errors before this time
-- param limit integer 100 how many error spans
WITH RECURSIVE failed AS (
    SELECT DISTINCT trace_id
    FROM spans
    WHERE status_code = 'ERROR' AND timestamp >= :from AND timestamp < :to
),
-- The spans of traces with errors. Here and below the smaller side of a join stands first: its rows are held in memory.
involved AS (
    SELECT
        spans.trace_id, spans.span_id, spans.parent_span_id, spans.timestamp, spans.service_name, spans.span_name, spans.status_code,
        spans.error_message
    FROM failed
    JOIN spans ON spans.trace_id = failed.trace_id
),
climb AS (
    SELECT trace_id, span_id AS error_id, span_id AS at_id, parent_span_id, status_code, 0 AS height
    FROM spans
    WHERE status_code = 'ERROR' AND timestamp >= :from AND timestamp < :to
    UNION ALL
    -- A parent chain longer than this is a loop in the data.
    SELECT above.trace_id, climb.error_id, above.span_id, above.parent_span_id, above.status_code, climb.height + 1
    FROM climb
    JOIN involved AS above ON above.trace_id = climb.trace_id AND above.span_id = climb.parent_span_id
    WHERE climb.height < 100
),
origins AS (
    SELECT trace_id, at_id AS span_id, first_value(error_id ORDER BY height DESC, error_id) AS origin_id
    FROM climb
    WHERE status_code = 'ERROR'
    GROUP BY trace_id, at_id
),
effects AS (
    SELECT
        trace_id,
        error_id AS span_id,
        count(*) FILTER (WHERE height > 0 AND status_code = 'ERROR') AS errors_above,
        first_value(at_id ORDER BY height DESC) AS top_id
    FROM climb
    GROUP BY trace_id, error_id
)
SELECT
    error.timestamp AS timestamp,
    error.trace_id AS trace_id,
    error.span_id AS span_id,
    error.service_name AS service_name,
    error.span_name AS span_name,
    origin.service_name AS started_in_service,
    origin.span_name AS started_in_span,
    origin.error_message AS started_with,
    effects.errors_above AS errors_above,
    top.service_name AS reached_service,
    top.span_name AS reached_span,
    top.status_code AS reached_status
FROM effects
JOIN origins ON origins.trace_id = effects.trace_id AND origins.span_id = effects.span_id
JOIN involved AS error ON error.trace_id = effects.trace_id AND error.span_id = effects.span_id
JOIN involved AS origin ON origin.trace_id = origins.trace_id AND origin.span_id = origins.origin_id
JOIN involved AS top ON top.trace_id = effects.trace_id AND top.span_id = effects.top_id
ORDER BY error.timestamp DESC, error.span_id
LIMIT :limit
