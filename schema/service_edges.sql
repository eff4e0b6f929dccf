-- traces.service_edges: a row is a caller → callee pair, over all spans. A call is a span whose service is another than its parent's; its duration and status are
-- the callee's. What was called and sends no spans (databases, brokers, third parties) is seen by those who called it.
SELECT
    caller,
    callee,
    calls,
    errors,
    error_rate,
    avg_ms,
    p50_ms,
    p95_ms,
    p99_ms,
    caller_type,
    callee_type,
    connection
FROM traces.service_map()
