SELECT
    date,
    files,
    rows,
    bytes,
    round(bytes / CAST(rows AS DOUBLE), 1) AS bytes_per_row,
    min_timestamp,
    max_timestamp
FROM system.partitions
ORDER BY date
