-- What the databases were asked, a row a statement with its literals taken out, and what that took. Where no text was
-- recorded, the operation and what it works on stand for it, else the span's name. Callers are the services that asked.
CREATE FUNCTION slow_queries(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURN (
    SELECT
        db_system,
        query,
        count(*) AS calls,
        count(*) FILTER (WHERE status_code = 'ERROR') AS errors,
        sum(duration_ms) AS total_ms,
        avg(duration_ms) AS avg_ms,
        quantile(duration_ms, 0.5) AS p50_ms,
        quantile(duration_ms, 0.95) AS p95_ms,
        max(duration_ms) AS max_ms,
        distinct_texts(service_name) AS callers
    FROM (
        SELECT
            service_name,
            status_code,
            duration_ms,
            coalesce(system, namespace) AS db_system,
            coalesce(without_literals(query_text), CASE WHEN operation IS NOT NULL AND target IS NOT NULL THEN operation || ' ' || target END, span_name) AS query
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
            FROM traces.spans
            WHERE (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
        ) AS said
        WHERE coalesce(system, namespace, query_text, operation, target) IS NOT NULL
    ) AS called
    GROUP BY db_system, query
);
