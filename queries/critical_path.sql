-- Critical path
--
-- Whose time traces waited for: the time on critical paths by service and operation, its share, and its 95th percentile in a trace.
--
-- param from timestamp '1970-01-01' traces with a span that began at this time or later
-- param to timestamp '2100-01-01' traces with a span that began before this time
-- param limit integer 20 how many operations
SELECT *
FROM critical_path(timestamp >= :from AND timestamp < :to)
ORDER BY critical_ms DESC, service_name, span_name
LIMIT :limit
