-- traces.events: a row is an event of a span, with the span's ids, names and start.
SELECT
    event['timestamp'] AS timestamp,
    id_text(trace_id) AS trace_id,
    id_text(span_id) AS span_id,
    service_name,
    span_name,
    event['name'] AS event_name,
    event['attributes'] AS attributes,
    event['attribute_types'] AS attribute_types,
    event['dropped_attributes_count'] AS dropped_attributes_count,
    arrow_cast(start_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS span_timestamp
FROM (SELECT start_ns, trace_id, span_id, service_name, span_name, unnest(events_of(events)) AS event FROM internal.spans)
