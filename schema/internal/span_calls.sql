-- internal.span_calls: a row is a span with who called its service, where another did, and whom it calls of those that send no spans: a database, a
-- broker, a third party.
SELECT
    arrow_cast(start_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS timestamp,
    trace_id,
    span_id,
    parent_span_id,
    trace_state,
    service_name,
    span_name,
    span_kind,
    status_code,
    start_ns,
    duration_ns,
    critical_ns,
    caller_service,
    is_between,
    lacks_callee,
    lacks_caller,
    coalesce(caller_service, CASE WHEN lacks_caller THEN broker END) AS caller,
    CASE WHEN caller_service IS NOT NULL THEN 'service' ELSE 'messaging' END AS caller_type,
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
            *,
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
    ) AS said
) AS named
