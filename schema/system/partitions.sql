-- system.partitions: a row is a UTC day of the table.
SELECT
    date,
    count(*) AS files,
    sum(rows) AS rows,
    sum(bytes) AS bytes,
    min(min_timestamp) AS min_timestamp,
    max(max_timestamp) AS max_timestamp,
    -- NULL until an index of the day has been read.
    sum(index_bytes) AS index_bytes
FROM system.files
GROUP BY date
