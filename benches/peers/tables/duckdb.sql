-- A table as one would write it for DuckDB: ids as numbers of 16 and 8 bytes, enumerations for what is one, in the order of time.
CREATE TYPE span_kind AS ENUM ('UNSPECIFIED', 'INTERNAL', 'SERVER', 'CLIENT', 'PRODUCER', 'CONSUMER');

CREATE TYPE status_code AS ENUM ('UNSET', 'OK', 'ERROR');

CREATE TABLE spans AS
SELECT
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
    attributes,
    resource_attributes,
    scope_name,
    scope_version,
    events,
    links
FROM read_parquet('{staging}/*.parquet')
ORDER BY start_ns;

CHECKPOINT;
