-- A table as a careful user makes it who does not know the keys of attributes in advance: ids as numbers of 16 and 8 bytes, enumerations for
-- what is one, attributes as VARIANT, which DuckDB shreds into typed columns by itself, and the spans of a trace together within each hour.
-- docs/benchmarks.md says what else was tried.
CREATE TYPE span_kind AS ENUM ('UNSPECIFIED', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER');

CREATE TYPE status_code AS ENUM ('UNSET', 'OK', 'ERROR');

CREATE TEMP VIEW staged AS
SELECT
    start_ns,
    make_timestamp_ns(start_ns) AS timestamp,
    trace_id::UUID AS trace_id,
    ('0x' || span_id)::UBIGINT AS span_id,
    ('0x' || parent_span_id)::UBIGINT AS parent_span_id,
    trace_state,
    span_name,
    service_name,
    span_kind::span_kind AS span_kind,
    duration_ns,
    status_code::status_code AS status_code,
    status_message,
    attributes_json::JSON::VARIANT AS attributes,
    resource_attributes_json::JSON::VARIANT AS resource_attributes,
    scope_name,
    scope_version,
    list_transform(
        events,
        lambda event: {
            'timestamp': make_timestamp_ns(event.time_ns), 'name': event.name, 'attributes': event.attributes_json::JSON::VARIANT
        }
    ) AS events,
    list_transform(
        links,
        lambda link: {
            'trace_id': link.trace_id::UUID,
            'span_id': ('0x' || link.span_id)::UBIGINT,
            'trace_state': link.trace_state,
            'attributes': link.attributes_json::JSON::VARIANT
        }
    ) AS links
FROM read_parquet('{staging}/*.parquet');

CREATE TABLE spans AS SELECT * EXCLUDE (start_ns) FROM staged LIMIT 0;

-- Some hours at a time: all at once, 20 million spans with a dozen attributes each are sorted in more memory and scratch space than 24 GB.
INSERT INTO spans
SELECT * EXCLUDE (start_ns) FROM staged WHERE start_ns >= {from_ns} AND start_ns < {until_ns}
ORDER BY start_ns // 3_600_000_000_000, trace_id, start_ns;

CHECKPOINT;
