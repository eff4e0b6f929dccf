-- Latency breakdown
--
-- Where the time of one trace went: each path of operations with its calls, its duration, its own time and its share of all.
--
-- param trace text '' the trace's id
SELECT operation, service_name, calls, duration_ms, self_ms, self_percent, critical_ms
FROM latency_breakdown(:trace)
ORDER BY nset_left
