-- traces.links: a row is a link of a span, with the span's ids, names and start.
SELECT
    arrow_cast(start_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS timestamp,
    id_text(trace_id) AS trace_id,
    id_text(span_id) AS span_id,
    service_name,
    span_name,
    link['trace_id'] AS linked_trace_id,
    link['span_id'] AS linked_span_id,
    link['trace_state'] AS linked_trace_state,
    link['flags'] AS linked_flags,
    link['attributes'] AS attributes,
    link['attribute_types'] AS attribute_types,
    link['dropped_attributes_count'] AS dropped_attributes_count
FROM (SELECT start_ns, trace_id, span_id, service_name, span_name, unnest(links_of(links)) AS link FROM internal.spans)
