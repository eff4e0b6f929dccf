-- What stands on the service map, its place in the graph of who calls whom, and how it does.
CREATE FUNCTION service_nodes(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURN (
    SELECT
        service_name,
        type,
        in_degree,
        out_degree,
        betweenness,
        on_critical_path,
        requests,
        requests / seconds AS request_rate,
        errors / requests AS error_rate,
        CASE WHEN errors / requests < 0.01 THEN 'healthy' WHEN errors / requests < 0.05 THEN 'degraded' WHEN requests > 0 THEN 'unhealthy' END AS health
    FROM (
        SELECT
            substr(place['node'], strpos(place['node'], ':') + 1) AS service_name,
            split_part(place['node'], ':', 1) AS type,
            place['in_degree'] AS in_degree,
            place['out_degree'] AS out_degree,
            place['betweenness'] AS betweenness,
            coalesce(on_critical_path, false) AS on_critical_path,
            coalesce(requests, 0) AS requests,
            coalesce(errors, 0) AS errors,
            CAST(max(last_ns) OVER () - min(first_ns) OVER () AS DOUBLE) / 1000000000.0 AS seconds
        FROM (
            SELECT unnest(graph_nodes(source, target)) AS place
            FROM (
                SELECT DISTINCT caller_type || ':' || caller AS source, callee_type || ':' || callee AS target
                FROM traces.service_calls(since, until)
                UNION ALL
                -- Also services that nobody calls and that call nobody.
                SELECT DISTINCT 'service:' || service_name, CAST(NULL AS TEXT)
                FROM (
                    SELECT service_name, is_between, arrow_cast(start_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS timestamp FROM internal.span_tree
                ) AS spans
                WHERE NOT is_between AND (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
            ) AS edges
        ) AS places
        LEFT JOIN (
            -- A request is a span by which a service was entered: called by another, a SERVER, taking a message, or the beginning of a trace.
            SELECT
                'service:' || service_name AS node,
                count(*) FILTER (WHERE is_request) AS requests,
                count(*) FILTER (WHERE is_request AND status_code = 'ERROR') AS errors,
                max(critical_ns) > 0 AS on_critical_path,
                min(start_ns) AS first_ns,
                max(start_ns + duration_ns) AS last_ns
            FROM (
                SELECT
                    *,
                    caller_service IS NOT NULL OR lacks_caller OR span_kind = 'SERVER' OR parent_span_id IS NULL AS is_request
                FROM (
                    SELECT
                        service_name,
                        span_kind,
                        status_code,
                        parent_span_id,
                        start_ns,
                        duration_ns,
                        arrow_cast(start_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS timestamp,
                        caller_service,
                        lacks_caller,
                        critical_ns,
                        is_between
                    FROM internal.span_tree
                ) AS spans
                WHERE NOT is_between AND (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
            ) AS asked
            GROUP BY service_name
            UNION ALL
            SELECT
                callee_type || ':' || callee,
                count(*),
                count(*) FILTER (WHERE status_code = 'ERROR'),
                max(critical_ms) > 0.0,
                NULL,
                NULL
            FROM traces.service_calls(since, until)
            WHERE callee_type <> 'service'
            GROUP BY callee_type, callee
        ) AS done ON done.node = place['node']
    ) AS described
)
