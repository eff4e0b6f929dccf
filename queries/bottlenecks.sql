-- Bottlenecks
--
-- Who the time goes to: which operations traces waited for, and whether these work themselves or wait for what they call, one after the other or at once.
--
-- param from timestamp '1970-01-01' spans that began at this time or later
-- param to timestamp '2100-01-01' spans that began before this time
-- param limit integer 20 how many operations
SELECT service_name, span_name, calls, critical_ms, critical_share, working_share, waiting_ms, parallelism
FROM bottlenecks(:from, :to)
ORDER BY critical_ms DESC, service_name, span_name
LIMIT :limit
