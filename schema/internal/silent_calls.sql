-- internal.silent_calls: a row is a call between a service and what sends no spans: to a database, a broker or a third party, or from a broker.
SELECT
    arrow_cast(start_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS timestamp,
    trace_id,
    span_id,
    CASE WHEN lacks_callee THEN service_name ELSE broker END AS caller,
    CASE WHEN lacks_callee THEN callee ELSE service_name END AS callee,
    CASE WHEN lacks_callee THEN 'service' ELSE 'messaging' END AS caller_type,
    CASE WHEN NOT lacks_callee THEN 'service' WHEN db IS NOT NULL THEN 'database' WHEN broker IS NOT NULL THEN 'messaging' ELSE 'external' END AS callee_type,
    span_name,
    status_code,
    duration_ns,
    critical_ns,
    trace_state
FROM (
    SELECT *, coalesce(db, broker, peer, address, rpc_service) AS callee
    FROM (
        SELECT
            *,
            coalesce(db_system || ':' || coalesce(db_namespace, address), db_system, db_namespace) AS db,
            coalesce(messaging_system || ':' || destination, messaging_system, destination) AS broker
        FROM (
            SELECT
                *,
                coalesce(attributes['db.system.name'], attributes['db.system']) AS db_system,
                coalesce(attributes['db.namespace'], attributes['db.name']) AS db_namespace,
                attributes['messaging.system'] AS messaging_system,
                coalesce(
                    attributes['messaging.destination.template'],
                    attributes['messaging.destination.name'],
                    attributes['messaging.destination']
                ) AS destination,
                coalesce(attributes['service.peer.name'], attributes['peer.service']) AS peer,
                coalesce(
                    attributes['server.address'],
                    attributes['net.peer.name'],
                    substring(attributes['http.host'] FROM '^(\[[^]]*\]|[^:]+)'),
                    substring(coalesce(attributes['url.full'], attributes['http.url']) FROM '^[^:/?#]+://(?:[^/?#@]*@)?(\[[^]]*\]|[^:/?#]+)'),
                    attributes['network.peer.address'],
                    attributes['net.peer.ip']
                ) AS address,
                attributes['rpc.service'] AS rpc_service
            FROM internal.span_tree
            WHERE lacks_callee OR lacks_caller
        ) AS said
    ) AS known
) AS named
-- No span lacks both: one calls or sends, and another takes.
WHERE lacks_callee AND callee IS NOT NULL OR lacks_caller AND broker IS NOT NULL
