-- Slow database queries
--
-- Which statements take the database's time: by service, system and text, with count, total and slow end.
-- Where no text was recorded, the operation and what it works on stand for it, else the span's name.
--
-- param from timestamp '1970-01-01' spans from this time on
-- param to timestamp '2100-01-01' spans before this time
-- param limit integer 20 how many statements
SELECT
    service_name,
    coalesce(system, namespace) AS db_system,
    coalesce(query_text, CASE WHEN operation IS NOT NULL AND target IS NOT NULL THEN operation || ' ' || target END, span_name) AS query,
    count(*) AS calls,
    count(*) FILTER (WHERE status_code = 'ERROR') AS errors,
    sum(duration_ms) AS total_ms,
    quantile(0.5)(duration_ms) AS p50_ms,
    quantile(0.95)(duration_ms) AS p95_ms,
    max(duration_ms) AS max_ms
FROM (
    SELECT
        service_name,
        span_name,
        status_code,
        duration_ms,
        coalesce(attributes['db.system.name'], attributes['db.system']) AS system,
        coalesce(attributes['db.namespace'], attributes['db.name']) AS namespace,
        coalesce(attributes['db.query.text'], attributes['db.statement']) AS query_text,
        coalesce(attributes['db.operation.name'], attributes['db.operation']) AS operation,
        coalesce(attributes['db.collection.name'], attributes['db.sql.table']) AS target
    FROM spans
    WHERE timestamp >= :from AND timestamp < :to
) AS called
WHERE coalesce(system, namespace, query_text, operation, target) IS NOT NULL
GROUP BY service_name, db_system, query
ORDER BY total_ms DESC, query
LIMIT :limit
