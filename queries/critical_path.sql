-- Critical path
--
-- Whose time traces waited for: the time on critical paths by service and operation, its share, and the 95th percentile of a span.
--
-- param from timestamp '1970-01-01' spans that began at this time or later
-- param to timestamp '2100-01-01' spans that began before this time
-- param limit integer 20 how many operations
SELECT
    service_name,
    span_name,
    count(*) AS spans,
    count(DISTINCT trace_id) AS traces,
    sum(critical_ms) AS critical_ms,
    100.0 * sum(critical_ms) / sum(sum(critical_ms)) OVER () AS percent,
    quantile(critical_ms, 0.95) AS p95_ms
FROM span_tree
WHERE critical_ms > 0 AND timestamp >= :from AND timestamp < :to
GROUP BY service_name, span_name
ORDER BY critical_ms DESC, service_name, span_name
LIMIT :limit
