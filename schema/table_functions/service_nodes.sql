-- What stands on the service map, its place in the graph of who calls whom, and how it does.
CREATE FUNCTION service_nodes(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURN (
    SELECT
        substr(node, strpos(node, ':') + 1) AS service_name,
        split_part(node, ':', 1) AS type,
        in_degree,
        out_degree,
        betweenness,
        on_critical_path,
        requests,
        requests / seconds AS request_rate,
        errors / requests AS error_rate,
        CASE WHEN errors / requests < 0.01 THEN 'healthy' WHEN errors / requests < 0.05 THEN 'degraded' WHEN requests > 0 THEN 'unhealthy' END AS health
    FROM (
        SELECT *, CAST(max(last_ns) OVER () - min(first_ns) OVER () AS DOUBLE) / 1000000000.0 AS seconds
        FROM (
            SELECT
                place['node'] AS node,
                max(place['in_degree']) FILTER (WHERE is_graph) AS in_degree,
                max(place['out_degree']) FILTER (WHERE is_graph) AS out_degree,
                max(place['betweenness']) FILTER (WHERE is_graph) AS betweenness,
                coalesce(bool_or(on_path) FILTER (WHERE NOT is_graph), false) AS on_critical_path,
                coalesce(max(requests) FILTER (WHERE NOT is_graph), 0) AS requests,
                coalesce(max(errors) FILTER (WHERE NOT is_graph), 0) AS errors,
                min(first_ns) AS first_ns,
                max(last_ns) AS last_ns
            FROM (
                SELECT *, source IS NULL AS is_graph, unnest(places) AS place
                FROM (
                    -- Both what each node does and the graph of all, so that nothing below is worked out twice.
                    SELECT
                        source,
                        graph_nodes(source, target) AS places,
                        sum(requests) AS requests,
                        sum(errors) AS errors,
                        bool_or(on_path) AS on_path,
                        min(first_ns) AS first_ns,
                        max(last_ns) AS last_ns
                    FROM (
                        SELECT
                            CASE WHEN is_edge THEN caller ELSE callee END AS source,
                            CASE WHEN is_edge THEN callee END AS target,
                            CASE WHEN NOT is_edge THEN requests END AS requests,
                            CASE WHEN NOT is_edge THEN errors END AS errors,
                            CASE WHEN NOT is_edge THEN on_path END AS on_path,
                            first_ns,
                            last_ns
                        FROM (
                            -- What was entered, also where nobody is known to have called it, and who called it.
                            SELECT *, unnest(make_array(false, true)) AS is_edge
                            FROM (
                                SELECT
                                    CASE
                                        WHEN NOT is_call THEN 'service:' || caller_service
                                        WHEN lacks_callee THEN 'service:' || service_name
                                        ELSE caller_type || ':' || caller
                                    END AS caller,
                                    CASE WHEN is_call AND lacks_callee THEN callee_type || ':' || callee ELSE 'service:' || service_name END AS callee,
                                    NOT is_call OR lacks_callee AS is_node,
                                    CASE WHEN is_call THEN calls ELSE requests END AS requests,
                                    CASE WHEN is_call THEN failed ELSE errors END AS errors,
                                    on_path,
                                    CASE WHEN NOT is_call THEN first_ns END AS first_ns,
                                    CASE WHEN NOT is_call THEN last_ns END AS last_ns
                                FROM (
                                    -- Spans alike are both: what a service did, and a call to or from who sends no spans.
                                    SELECT *, unnest(make_array(false, true)) AS is_call
                                    FROM (
                                        SELECT
                                            caller_service,
                                            service_name,
                                            lacks_callee,
                                            lacks_caller,
                                            caller_type,
                                            caller,
                                            callee_type,
                                            callee,
                                            count(*) AS calls,
                                            count(*) FILTER (WHERE status_code = 'ERROR') AS failed,
                                            count(*) FILTER (WHERE is_request) AS requests,
                                            count(*) FILTER (WHERE is_request AND status_code = 'ERROR') AS errors,
                                            max(critical_ns) > 0 AS on_path,
                                            min(start_ns) AS first_ns,
                                            max(start_ns + duration_ns) AS last_ns
                                        FROM (
                                            -- A request is a span by which a service was entered: called by another, a SERVER, taking a message, or the beginning
                                            -- of a trace.
                                            SELECT
                                                *,
                                                caller_service IS NOT NULL OR lacks_caller OR span_kind = 'SERVER' OR parent_span_id IS NULL AS is_request
                                            FROM internal.span_calls
                                        ) AS spans
                                        WHERE NOT is_between AND (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
                                        GROUP BY caller_service, service_name, lacks_callee, lacks_caller, caller_type, caller, callee_type, callee
                                    ) AS alike
                                ) AS parts
                                WHERE NOT is_call OR lacks_callee OR lacks_caller
                                UNION ALL
                                SELECT 'service:' || caller, 'service:' || callee, false, 0, 0, false, NULL, NULL
                                FROM internal.service_links
                                WHERE (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
                            ) AS entered
                        ) AS ways
                        -- What says nothing of whom it calls has no callee. A condition below would work out twice what is called.
                        WHERE CASE WHEN callee IS NULL THEN false WHEN is_edge THEN caller IS NOT NULL ELSE is_node END
                    ) AS edges
                    GROUP BY GROUPING SETS ((source), ())
                ) AS nodes
            ) AS places
            -- Of the graph that a node has with its neighbours alone its own place is kept, beside what it does.
            WHERE is_graph OR place['node'] = source
            GROUP BY place['node']
        ) AS described
    ) AS timed
)
