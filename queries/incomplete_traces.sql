-- Incomplete traces
--
-- Which traces lack spans: their root has not come, or spans name a parent that has not come. An exporter that died shows here.
--
-- param from timestamp '1970-01-01' traces that began at this time or later
-- param to timestamp '2100-01-01' traces that began before this time
-- param limit integer 20 how many traces
SELECT trace_id, timestamp, span_count, orphan_count, root_service IS NULL AS root_missing, services
FROM traces
WHERE NOT complete AND timestamp >= :from AND timestamp < :to
ORDER BY orphan_count DESC, trace_id
LIMIT :limit
