-- Slowest traces
--
-- Which traces took longest from their first start to their last end, and where they began.
--
-- param from timestamp '1970-01-01' traces that began at this time or later
-- param to timestamp '2100-01-01' traces that began before this time
-- param limit integer 20 how many traces
SELECT trace_id, timestamp, duration_ms, root_service, root_name, span_count, error_count, orphan_count
FROM traces
WHERE timestamp >= :from AND timestamp < :to
ORDER BY duration_ns DESC, trace_id
LIMIT :limit
