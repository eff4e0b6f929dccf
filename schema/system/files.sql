-- system.files: a row is a data file of the table, as the statement sees it.
SELECT
    path,
    CAST(date AS DATE) AS date,
    rows,
    bytes,
    arrow_cast(min_start_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS min_timestamp,
    arrow_cast(max_start_ns, 'Timestamp(Nanosecond, Some("UTC"))') AS max_timestamp,
    arrow_cast(arrow_cast(written_unix_ms, 'Timestamp(Millisecond, Some("UTC"))'), 'Timestamp(Nanosecond, Some("UTC"))')
        AS written_at,
    -- The traces of which the file has spans, and the size of its trace index; NULL until the index has been read.
    traces,
    index_bytes
FROM internal.files
