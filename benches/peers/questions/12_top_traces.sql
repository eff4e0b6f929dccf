-- title: top 20 traces by true duration
-- engine: spanhouse
SELECT trace_id, duration_ns, span_count
FROM traces
ORDER BY duration_ns DESC, trace_id
LIMIT 20

-- engine: duckdb
SELECT
    trace_id, max(epoch_ns(timestamp) + duration_ns) - min(epoch_ns(timestamp)) AS duration_ns, count(*) AS span_count
FROM spans
GROUP BY trace_id
ORDER BY duration_ns DESC, trace_id
LIMIT 20

-- engine: clickhouse
SELECT
    TraceId AS trace_id,
    max(toUnixTimestamp64Nano(Timestamp) + Duration) - min(toUnixTimestamp64Nano(Timestamp)) AS duration_ns,
    count() AS span_count
FROM otel_traces
GROUP BY TraceId
ORDER BY duration_ns DESC, TraceId
LIMIT 20
