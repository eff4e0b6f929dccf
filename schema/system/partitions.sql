-- system.partitions: a row is a UTC day of the table.
SELECT
    date,
    count(*) AS files,
    sum(rows) AS rows,
    sum(bytes) AS bytes,
    min(min_timestamp) AS min_timestamp,
    max(max_timestamp) AS max_timestamp
FROM system.files
GROUP BY date
