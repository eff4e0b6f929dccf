-- Error propagation
--
-- For each error span: where the error started (the deepest error below it, or itself), and what it took down (the errors above it,
-- up to the topmost span that is there).
--
-- param from timestamp '1970-01-01' errors from this time on
-- param to timestamp '2100-01-01' errors before this time
-- param limit integer 100 how many error spans
WITH RECURSIVE shown AS (
    SELECT trace_id
    FROM spans
    WHERE status_code = 'ERROR' AND timestamp >= :from AND timestamp < :to
    ORDER BY timestamp DESC, span_id
    LIMIT :limit
),
-- Each error span of the traces that are shown with each span above it. What is said of either comes along, so that no span is looked up again.
climb AS (
    SELECT
        trace_id, span_id AS error_id, timestamp, service_name, span_name, error_message,
        span_id AS at_id, parent_span_id, service_name AS at_service, span_name AS at_span, status_code AS at_status, 0 AS height
    FROM spans
    WHERE status_code = 'ERROR' AND timestamp >= :from AND timestamp < :to AND trace_id IN (SELECT trace_id FROM shown)
    UNION ALL
    -- A parent chain longer than this is a loop in the data.
    SELECT
        climb.trace_id, climb.error_id, climb.timestamp, climb.service_name, climb.span_name, climb.error_message,
        above.span_id, above.parent_span_id, above.service_name, above.span_name, above.status_code, climb.height + 1
    FROM climb
    JOIN spans AS above ON above.trace_id = climb.trace_id AND above.span_id = climb.parent_span_id
    WHERE climb.height < 100
),
-- The error from the deepest below stands first at each span that it came by.
met AS (
    SELECT
        *,
        first_value(service_name) OVER deepest AS started_in_service,
        first_value(span_name) OVER deepest AS started_in_span,
        first_value(error_message) OVER deepest AS started_with
    FROM climb
    WINDOW deepest AS (PARTITION BY trace_id, at_id ORDER BY height DESC, error_id)
)
SELECT
    first_value(timestamp ORDER BY height) AS timestamp,
    trace_id AS trace_id,
    error_id AS span_id,
    first_value(service_name ORDER BY height) AS service_name,
    first_value(span_name ORDER BY height) AS span_name,
    first_value(started_in_service ORDER BY height) AS started_in_service,
    first_value(started_in_span ORDER BY height) AS started_in_span,
    first_value(started_with ORDER BY height) AS started_with,
    count(*) FILTER (WHERE height > 0 AND at_status = 'ERROR') AS errors_above,
    first_value(at_service ORDER BY height DESC) AS reached_service,
    first_value(at_span ORDER BY height DESC) AS reached_span,
    first_value(at_status ORDER BY height DESC) AS reached_status
FROM met
GROUP BY trace_id, error_id
ORDER BY timestamp DESC, span_id
LIMIT :limit
