-- Anomalous traces
--
-- Which traces are unlike those of the same root before them, and in what: slow, astray, or failing in several services.
-- Left as it is, all traces are compared with all.
--
-- param trained_until timestamp '2100-01-01' what is usual is learned from traces that began before this time
-- param from timestamp '1970-01-01' traces that began at this time or later are judged
-- param to timestamp '2100-01-01' traces that began before this time are judged
-- param limit integer 20 how many traces
SELECT *
FROM traces.anomalies(timestamp < :trained_until, timestamp >= :from AND timestamp < :to)
ORDER BY score DESC, trace_id
LIMIT :limit
