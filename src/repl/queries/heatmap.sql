-- How many spans in :relation of which :condition is true took how long in each interval of :width nanoseconds since :start, which the shell's
-- \heatmap shades: a latency is the power of two in milliseconds that durations do not exceed.
SELECT interval, le_ms, count(*)
FROM (
    SELECT CAST(floor((arrow_cast("timestamp", 'Int64') - :start) / :width) AS BIGINT) AS interval, log_bucket(duration_ms, 1) AS le_ms
    FROM :relation
    WHERE :condition
)
GROUP BY interval, le_ms
ORDER BY interval, le_ms
