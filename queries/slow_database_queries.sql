-- Slow database queries
--
-- Which statements take the database's time: by service, system and text, with count, total and slow end.
--
-- param from timestamp '1970-01-01' spans from this time on
-- param to timestamp '2100-01-01' spans before this time
-- param limit integer 20 how many statements
SELECT
    service_name,
    coalesce(attributes['db.system.name'], attributes['db.system']) AS db_system,
    coalesce(attributes['db.query.text'], attributes['db.statement'], span_name) AS query,
    count(*) AS calls,
    count(*) FILTER (WHERE status_code = 'ERROR') AS errors,
    sum(duration_ms) AS total_ms,
    quantile(0.5)(duration_ms) AS p50_ms,
    quantile(0.95)(duration_ms) AS p95_ms,
    max(duration_ms) AS max_ms
FROM spans
WHERE coalesce(attributes['db.system.name'], attributes['db.system'], attributes['db.query.text'], attributes['db.statement']) IS NOT NULL
    AND timestamp >= :from AND timestamp < :to
GROUP BY service_name, db_system, query
ORDER BY total_ms DESC, query
LIMIT :limit
