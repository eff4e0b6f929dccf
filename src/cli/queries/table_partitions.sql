SELECT
    date,
    files,
    rows,
    bytes,
    round(bytes / CAST(rows AS DOUBLE), 1) AS bytes_per_row,
    index_bytes,
    min_timestamp,
    max_timestamp
FROM system.partitions
ORDER BY date
