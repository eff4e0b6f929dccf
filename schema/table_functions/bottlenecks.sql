-- Who the time goes to, a row an operation of a service: whether it works or waits for what it calls, whether what it calls runs one
-- after the other, and how much of the time that traces waited for was its own.
CREATE FUNCTION bottlenecks(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURN (
    SELECT
        service_name,
        span_name,
        calls,
        CAST(total_ns AS DOUBLE) / 1000000.0 AS total_ms,
        CAST(own_ns AS DOUBLE) / 1000000.0 AS self_ms,
        CAST(total_ns - own_ns AS DOUBLE) / 1000000.0 AS waiting_ms,
        own_ns / total_ns AS working_share,
        CAST(children_ns AS DOUBLE) / 1000000.0 AS child_ms,
        children_ns / (total_ns - own_ns) AS parallelism,
        CAST(on_path_ns AS DOUBLE) / 1000000.0 AS critical_ms,
        on_path_ns / sum(on_path_ns) OVER () AS critical_share
    FROM (
        SELECT
            service_name,
            span_name,
            count(*) AS calls,
            sum(duration_ns) AS total_ns,
            sum(self_ns) AS own_ns,
            sum(child_ns) AS children_ns,
            sum(critical_ns) AS on_path_ns
        FROM (
            SELECT
                service_name,
                span_name,
                arrow_cast(start_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS timestamp,
                duration_ns,
                self_ns,
                child_ns,
                critical_ns
            FROM internal.span_tree
        ) AS spans
        WHERE (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
        GROUP BY service_name, span_name
    ) AS summed
    ORDER BY critical_ms DESC, total_ms DESC, service_name, span_name
)
