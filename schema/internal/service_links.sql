-- internal.service_links: a row is a link of a span to one of another service.
SELECT
    arrow_cast(linking.start_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS timestamp,
    linking.trace_id,
    linking.span_id,
    origin.service_name AS caller,
    linking.service_name AS callee,
    linking.span_name,
    linking.status_code,
    linking.duration_ns,
    linking.trace_state
FROM (
    SELECT start_ns, duration_ns, trace_id, span_id, trace_state, service_name, span_name, status_code, unnest(links) AS link
    FROM internal.spans
    WHERE cardinality(links) > 0
) AS linking
JOIN internal.spans AS origin ON origin.trace_id = linking.link['trace_id'] AND origin.span_id = linking.link['span_id']
WHERE origin.service_name <> linking.service_name
