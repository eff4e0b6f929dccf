-- Calls that a span made again and again, where one call might do: a row for each service, calling operation and call to a database or another
-- service, without what differs from call to call. Wasted is the time of a parent's calls, in which overlaps count once, but for the longest. Who makes
-- nothing but one call, as a repository's method around a statement, is part of the call.
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
        min(id_text(trace_id)) AS example_trace_id
    FROM (
        SELECT
            trace_id,
            service_name,
            calling_name AS parent_name,
            call,
            system,
            count(*) AS calls,
            sum(duration_ns) AS total_ns,
            max(duration_ns) AS longest_ns,
            covered_ns(start_ns, duration_ns) AS covered_ns
        FROM (
            SELECT
                trace_id,
                calling_span_id,
                calling_name,
                service_name,
                span_name,
                start_ns,
                duration_ns,
                system,
                -- Where a request does not say what it asks for, who answered does.
                coalesce(said, answer_service || ': ' || answer_name, span_name) AS call
            FROM (
                SELECT
                    *,
                    CASE
                        WHEN is_database THEN db_system
                        WHEN rpc_system IS NOT NULL THEN rpc_system
                        WHEN coalesce(method, url, url_path) IS NOT NULL THEN 'http'
                    END AS system,
                    CASE
                        WHEN is_database THEN coalesce(
                            without_literals(query_text),
                            CASE WHEN operation IS NOT NULL AND target IS NOT NULL THEN operation || ' ' || target END,
                            span_name
                        )
                        WHEN rpc_system IS NULL AND coalesce(template, url_path, url) IS NOT NULL THEN
                            coalesce(method || ' ', '')
                            || coalesce(host, regexp_replace(url, '^[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*).*$', '\1'), '')
                            || coalesce(
                                template,
                                without_ids(regexp_replace(coalesce(url_path, regexp_replace(url, '^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*', '')), '[?#].*$', ''))
                            )
                    END AS said
                FROM (
                    SELECT *, coalesce(db_system, query_text, operation, target) IS NOT NULL AS is_database
                    FROM (
                        SELECT
                            *,
                            coalesce(attributes['db.system.name'], attributes['db.system'], attributes['db.namespace'], attributes['db.name']) AS db_system,
                            coalesce(attributes['db.query.text'], attributes['db.statement']) AS query_text,
                            coalesce(attributes['db.operation.name'], attributes['db.operation']) AS operation,
                            coalesce(attributes['db.collection.name'], attributes['db.sql.table']) AS target,
                            attributes['rpc.system'] AS rpc_system,
                            coalesce(attributes['http.request.method'], attributes['http.method']) AS method,
                            coalesce(attributes['url.full'], attributes['http.url']) AS url,
                            coalesce(attributes['url.path'], attributes['http.target']) AS url_path,
                            coalesce(attributes['url.template'], attributes['http.route']) AS template,
                            coalesce(attributes['server.address'], attributes['net.peer.name'], attributes['peer.service']) AS host
                        FROM (
                            SELECT *
                            FROM (SELECT *, arrow_cast(start_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS timestamp FROM internal.span_tree) AS spans
                            -- A span that was stored twice has called once.
                            WHERE calling_span_id IS NOT NULL AND span_kind IN ('CLIENT', 'INTERNAL') AND NOT is_copy
                                AND (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
                            -- What is not repeated by its name is not repeated: of most spans no more is worked out.
                            QUALIFY is_repeated(
                                calling_span_id, service_name, span_name, CAST(within(min_repeats, 2, 1000000, 'min_repeats') AS BIGINT)
                            ) OVER (PARTITION BY trace_id)
                        ) AS repeated
                    ) AS read
                ) AS known
                WHERE is_database OR span_kind = 'CLIENT'
            ) AS asked
        ) AS calls
        GROUP BY trace_id, calling_span_id, calling_name, service_name, span_name, call, system
        HAVING count(*) >= min_repeats
    ) AS of_parents
    GROUP BY service_name, parent_name, call, system
    ORDER BY wasted_ms DESC, service_name, parent_name, call, system
);
