-- Calls that a span made again and again, where one call might do: a row for each service, calling operation and call to a database or another
-- service, without what differs from call to call. Wasted is the time of a parent's calls, in which overlaps count once, but for the longest.
CREATE FUNCTION n_plus_one(
    min_repeats int DEFAULT 5,
    since timestamptz DEFAULT NULL,
    until timestamptz DEFAULT NULL
) RETURN (
    SELECT
        service_name,
        parent_name,
        call,
        system,
        count(DISTINCT trace_id) AS traces,
        count(*) AS parents,
        max(calls) AS max_repeats,
        sum(calls) AS calls,
        count(*) FILTER (WHERE covered_ns = total_ns) / count(*) AS sequential,
        CAST(sum(total_ns) AS DOUBLE) / 1000000.0 AS total_ms,
        CAST(sum(covered_ns - longest_ns) AS DOUBLE) / 1000000.0 AS wasted_ms,
        min(trace_id) AS example_trace_id
    FROM (
        SELECT
            trace_id,
            service_name,
            parent_name,
            call,
            system,
            count(*) AS calls,
            sum(duration_ns) AS total_ns,
            max(duration_ns) AS longest_ns,
            covered_ns(CAST(timestamp AS BIGINT), duration_ns) AS covered_ns
        FROM (
            SELECT
                asked.trace_id,
                asked.parent_span_id,
                asked.parent_name,
                asked.service_name,
                asked.span_name,
                asked.timestamp,
                asked.duration_ns,
                asked.system,
                -- Where a request does not say what it asks for, who answered does.
                coalesce(asked.call, min(answered.service_name || ': ' || answered.span_name), asked.span_name) AS call
            FROM (
                SELECT
                    trace_id,
                    span_id,
                    parent_span_id,
                    parent_name,
                    service_name,
                    span_name,
                    timestamp,
                    duration_ns,
                    CASE
                        WHEN is_database THEN db_system
                        WHEN rpc_system IS NOT NULL THEN rpc_system
                        WHEN coalesce(method, url, path) IS NOT NULL THEN 'http'
                    END AS system,
                    CASE
                        WHEN is_database THEN coalesce(
                            without_literals(query_text),
                            CASE WHEN operation IS NOT NULL AND target IS NOT NULL THEN operation || ' ' || target END,
                            span_name
                        )
                        WHEN rpc_system IS NULL AND coalesce(template, path, url) IS NOT NULL THEN
                            coalesce(method || ' ', '')
                            || coalesce(host, regexp_replace(url, '^[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*).*$', '\1'), '')
                            || coalesce(
                                template,
                                without_ids(regexp_replace(coalesce(path, regexp_replace(url, '^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*', '')), '[?#].*$', ''))
                            )
                    END AS call
                FROM (
                    SELECT *
                    FROM (
                        SELECT
                            trace_id,
                            span_id,
                            parent_span_id,
                            parent_name,
                            service_name,
                            span_name,
                            span_kind,
                            timestamp,
                            duration_ns,
                            coalesce(attributes['db.system.name'], attributes['db.system'], attributes['db.namespace'], attributes['db.name']) AS db_system,
                            coalesce(attributes['db.query.text'], attributes['db.statement']) AS query_text,
                            coalesce(attributes['db.operation.name'], attributes['db.operation']) AS operation,
                            coalesce(attributes['db.collection.name'], attributes['db.sql.table']) AS target,
                            coalesce(
                                attributes['db.system.name'], attributes['db.system'], attributes['db.namespace'], attributes['db.name'],
                                attributes['db.query.text'], attributes['db.statement'], attributes['db.operation.name'], attributes['db.operation'],
                                attributes['db.collection.name'], attributes['db.sql.table']
                            ) IS NOT NULL AS is_database,
                            attributes['rpc.system'] AS rpc_system,
                            coalesce(attributes['http.request.method'], attributes['http.method']) AS method,
                            coalesce(attributes['url.full'], attributes['http.url']) AS url,
                            coalesce(attributes['url.path'], attributes['http.target']) AS path,
                            coalesce(attributes['url.template'], attributes['http.route']) AS template,
                            coalesce(attributes['server.address'], attributes['net.peer.name'], attributes['peer.service']) AS host
                        FROM traces.span_tree
                        WHERE parent_span_id IS NOT NULL AND span_kind IN ('CLIENT', 'INTERNAL')
                            AND (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
                    ) AS read
                    -- What is not repeated by its name is not repeated: of most spans no more is worked out.
                    QUALIFY is_repeated(
                        parent_span_id, service_name, span_name, CAST(within(min_repeats, 2, 1000000, 'min_repeats') AS BIGINT)
                    ) OVER (PARTITION BY trace_id)
                ) AS said
                WHERE is_database OR span_kind = 'CLIENT'
            ) AS asked
            LEFT JOIN traces.spans AS answered
                ON answered.trace_id = asked.trace_id AND answered.parent_span_id = asked.span_id
                AND answered.span_kind = 'SERVER' AND asked.call IS NULL
            GROUP BY
                asked.trace_id, asked.span_id, asked.parent_span_id, asked.parent_name, asked.service_name, asked.span_name,
                asked.timestamp, asked.duration_ns, asked.system, asked.call
        ) AS calls
        GROUP BY trace_id, parent_span_id, parent_name, service_name, span_name, call, system
        HAVING count(*) >= min_repeats
    ) AS of_parents
    GROUP BY service_name, parent_name, call, system
    ORDER BY wasted_ms DESC, service_name, parent_name, call, system
);
