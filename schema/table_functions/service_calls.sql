-- Calls, a row each: from one service to another, to a database, a broker or a third party that sends no spans, from a broker, and links between services.
-- Time, duration and status are those of the span that a call was seen by: the callee's, the caller's where no span of the callee has come, and the one
-- that has the link.
CREATE FUNCTION service_calls(since timestamptz DEFAULT NULL, until timestamptz DEFAULT NULL) RETURN (
    SELECT
        timestamp,
        id_text(trace_id) AS trace_id,
        id_text(span_id) AS span_id,
        CASE WHEN is_out THEN service_name ELSE caller END AS caller,
        CASE WHEN is_out THEN callee ELSE service_name END AS callee,
        CASE WHEN is_out OR caller_service IS NOT NULL THEN 'service' ELSE 'messaging' END AS caller_type,
        CASE WHEN is_out THEN callee_type ELSE 'service' END AS callee_type,
        'call' AS connection,
        span_name,
        status_code,
        CAST(duration_ns AS DOUBLE) / 1000000.0 AS duration_ms,
        CAST(critical_ns AS DOUBLE) / 1000000.0 AS critical_ms
    FROM (
        SELECT
            *,
            coalesce(caller_service, CASE WHEN lacks_caller THEN broker END) AS caller,
            CASE WHEN lacks_callee THEN coalesce(db, broker, third_party) END AS callee,
            CASE WHEN db IS NOT NULL THEN 'database' WHEN broker IS NOT NULL THEN 'messaging' ELSE 'external' END AS callee_type
        FROM (
            SELECT
                *,
                coalesce(db_system || ':' || coalesce(db_namespace, address), db_system, db_namespace) AS db,
                coalesce(messaging_system || ':' || destination, messaging_system, destination) AS broker,
                coalesce(peer, address, rpc_service) AS third_party
            FROM (
                SELECT
                    arrow_cast(start_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS timestamp,
                    trace_id,
                    span_id,
                    service_name,
                    span_name,
                    status_code,
                    duration_ns,
                    critical_ns,
                    caller_service,
                    lacks_callee,
                    lacks_caller,
                    -- Each is worked out of the spans only that say whom they call, or who sent to them.
                    CASE WHEN lacks_callee THEN coalesce(attributes['db.system.name'], attributes['db.system']) END AS db_system,
                    CASE WHEN lacks_callee THEN coalesce(attributes['db.namespace'], attributes['db.name']) END AS db_namespace,
                    CASE WHEN lacks_callee OR lacks_caller THEN attributes['messaging.system'] END AS messaging_system,
                    CASE
                        WHEN lacks_callee OR lacks_caller
                        THEN coalesce(
                            attributes['messaging.destination.template'],
                            attributes['messaging.destination.name'],
                            attributes['messaging.destination']
                        )
                    END AS destination,
                    CASE WHEN lacks_callee THEN coalesce(attributes['service.peer.name'], attributes['peer.service']) END AS peer,
                    CASE
                        WHEN lacks_callee
                        THEN coalesce(
                            attributes['server.address'],
                            attributes['net.peer.name'],
                            substring(attributes['http.host'] FROM '^(\[[^]]*\]|[^:]+)'),
                            substring(coalesce(attributes['url.full'], attributes['http.url']) FROM '^[^:/?#]+://(?:[^/?#@]*@)?(\[[^]]*\]|[^:/?#]+)'),
                            attributes['network.peer.address'],
                            attributes['net.peer.ip']
                        )
                    END AS address,
                    CASE WHEN lacks_callee THEN attributes['rpc.service'] END AS rpc_service
                FROM internal.span_tree
                WHERE caller_service IS NOT NULL OR lacks_callee OR lacks_caller
            ) AS said
        ) AS named
        WHERE (since IS NULL OR timestamp >= since) AND (until IS NULL OR timestamp < until)
    ) AS spoken
    -- A span may be called, and itself call somebody who sends no spans.
    CROSS JOIN (VALUES (false), (true)) AS ways(is_out)
    WHERE CASE WHEN is_out THEN callee ELSE caller END IS NOT NULL
    UNION ALL
    SELECT
        linking.timestamp,
        id_text(linking.trace_id),
        id_text(linking.span_id),
        origin.service_name,
        linking.service_name,
        'service',
        'service',
        'link',
        linking.span_name,
        linking.status_code,
        CAST(linking.duration_ns AS DOUBLE) / 1000000.0,
        NULL
    FROM (
        SELECT
            arrow_cast(start_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS timestamp,
            trace_id,
            span_id,
            service_name,
            span_name,
            status_code,
            duration_ns,
            unnest(links) AS link
        FROM internal.spans
        WHERE cardinality(links) > 0
    ) AS linking
    JOIN internal.spans AS origin ON origin.trace_id = linking.link['trace_id'] AND origin.span_id = linking.link['span_id']
    WHERE origin.service_name <> linking.service_name
        AND (since IS NULL OR linking.timestamp >= since) AND (until IS NULL OR linking.timestamp < until)
)
